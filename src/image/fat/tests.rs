//! fsck.fat (dosfstools) and mtools judge what is written.

use std::fs::File;
use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::cancel::Cancel;
use crate::image::canvas::Canvas;
use crate::image::content::Source;
use crate::image::merged::Merged;
use crate::image::tool::tests::{run, run_any};
use crate::image::tree;

const OFFSET_BYTES: u64 = 1 << 20;

struct Made {
    directory: tempfile::TempDir,
}

impl Made {
    fn of(kind: Kind, size_mib: u64, tree: &Tree) -> Result<Self, FileSystemError> {
        Self::by(size_mib, |region, volume| {
            write_tree((kind, SECTOR_BYTES), region, volume, tree, &Cancel::default())
        })
    }

    fn by(
        size_mib: u64,
        write: impl FnOnce(Region<'_>, &Volume<'_>) -> Result<(), FileSystemError>,
    ) -> Result<Self, FileSystemError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw");
        let file = File::create_new(&path).unwrap();
        file.set_len(OFFSET_BYTES + (size_mib << 20)).unwrap();
        let volume = Volume {
            uuid: Uuid::from_u128(0x1234_abcd << 96),
            hash_seed: Uuid::nil(),
            label: Some("esp"),
            compression: None,
            epoch_seconds: 1_700_000_000,
        };
        let canvas = Canvas::new(&file, &path, None);
        write(Region::new(&canvas, OFFSET_BYTES, size_mib << 20), &volume)?;
        Ok(Self { directory })
    }

    fn at(&self) -> String {
        format!("{}@@{}", self.directory.path().join("raw").display(), OFFSET_BYTES)
    }

    /// Checks a copy of the partition, since fsck.fat takes no offset, and returns what fsck.fat says.
    fn check(&self) -> String {
        use std::io::{Seek as _, SeekFrom};
        let mut raw = File::open(self.directory.path().join("raw")).unwrap();
        raw.seek(SeekFrom::Start(OFFSET_BYTES)).unwrap();
        let copy = self.directory.path().join("partition");
        std::io::copy(&mut raw, &mut File::create(&copy).unwrap()).unwrap();
        let copy = copy.to_str().unwrap();
        let found = run("dosfstools", "fsck.fat", &["-n", "-v", copy]);
        let seen = run("util-linux", "blkid", &["-p", "-o", "export", copy]);
        assert!(seen.contains("LABEL=ESP") && seen.contains("UUID=1234-ABCD"), "{seen}");
        found
    }

    /// Copies the root directory out with mtools and returns that copy.
    fn extract(&self) -> Merged {
        let out = self.directory.path().join("out");
        std::fs::create_dir(&out).unwrap();
        run(
            "mtools",
            "mcopy",
            &["-s", "-m", "-n", "-i", &self.at(), "::*", out.to_str().unwrap()],
        );
        Merged::of_directory(&out).unwrap()
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn sample() -> (Tree, Vec<(String, Vec<u8>)>) {
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("EFI/BOOT/BOOTX64.EFI".into(), pattern(100_000)),
        (
            "EFI/Linux/debian-6.12.48+deb13-cloud-amd64.efi".into(),
            pattern(3 << 20),
        ),
        ("loader/loader.conf".into(), b"timeout 0\n".to_vec()),
        ("empty".into(), Vec::new()),
        ("one cluster.bin".into(), pattern(512)),
        ("eight sectors.bin".into(), pattern(4096)),
        ("and one more.bin".into(), pattern(4097)),
        ("thirteen char".into(), pattern(13)),
        ("Größe und 日本語 ✓.txt".into(), pattern(9)),
        ("a/b/c/d/e/f/deep".into(), pattern(3)),
        (format!("{}.txt", "long ".repeat(50)), pattern(5)),
    ];
    for i in 0..700 {
        files.push((format!("many/entry with a long name {i}"), format!("{i}").into_bytes()));
    }
    let mut tree = Tree::default();
    for (path, contents) in &files {
        tree.add_file(Path::new(path), Source::Bytes(contents.clone())).unwrap();
    }
    tree.add_directory(Path::new("nothing in here")).unwrap();
    (tree, files)
}

fn round_trip(kind: Kind, size_mib: u64) {
    let (tree, files) = sample();
    let made = Made::of(kind, size_mib, &tree).unwrap();
    let found = made.check();
    assert!(found.contains(&format!("{} files", files.len() + 13)), "{found}");
    let back = made.extract();
    for (path, contents) in &files {
        let read = back.read_at_most(Path::new(path), 1 << 30).unwrap();
        assert!(read == *contents, "{path}");
    }
    assert!(back.entries(Path::new("nothing in here")).unwrap().is_empty());
    let listing = run("mtools", "mdir", &["-i", &made.at(), "::loader"]);
    assert!(listing.contains("2023-11-14  22:13"), "{listing}");
}

#[test]
fn fat32_with_small_clusters() {
    round_trip(Kind::Fat32, 64);
}

#[test]
fn fat32_with_4k_clusters() {
    round_trip(Kind::Fat32, 300);
}

#[test]
fn fat16() {
    round_trip(Kind::Fat16, 32);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let bytes = |made: &Made| std::fs::read(made.directory.path().join("raw")).unwrap();
    let (tree, mut files) = sample();
    files.reverse();
    let mut other = Tree::default();
    other.add_directory(Path::new("nothing in here")).unwrap();
    for (path, contents) in files {
        other.add_file(Path::new(&path), Source::Bytes(contents)).unwrap();
    }
    let a = Made::of(Kind::Fat32, 40, &tree).unwrap();
    let b = Made::of(Kind::Fat32, 40, &other).unwrap();
    assert!(bytes(&a) == bytes(&b));
}

#[test]
fn case_is_one_name_and_later_files_win() {
    let mut tree = Tree::default();
    tree.add_file(Path::new("/efi/boot/x"), "old".into()).unwrap();
    tree.add_file(Path::new("EFI/BOOT/X"), "new".into()).unwrap();
    let made = Made::of(Kind::Fat32, 34, &tree).unwrap();
    made.check();
    assert_eq!(
        made.extract().read_at_most(Path::new("efi/boot/x"), 10).unwrap(),
        b"new"
    );
}

#[test]
fn what_does_not_fit_is_said() {
    let mut tree = Tree::default();
    tree.add_file(Path::new("big"), Source::Zeros(40 << 20)).unwrap();
    let error = Made::of(Kind::Fat32, 40, &tree).err().unwrap().to_string();
    assert_eq!(error, "the files do not fit into 40 MiB: they need at least 41 MiB");
    // The size in the message is the least that works.
    for (kind, mib) in [(Kind::Fat16, 41), (Kind::Fat32, 41)] {
        assert!(Made::of(kind, mib, &tree).is_ok(), "{kind:?}");
        let Some(FileSystemError::Full { needed_bytes, .. }) = Made::of(kind, mib - 1, &tree).err() else {
            panic!("{kind:?} should be full");
        };
        assert_eq!(needed_bytes, Some(mib << 20), "{kind:?}");
    }
    let mut tree = Tree::default();
    for i in 0..200 {
        tree.add_file(Path::new(&format!("a long file name {i}")), "".into())
            .unwrap();
    }
    assert!(matches!(
        Made::of(Kind::Fat16, 16, &tree),
        Err(FileSystemError::Full { .. })
    ));
    let error = Geometry::of(Kind::Fat32, 32 << 20).unwrap_err().to_string();
    assert!(error.contains("too small for FAT32"), "{error}");
    assert!(
        Tree::default()
            .add_file(Path::new("x"), Source::Zeros(1 << 32))
            .is_err()
    );
    assert!(Tree::default().add_file(Path::new("a:b"), "".into()).is_err());
    assert!(Tree::default().add_file(Path::new("../b"), "".into()).is_err());
}

#[test]
fn trees_are_taken_in_without_links() {
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(source.path().join("boot/efi/EFI/x")).unwrap();
    std::fs::write(source.path().join("boot/efi/EFI/x/y"), "yes").unwrap();
    let made = |size_mib| {
        let merged = Merged::of_directory(source.path()).unwrap();
        let tree = tree::collect(merged.overlay(), Path::new("/boot/efi"), &[], 2).unwrap();
        Made::by(size_mib, |region, volume| {
            let added = [("efi/X/z".into(), Source::from("added"))];
            let files = Files {
                tree: &tree,
                added: &added,
            };
            Kind::Fat32.write(region, volume, files, Work::quiet(&Cancel::default()))
        })
    };
    let good = made(34).unwrap();
    let read = good.extract();
    assert_eq!(read.read_at_most(Path::new("EFI/x/y"), 10).unwrap(), b"yes");
    assert_eq!(read.read_at_most(Path::new("EFI/x/z"), 10).unwrap(), b"added");
    std::os::unix::fs::symlink("/etc/passwd", source.path().join("boot/efi/link")).unwrap();
    let error = made(34).err().unwrap().to_string();
    assert!(error.contains("/link cannot be stored"), "{error}");
    let (ok, _) = run_any("mtools", "mdir", &["-i", &good.at(), "::nothing"]);
    assert!(!ok);
}

#[test]
fn sectors_may_have_4096_bytes() {
    for (kind, size_mib) in [(Kind::Fat16, 40), (Kind::Fat32, 300)] {
        let mut tree = Tree::default();
        let content = vec![7; 10_000];
        tree.add_file(Path::new("EFI/Linux/a long name.efi"), Source::Bytes(content))
            .unwrap();
        let made = Made::by(size_mib, |region, volume| {
            write_tree((kind, LargeSectors::BYTES), region, volume, &tree, &Cancel::default())
        })
        .unwrap();
        made.check();
        let partition = made.directory.path().join("partition");
        let partition = partition.to_str().unwrap();
        let told = run("dosfstools", "fsck.fat", &["-nv", partition]);
        assert!(told.contains("4096 bytes per logical sector"), "{told}");
        // A partition that takes the files in large clusters: they are counted in these.
        let error = Made::by(17, |region, volume| {
            let mut tree = Tree::default();
            tree.add_file(Path::new("a"), Source::Zeros(60 << 20)).unwrap();
            write_tree(
                (Kind::Fat16, LargeSectors::BYTES),
                region,
                volume,
                &tree,
                &Cancel::default(),
            )
        })
        .err()
        .unwrap();
        assert!(error.to_string().contains("they need at least 6"), "{error}");
    }
}
