use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::*;
use crate::cancel::Cancel;
use crate::image::digest;
use crate::image::tool::tests::run;

const MIB: u64 = 1 << 20;

/// An image of 36 MiB and a bit, with data at both ends and in the middle.
struct Image {
    directory: tempfile::TempDir,
    /// Whether its digests are known.
    has_tree: bool,
    /// Files that are delivered as they are.
    beside: Vec<Beside<'static>>,
}

impl Image {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create_new(directory.path().join("image-1.0.raw")).unwrap();
        file.set_len(36 * MIB + 512).unwrap();
        let text: Vec<u8> = (0..50_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
        for offset in [0, 17 * MIB, 36 * MIB + 512 - text.len() as u64] {
            file.write_all_at(&text, offset).unwrap();
        }
        Self {
            directory,
            has_tree: false,
            beside: Vec::new(),
        }
    }

    fn with_tree() -> Self {
        Self {
            has_tree: true,
            ..Self::new()
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, bytes: &[u8], offset: u64) {
        let raw = File::options().write(true).open(self.path("image-1.0.raw")).unwrap();
        raw.write_all_at(bytes, offset).unwrap();
    }

    fn make(&self, artifacts: &[Artifact], threads: usize) -> Vec<Made> {
        self.try_make(artifacts, threads, &Cancel::default()).unwrap()
    }

    fn try_make(&self, artifacts: &[Artifact], threads: usize, cancel: &Cancel) -> Result<Vec<Made>, ImageError> {
        let raw = self.path("image-1.0.raw");
        let tree = self
            .has_tree
            .then(|| digest::of_file(&raw, Work::quiet(&Cancel::default())).unwrap());
        let order = Order {
            raw: &raw,
            directory: self.directory.path(),
            tree: tree.as_ref(),
            stem: "image-1.0",
            artifacts,
            beside: &self.beside,
            record: &self.path(".artifact-record"),
            uuid: Uuid::from_u128(7),
            with_all_digests: false,
        };
        let work = Work {
            threads,
            ..Work::quiet(cancel)
        };
        let made = make(order, work)?;
        write_sums(
            self.directory.path(),
            made.iter().filter_map(|made| Some((made.path.as_path(), made.sha256?))),
        )?;
        Ok(made)
    }

    /// Returns the bytes of all files that the build delivered, by name.
    fn delivered(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = delivered(&self.path(".artifact-record")).into_iter();
        let mut files: Vec<_> = paths
            .filter(|path| !path.ends_with(".artifact-record"))
            .map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn shell(&self, package: &str, script: &str) {
        let directory = self.directory.path().display();
        run(package, "sh", &["-c", &format!("cd {directory} && {script}")]);
    }

    fn file_count(&self) -> usize {
        fs::read_dir(self.directory.path()).unwrap().count()
    }
}

fn artifact(format: ArtifactFormat, compression: Option<Compression>) -> Artifact {
    Artifact {
        format,
        compression,
        level: None,
    }
}

fn compressed(methods: &[Compression]) -> Vec<Artifact> {
    let artifacts = methods
        .iter()
        .map(|method| artifact(ArtifactFormat::Raw, Some(*method)));
    artifacts.collect()
}

const METHODS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Xz,
    Compression::Zstd,
    Compression::Bzip2,
];

#[test]
fn the_usual_programs_unpack() {
    let image = Image::new();
    let wanted = compressed(&METHODS);
    let made = image.make(&wanted, 2);
    let programs = [("gzip", "gz"), ("xz-utils", "xz"), ("zstd", "zstd"), ("bzip2", "bz2")];
    for (made, (package, suffix)) in made.iter().zip(programs) {
        let name = format!("image-1.0.raw.{suffix}");
        assert!(made.path.ends_with(&name) && made.size_bytes < 5 * MIB, "{made:?}");
        let program = package.trim_end_matches("-utils");
        image.shell(
            package,
            &format!("{program} -t < {name} && {program} -dc < {name} | cmp - image-1.0.raw"),
        );
    }
    image.shell(
        "coreutils",
        "sha256sum --strict -c SHA256SUMS && test $(wc -l < SHA256SUMS) = 4",
    );
    assert!(!keeps_raw(&wanted) && keeps_raw(&[]) && keeps_raw(&[artifact(ArtifactFormat::Raw, None)]));
    assert_eq!(image.file_count(), 7);
}

#[test]
fn what_did_not_change_stays() {
    let image = Image::with_tree();
    let wanted = compressed(&METHODS);
    let made = image.make(&wanted, 2);
    // A number of an inode may be used again.
    let inodes = || {
        let metadata = made.iter().map(|made| fs::metadata(&made.path).unwrap());
        let identities = metadata.map(|metadata| (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()));
        identities.collect::<Vec<_>>()
    };
    let (before, bytes) = (inodes(), image.delivered());
    assert_eq!(image.make(&wanted, 2), made);
    assert!(inodes() == before && image.delivered() == bytes);
    let damaged = || damaged(&image.path(".artifact-record"), Work::quiet(&Cancel::default())).unwrap();
    assert!(damaged().is_empty());
    // Another file under the name of an artifact, although it has its bytes.
    fs::write(image.path("copy"), fs::read(&made[0].path).unwrap()).unwrap();
    fs::rename(image.path("copy"), &made[0].path).unwrap();
    assert_eq!(image.make(&wanted, 2), made);
    assert!(inodes()[0] != before[0] && inodes()[1..] == before[1..] && image.delivered() == bytes);
    image.write(b"changed", 17 * MIB + 3);
    image.make(&wanted, 2);
    assert!(inodes().iter().zip(&before).all(|(now, before)| now != before));
    image.shell(
        "coreutils",
        "sha256sum --strict -c SHA256SUMS && gunzip -c image-1.0.raw.gz | cmp - image-1.0.raw",
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(6))]
    #[test]
    fn after_any_changes_the_bytes_are_those_of_a_build_from_scratch(
        rounds in proptest::collection::vec(
            proptest::collection::vec((0..36 * MIB, 0..300_000_usize, 0..3_u8), 0..4),
            1..4,
        ),
    ) {
        let mut wanted = compressed(&[Compression::Gzip, Compression::Zstd]);
        wanted.extend([ArtifactFormat::Vmdk, ArtifactFormat::Qcow2Zstd].map(|format| artifact(format, None)));
        let (known, read) = (Image::with_tree(), Image::new());
        for image in [&known, &read] {
            image.make(&wanted, 2);
        }
        for round in rounds {
            let fresh = Image::new();
            for (offset, length, byte) in round {
                for image in [&known, &read] {
                    image.write(&vec![byte; length.min((36 * MIB - offset) as usize)], offset);
                }
            }
            fs::copy(known.path("image-1.0.raw"), fresh.path("image-1.0.raw")).unwrap();
            for image in [&known, &read, &fresh] {
                image.make(&wanted, 2);
            }
            proptest::prop_assert!(known.delivered() == fresh.delivered());
            proptest::prop_assert!(read.delivered() == fresh.delivered());
        }
    }
}

#[test]
fn neither_threads_nor_levels_nor_the_build_before_change_the_bytes() {
    let (one, other) = (Image::new(), Image::new());
    let mut wanted = compressed(&METHODS);
    one.make(&wanted, 1);
    other.make(&wanted, 5);
    assert!(one.delivered() == other.delivered());
    one.write(b"changed", 17 * MIB + 3);
    other.write(b"changed", 17 * MIB + 3);
    wanted[2].level = Some(19);
    one.make(&wanted, 2);
    fs::remove_file(other.path(".artifact-record")).unwrap();
    other.make(&wanted, 2);
    assert!(one.delivered() == other.delivered());
    let few = compressed(&METHODS[..1]);
    one.make(&few, 2);
    assert_eq!(one.delivered().len(), 2);
    one.shell("coreutils", "sha256sum --strict -c SHA256SUMS");
    one.make(&[], 2);
    assert_eq!(one.file_count(), 2);
}

#[test]
fn a_file_that_is_not_the_recorded_one_gives_no_chunk() {
    let image = Image::new();
    let wanted = compressed(&METHODS[..1]);
    let path = image.make(&wanted, 2).remove(0).path;
    let good = image.delivered();
    let size = fs::metadata(&path).unwrap().len();
    let wrong = vec![7; size as usize];
    // Another file of the same size, and the same file with other content.
    fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        fs::write(&path, &wrong).unwrap();
        image.make(&wanted, 2);
        assert!(image.delivered() == good);
    }
    let record = image.path(".artifact-record");
    let mut bytes = fs::read(&record).unwrap();
    let last = bytes.len() - 30;
    bytes[last] ^= 1;
    fs::write(&record, bytes).unwrap();
    image.make(&wanted, 2);
    assert!(image.delivered() == good);
}

/// All formats but the raw image, with the word of qemu-img for those that it reads.
const FORMATS: [(ArtifactFormat, Option<&str>); 12] = [
    (ArtifactFormat::Qcow2, Some("qcow2")),
    (ArtifactFormat::Qcow2Zstd, Some("qcow2")),
    (ArtifactFormat::Vhd, Some("vpc")),
    (ArtifactFormat::VhdDynamic, Some("vpc")),
    (ArtifactFormat::Vhdx, Some("vhdx")),
    (ArtifactFormat::Vmdk, Some("vmdk")),
    (ArtifactFormat::VmdkSparse, Some("vmdk")),
    (ArtifactFormat::Vdi, Some("vdi")),
    (ArtifactFormat::Azure, Some("vpc")),
    (ArtifactFormat::Gcp, None),
    (ArtifactFormat::Aws, Some("vmdk")),
    (ArtifactFormat::Ova, None),
];

fn all_formats() -> Vec<Artifact> {
    let mut all: Vec<_> = FORMATS.iter().map(|(format, _)| artifact(*format, None)).collect();
    for format in [ArtifactFormat::Qcow2, ArtifactFormat::Vmdk] {
        all.push(artifact(format, Some(Compression::Zstd)));
    }
    all
}

#[test]
fn every_format_holds_the_disk() {
    let image = Image::with_tree();
    let made = image.make(&all_formats(), 2);
    for (made, (_, format)) in made.iter().zip(FORMATS) {
        let name = made.path.file_name().unwrap().to_str().unwrap();
        if let Some(format) = format {
            let compare = format!("qemu-img compare -f raw -F {format} image-1.0.raw {name}");
            image.shell("qemu-utils", &compare);
        }
    }
    image.shell("zstd", "zstd -dc image-1.0.qcow2.zstd | cmp - image-1.0.qcow2");
    image.shell("zstd", "zstd -dc image-1.0.vmdk.zstd | cmp - image-1.0.vmdk");
    image.shell(
        "libarchive-tools",
        "bsdtar -xOf image-1.0.gcp.tar.gz disk.raw | cmp - image-1.0.raw",
    );
    image.shell("coreutils", "sha256sum --strict -c SHA256SUMS");
    // The description comes first, and the manifest names the digests of the other two.
    image.shell(
        "tar",
        "mkdir ova && cd ova && tar -xvf ../image-1.0.ova > ../list && sha256sum * && cd .. && \
         test \"$(tr '\n' ' ' < list)\" = 'image-1.0.ovf image-1.0.mf image-1.0-disk1.vmdk '",
    );
    image.shell(
        "qemu-utils",
        "qemu-img compare -f raw -F vmdk image-1.0.raw ova/image-1.0-disk1.vmdk && \
         sed -E 's/SHA256\\((.*)\\)= (.*)/\\2  \\1/' ova/image-1.0.mf > ova/sums && cd ova && sha256sum --strict -c sums",
    );
    image.shell(
        "python3",
        "python3 -c 'import xml.etree.ElementTree as e; r = e.parse(\"ova/image-1.0.ovf\").getroot(); \
         n = \"{http://schemas.dmtf.org/ovf/envelope/1}\"; \
         assert r.find(f\".//{n}File\").get(n + \"href\") == \"image-1.0-disk1.vmdk\"'",
    );
}

#[test]
fn formats_are_the_same_in_every_directory_and_with_any_number_of_threads() {
    let (one, two) = (Image::with_tree(), Image::with_tree());
    one.make(&all_formats(), 1);
    two.make(&all_formats(), 2);
    assert!(one.delivered() == two.delivered());
    // The raw image, fourteen artifacts, their digests and the record.
    assert_eq!(one.file_count(), 17);

    let before = one.delivered();
    one.make(&all_formats(), 2);
    assert!(one.delivered() == before);
    for image in [&one, &two] {
        image.write(b"changed", 17 * MIB + 5);
    }
    one.make(&all_formats(), 2);
    fs::remove_file(two.path(".artifact-record")).unwrap();
    two.make(&all_formats(), 1);
    assert!(one.delivered() == two.delivered() && one.delivered() != before);
}

#[test]
fn cancelling_leaves_what_was_there() {
    let image = Image::new();
    let wanted = compressed(&METHODS[..1]);
    image.make(&wanted, 2);
    let before = image.delivered();
    image.write(b"changed", 5);
    let cancel = Cancel::default();
    cancel.cancel();
    let error = image.try_make(&wanted, 2, &cancel).unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert!(image.delivered() == before);
    assert_eq!(image.file_count(), 4);
}

/// The forms of an initrd: their names, and programs that test and unpack them.
const INITRDS: [(Option<Compression>, &str, &str); 4] = [
    (Some(Compression::Gzip), "image-1.0.img", "gzip -dc"),
    (Some(Compression::Xz), "image-1.0.img.xz", "xz -dc"),
    (Some(Compression::Zstd), "image-1.0.img.zstd", "zstd -dc"),
    (None, "image-1.0.cpio", "cat"),
];

fn initrds() -> Vec<Artifact> {
    let forms = INITRDS.map(|(compression, _, _)| artifact(ArtifactFormat::Img, compression));
    forms.into()
}

/// The kernel unpacks one stream. Of the decoder for one member of gzip, the lists of xz and of zstd, each would stop or
/// count at a second one.
#[test]
fn an_initrd_is_one_stream() {
    let image = Image::new();
    let made = image.make(&initrds(), 2);
    for (made, (_, name, unpack)) in made.iter().zip(INITRDS) {
        assert!(made.path.ends_with(name), "{made:?}");
        image.shell("coreutils", &format!("{unpack} < {name} | cmp - image-1.0.raw"));
    }
    let member = fs::read(image.path("image-1.0.img")).unwrap();
    let mut unpacked = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&member[..]), &mut unpacked).unwrap();
    assert!(unpacked == fs::read(image.path("image-1.0.raw")).unwrap());
    image.shell(
        "xz-utils",
        "xz --robot --list image-1.0.img.xz | awk '$1 == \"file\" && $2 == 1 && $3 == 2 && $7 == \"CRC32\" {found = 1} \
         END {exit !found}'",
    );
    image.shell(
        "zstd",
        "zstd -lv image-1.0.img.zstd | grep -qE '^# Zstandard Frames: 1$'",
    );
    image.shell(
        "coreutils",
        "sha256sum --strict -c SHA256SUMS && test $(wc -l < SHA256SUMS) = 4",
    );
}

#[test]
fn an_initrd_is_the_same_with_any_number_of_threads_and_stays_if_nothing_changed() {
    let (one, other) = (Image::with_tree(), Image::with_tree());
    one.make(&initrds(), 1);
    other.make(&initrds(), 5);
    assert!(one.delivered() == other.delivered());
    let identities = |image: &Image| {
        let metadata = INITRDS.map(|(_, name, _)| fs::metadata(image.path(name)).unwrap());
        metadata.map(|metadata| (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    };
    let before = identities(&one);
    one.make(&initrds(), 2);
    assert_eq!(identities(&one), before);
}

#[test]
fn files_beside_are_delivered_as_they_are() {
    let mut image = Image::with_tree();
    image.beside = vec![Beside {
        name: "vmlinuz-1".into(),
        body: Body::Source("a kernel".into()),
    }];
    let made = image.make(&initrds()[..1], 2);
    assert_eq!(made[1].sha256, Some(Sha256::of("a kernel")));
    let kernel = || fs::metadata(image.path("vmlinuz-1")).unwrap();
    let before = kernel();
    image.make(&initrds()[..1], 2);
    assert_eq!(
        (kernel().ino(), kernel().ctime_nsec()),
        (before.ino(), before.ctime_nsec())
    );
    image.shell(
        "coreutils",
        "sha256sum --strict -c SHA256SUMS && test $(wc -l < SHA256SUMS) = 2",
    );
    image.beside.clear();
    image.make(&initrds()[..1], 2);
    assert!(!image.path("vmlinuz-1").exists());
}
