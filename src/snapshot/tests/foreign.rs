//! Compares tarballs from elsewhere with tar(1), which unpacks them, and tries hostile archives.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use super::super::foreign::{PrepareOptions, is_tarball, prepare};
use super::hostile::Archive;
use super::*;

/// A tarball, and the tree from which it is made.
pub(super) struct Foreign {
    directory: tempfile::TempDir,
    pub(super) tarball: PathBuf,
}

impl Foreign {
    pub(super) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    pub(super) fn within(directory: &Path) -> Self {
        let directory = tempfile::tempdir_in(directory).unwrap();
        for name in ["tree", "out"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self {
            tarball: directory.path().join("foreign.tar"),
            directory,
        }
    }

    fn full() -> Self {
        let foreign = Self::new();
        tree::build(&foreign.tree());
        foreign
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    pub(super) fn paths(&self) -> SnapshotPaths {
        SnapshotPaths {
            tarball: self.tarball.clone(),
            index: self.directory.path().join("foreign.idx"),
            backing_dir: self.directory.path().join("store"),
        }
    }

    /// Archives the tree with GNU tar.
    pub(super) fn tar(&self, arguments: &[&str]) -> Vec<u8> {
        run(Command::new("tar")
            .args(["-c", "--numeric-owner"])
            .args(arguments)
            .arg("-C")
            .arg(self.tree())
            .arg("."))
    }

    pub(super) fn put(&self, bytes: &[u8]) {
        fs::write(&self.tarball, bytes).unwrap();
    }

    pub(super) fn open(&self) -> Snapshot {
        prepare(&self.paths(), &PrepareOptions::default()).unwrap();
        Snapshot::open(&self.paths()).unwrap()
    }

    pub(super) fn refused(&self) -> SnapshotError {
        let error = prepare(&self.paths(), &PrepareOptions::default()).unwrap_err();
        assert!(error.to_string().contains("foreign.tar"), "{error}");
        assert!(Snapshot::open(&self.paths()).is_err());
        assert!(!self.paths().index.exists());
        error
    }

    /// Unpacks the tarball with tar and `options`, and describes the result.
    fn unpacked(&self, options: &[&str]) -> tree::Description {
        let out = self.directory.path().join("out");
        fs::remove_dir_all(&out).unwrap();
        fs::create_dir(&out).unwrap();
        run(Command::new("tar")
            .args([
                "--xattrs",
                "--xattrs-include=*",
                "--numeric-owner",
                "--same-owner",
                // bsdtar does not store a directory's entries together.
                "--delay-directory-restore",
            ])
            .args(options)
            .arg("-xpf")
            .arg(&self.tarball)
            .arg("-C")
            .arg(&out));
        tree::on_disk(&out)
    }

    #[track_caller]
    fn assert_like_tar(&self) {
        self.assert_like(&[]);
    }

    /// Compares with tar and these options.
    #[track_caller]
    pub(super) fn assert_like(&self, options: &[&str]) {
        assert_same(&self.unpacked(options), &tree::in_layer(&self.open()));
    }
}

pub(super) fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gnu_tar_in_every_format() {
    let foreign = Foreign::full();
    for format in [
        &["--format=posix", "--xattrs", "--xattrs-include=*"][..],
        &["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse"],
        &["--format=posix", "--acls", "--xattrs"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=gnu"],
        &["--format=gnu", "--sparse", "--label=a label"],
        &["--format=oldgnu", "--sparse", "--blocking-factor=1"],
    ] {
        foreign.put(&foreign.tar(format));
        foreign.assert_like_tar();
    }
    // These two hold neither long names nor large numbers.
    let plain = Foreign::new();
    fs::create_dir_all(plain.tree().join("etc/sub")).unwrap();
    fs::write(plain.tree().join("etc/passwd"), tree::noise(1, 70_000)).unwrap();
    fs::hard_link(plain.tree().join("etc/passwd"), plain.tree().join("etc/sub/same")).unwrap();
    std::os::unix::fs::symlink("passwd", plain.tree().join("etc/link")).unwrap();
    let name = format!("{}/{}", "p".repeat(90), "n".repeat(90));
    fs::create_dir(plain.tree().join("p".repeat(90))).unwrap();
    fs::write(plain.tree().join(name), "prefix").unwrap();
    plain.put(&plain.tar(&["--format=ustar"]));
    plain.assert_like_tar();
    plain.put(&plain.tar(&["--format=v7", "--exclude=ppp*"]));
    plain.assert_like_tar();
}

#[test]
fn compressions_of_every_kind() {
    let foreign = Foreign::full();
    let tar = foreign.tar(&["--format=posix", "--xattrs", "--xattrs-include=*"]);
    foreign.put(&tar);
    let right = foreign.unpacked(&[]);
    let many = |size: usize| -> Vec<u8> { tar.chunks(size).flat_map(|part| gzip(part, 6)).collect() };
    let zstd = |part: &[u8]| zstd::encode_all(part, 3).unwrap();
    let frames: Vec<u8> = tar.chunks(300_000).flat_map(zstd).collect();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &frames].concat();
    let named = run(Command::new("gzip").arg("-c9").arg(&foreign.tarball));
    for (what, bytes) in [
        ("tar", tar.clone()),
        ("one stream, with a name", named),
        ("one stream, fast", gzip(&tar, 1)),
        ("one stream, stored", gzip(&tar, 0)),
        ("members of 40 KB", many(40_000)),
        ("members of 3 MB", many(3_000_000)),
        (
            "empty members and zeros",
            [&gzip(b"", 6)[..], &many(100_000), &gzip(b"", 6), &[0; 700]].concat(),
        ),
        ("one frame", zstd(&tar)),
        ("many frames", frames),
        ("a frame to be skipped", skippable),
    ] {
        foreign.put(&bytes);
        let snapshot = foreign.open();
        assert_same(&right, &tree::in_layer(&snapshot));
        assert_eq!(
            snapshot.check(&|_| (), &Cancel::default()).unwrap().damaged,
            [],
            "{what}"
        );
        // Another process finds what this one unpacked.
        let again = foreign.open();
        assert_same(&right, &tree::in_layer(&again));
        assert_eq!(again.stats().members_inflated, 0, "{what}");
    }
}

#[test]
fn only_what_is_read_of_a_stream_is_inflated() {
    let foreign = Foreign::new();
    for number in 0..12 {
        let text = tree::noise(number, 500_000);
        let text: Vec<u8> = text.iter().map(|byte| b'a' + byte % 16).collect();
        fs::write(foreign.tree().join(format!("{number:02}")), text).unwrap();
    }
    foreign.put(&gzip(&foreign.tar(&["--sort=name"]), 6));
    let snapshot = foreign.open();
    assert!(snapshot.stats().members_total >= 4, "{:?}", snapshot.stats());
    let mut byte = [0; 1];
    snapshot.read_at(find(&snapshot, "09"), 250_000, &mut byte).unwrap();
    assert_eq!(byte, fs::read(foreign.tree().join("09")).unwrap()[250_000..250_001]);
    assert_eq!(snapshot.stats().members_inflated, 1);
    assert!(snapshot.stats().bytes_inflated < 2 << 20);
}

#[test]
fn a_long_frame_is_decoded_once() {
    let foreign = Foreign::new();
    for number in 0..12 {
        fs::write(
            foreign.tree().join(format!("{number:02}")),
            tree::noise(number, 1_000_000),
        )
        .unwrap();
    }
    foreign.put(&zstd::encode_all(&foreign.tar(&["--sort=name"])[..], 1).unwrap());
    let snapshot = foreign.open();
    let mut byte = [0; 1];
    snapshot.read_at(find(&snapshot, "05"), 0, &mut byte).unwrap();
    let half = snapshot.stats().members_inflated;
    assert!((4..=7).contains(&half), "{half}");
    // The parts on the way are in the store; the next ones continue from the decoder's position.
    snapshot.read_at(find(&snapshot, "00"), 0, &mut byte).unwrap();
    assert_eq!(snapshot.stats().members_inflated, half);
    assert_same(&foreign.unpacked(&[]), &tree::in_layer(&snapshot));
    assert_eq!(snapshot.stats().members_inflated, snapshot.stats().members_total);
}

#[test]
fn a_long_deflate_block_is_decoded_once() {
    let foreign = Foreign::new();
    fs::write(foreign.tree().join("a"), tree::noise(1, 3_000_000)).unwrap();
    fs::write(foreign.tree().join("b"), vec![b'x'; 15 << 20]).unwrap();
    fs::write(foreign.tree().join("c"), tree::noise(2, 3_000_000)).unwrap();
    let tar = foreign.tar(&["--sort=name"]);
    // zlib-rs behaves like zlib-ng at this level; the third has the long block in the middle.
    let middle = |part: &[u8]| [gzip(&part[..2_000_000], 6), gzip(&part[2_000_000..], 1)].concat();
    for packed in [gzip(&tar, 1), middle(&tar)] {
        foreign.put(&packed);
        let snapshot = foreign.open();
        assert!(dumped(&foreign).contains(" continues "));
        let mut byte = [0; 1];
        snapshot.read_at(find(&snapshot, "c"), 2_900_000, &mut byte).unwrap();
        let unpacked = snapshot.stats().members_inflated;
        snapshot.read_at(find(&snapshot, "b"), 14 << 20, &mut byte).unwrap();
        assert_eq!((byte, snapshot.stats().members_inflated), ([b'x'], unpacked));
        assert_same(&foreign.unpacked(&[]), &tree::in_layer(&snapshot));
        assert_eq!(snapshot.check(&|_| (), &Cancel::default()).unwrap().damaged, []);
    }
}

#[test]
fn sparse_files_of_every_shape() {
    let foreign = Foreign::new();
    let make = |name: &str, size: u64, parts: &[u64]| {
        let file = fs::File::create(foreign.tree().join(name)).unwrap();
        file.set_len(size).unwrap();
        for part in parts {
            file.write_all_at(&tree::noise(*part, 5000), *part).unwrap();
        }
    };
    make("all-hole", 10 << 20, &[]);
    make("ends-with-data", (4 << 20) + 5000, &[4 << 20]);
    make("starts-with-data", 4 << 20, &[0]);
    make("many", 40 << 20, &(0..40).map(|part| part << 20).collect::<Vec<_>>());
    for format in ["--format=gnu", "--format=posix"] {
        foreign.put(&gzip(&foreign.tar(&["--sparse", format]), 6));
        foreign.assert_like_tar();
    }
    let snapshot = foreign.open();
    assert_eq!(snapshot.digest(find(&snapshot, "all-hole")).unwrap(), None);
    // A hole needs no work, however large.
    assert!(snapshot.is_ready(find(&snapshot, "many"), 500_000, 100_000));
}

#[test]
fn later_members_replace_earlier_ones() {
    let foreign = Foreign::new();
    let root = foreign.tree();
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::write(root.join("dir/file"), "old").unwrap();
    fs::write(root.join("dir/becomes-link"), "old").unwrap();
    fs::write(root.join("unchanged"), "x").unwrap();
    foreign.put(&foreign.tar(&[]));
    fs::write(root.join("dir/file"), "newer and longer").unwrap();
    fs::remove_file(root.join("dir/becomes-link")).unwrap();
    std::os::unix::fs::symlink("file", root.join("dir/becomes-link")).unwrap();
    rustix::fs::chmod(root.join("dir"), rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
    run(Command::new("tar")
        .arg("-rf")
        .arg(&foreign.tarball)
        .arg("-C")
        .arg(&root)
        .arg("./dir"));
    foreign.assert_like_tar();
    let text = dumped(&foreign);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("/dir/file ")).count(),
        1,
        "{text}"
    );
}

pub(super) fn dumped(foreign: &Foreign) -> String {
    let mut out = Vec::new();
    dump::dump(&foreign.paths().index, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn python_and_bsdtar_make_them_too() {
    let foreign = Foreign::full();
    let script = "import sys, tarfile
t = tarfile.open(sys.argv[1], 'w:gz', format=getattr(tarfile, sys.argv[3]))
t.add(sys.argv[2], '.')
t.close()";
    for format in ["PAX_FORMAT", "GNU_FORMAT"] {
        run(Command::new("python3")
            .args(["-c", script])
            .arg(&foreign.tarball)
            .arg(foreign.tree())
            .arg(format));
        foreign.assert_like_tar();
    }
    for format in ["pax", "gnutar"] {
        let made = run(Command::new("bsdtar")
            .arg(format!("--format={format}"))
            .args(["-cf", "-", "-C"])
            .arg(foreign.tree())
            .arg("."));
        foreign.put(&zstd::encode_all(&made[..], 3).unwrap());
        // It stores ACLs as text of its own, and tar reads that only so.
        assert_same(&foreign.unpacked(&["--acls"]), &tree::in_layer(&foreign.open()));
    }
}

#[test]
fn attributes_of_libarchive_are_read() {
    let foreign = Foreign::new();
    let record = |text: &str| format!("{} {text}\n", text.len() + 4);
    let records = record("LIBARCHIVE.xattr.user.a%2Bb=AAH/").into_bytes();
    foreign.put(
        &Archive::default()
            .add(b'x', b"x", b"", &records)
            .add(b'0', b"f", b"", b"content")
            .end(),
    );
    let snapshot = foreign.open();
    let value = snapshot.xattr(find(&snapshot, "f"), "user.a+b".as_ref()).unwrap();
    assert_eq!(value, Some(vec![0, 1, 0xff]));
}

#[test]
fn an_index_belongs_to_one_tarball() {
    let foreign = Foreign::new();
    fs::write(foreign.tree().join("a"), "one").unwrap();
    foreign.put(&foreign.tar(&[]));
    assert!(is_tarball(&foreign.tarball) && !is_tarball(&foreign.tree()));
    let options = PrepareOptions::default();
    assert!(prepare(&foreign.paths(), &options).unwrap());
    assert!(!prepare(&foreign.paths(), &options).unwrap());
    let first = Snapshot::open(&foreign.paths()).unwrap().id();
    // Without its index, or with that of another one, it is opened only after it was read again.
    fs::write(foreign.tree().join("a"), "two").unwrap();
    foreign.put(&foreign.tar(&[]));
    assert!(Snapshot::open(&foreign.paths()).is_err());
    let second = foreign.open();
    assert_ne!(first, second.id());
    let mut bytes = [0; 3];
    second.read_at(find(&second, "a"), 0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"two");
    // Damage of the index is found, and it is made again.
    let index = fs::read(foreign.paths().index).unwrap();
    for length in [0, 100, index.len() - 1] {
        fs::write(foreign.paths().index, &index[..length]).unwrap();
        assert!(prepare(&foreign.paths(), &options).unwrap());
        assert_eq!(fs::read(foreign.paths().index).unwrap(), index);
    }
    // One of oic's own keeps its own.
    let own = Fixture::full();
    own.write();
    assert!(!prepare(&own.paths(), &options).unwrap());
}

#[test]
fn stopping_leaves_nothing() {
    let foreign = Foreign::full();
    foreign.put(&gzip(&foreign.tar(&[]), 1));
    let options = PrepareOptions::default();
    options.cancel.cancel();
    let error = prepare(&foreign.paths(), &options).unwrap_err();
    assert!(matches!(error, SnapshotError::Cancelled(_)), "{error}");
    let left = fs::read_dir(foreign.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut left: Vec<OsString> = left.collect();
    left.sort();
    assert_eq!(left, ["foreign.idx.lock", "foreign.tar", "out", "tree"]);
}

#[test]
fn the_bytes_of_the_tarball_are_counted() {
    let foreign = Foreign::full();
    foreign.put(&gzip(&foreign.tar(&[]), 1));
    let seen = std::cell::Cell::new(0);
    let advance = |bytes| seen.set(seen.get() + bytes);
    let options = PrepareOptions {
        advance: Some(&advance),
        ..PrepareOptions::default()
    };
    prepare(&foreign.paths(), &options).unwrap();
    assert_eq!(seen.get(), fs::metadata(&foreign.tarball).unwrap().len());
    let mut file = fs::File::open(&foreign.tarball).unwrap();
    let mut magic = [0; 2];
    file.read_exact(&mut magic).unwrap();
    assert_eq!(magic, [0x1f, 0x8b]);
}
