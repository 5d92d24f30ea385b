//! e2fsck and debugfs (e2fsprogs) judge what is written.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::process::Command;

use super::*;
use crate::image::tool::tests::{run, run_any};

const OFFSET_BYTES: u64 = 1 << 20;
const EPOCH: u64 = 1_700_000_000;

pub fn set_times(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let times = fs::FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).unwrap().set_times(times).unwrap();
}

/// A tree with everything that a distribution has in it.
fn tricky(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/file"), "contents").unwrap();
    fs::hard_link(at("d/file"), at("d/linked")).unwrap();
    set_times(&at("d/file"), 1_000_000_000);
    symlink("d/file", at("short")).unwrap();
    symlink("x".repeat(300), at("long")).unwrap();
    fs::write(at("suid"), "#!").unwrap();
    chown(at("suid"), Some(12), Some(70_000)).unwrap();
    fs::set_permissions(at("suid"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::create_dir(at("sticky")).unwrap();
    fs::set_permissions(at("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    for (name, kind, numbers) in [
        ("null", "c", &["1", "3"][..]),
        ("pipe", "p", &[]),
        ("disk", "b", &["259", "70000"]),
    ] {
        let status = Command::new("mknod")
            .arg(at(name))
            .arg(kind)
            .args(numbers)
            .status()
            .unwrap();
        assert!(status.success());
    }
    fs::write(at("capable"), "x").unwrap();
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let none = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(at("capable"), "security.capability", &capability, none).unwrap();
    rustix::fs::setxattr(at("capable"), "user.note", b"hello", none).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(5 << 30).unwrap();
    sparse.write_all_at(b"end", (5 << 30) - 3).unwrap();
    fs::create_dir(at("many")).unwrap();
    for i in 0..600 {
        File::create(at(&format!("many/{i} {}", "n".repeat(60)))).unwrap();
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o2750)).unwrap();
    chown(root, Some(3), Some(4)).unwrap();
}

fn spec(kind: FileSystem, size_mib: u64) -> Spec {
    Spec {
        kind,
        offset_bytes: OFFSET_BYTES,
        size_bytes: size_mib << 20,
        uuid: Uuid::from_u128(0x1111_1111_1111_8111_8111_1111_1111_1111),
        hash_seed: Uuid::from_u128(0x2222_2222_2222_8222_8222_2222_2222_2222),
        label: Some("rootfs".into()),
        epoch_seconds: EPOCH,
    }
}

fn raw(directory: &Path, name: &str, size_mib: u64) -> PathBuf {
    let path = directory.join(name);
    File::create_new(&path)
        .unwrap()
        .set_len(OFFSET_BYTES + (size_mib << 20))
        .unwrap();
    path
}

fn at(raw: &Path) -> String {
    format!("{}?offset={OFFSET_BYTES}", raw.display())
}

fn ask(raw: &Path, question: &str) -> String {
    run("e2fsprogs", "debugfs", &["-R", question, &at(raw)])
}

fn make(raw: &Path, source: Option<&Path>, spec: &Spec) -> Result<(), ExtError> {
    Mke2fs::find("a test")
        .unwrap()
        .make(raw, source, spec, &Cancel::default())
}

#[test]
fn everything_arrives() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    tricky(&source);
    let raw = raw(directory.path(), "raw", 300);
    make(&raw, Some(&source), &spec(FileSystem::Ext4, 300)).unwrap();
    run("e2fsprogs", "e2fsck", &["-fn", &at(&raw)]);
    // The image has stayed sparse: 300 MiB with a few of data.
    assert!(fs::metadata(&raw).unwrap().blocks() * 512 < 4 << 20);
    let superblock = ask(&raw, "stats -h");
    for text in [
        "rootfs",
        "22222222-2222-8222-8222-222222222222",
        "metadata_csum",
        "64bit",
        "Last write time:          Tue Nov 14 22:13:20 2023",
    ] {
        assert!(superblock.contains(text), "{text}: {superblock}");
    }
    let expect = [
        (
            "/d/file",
            &["Links: 2", "Size: 8", "mtime: 0x3b9aca00", "ctime: 0x6553f100:00000000"][..],
        ),
        ("/short", &["Fast link dest: \"d/file\""]),
        ("/long", &["Type: symlink", "Size: 300"]),
        (
            "/suid",
            &[
                "Mode:  04755",
                "User:    12   Group: 70000",
                "crtime: 0x6553f100:00000000",
            ],
        ),
        ("/sticky", &["Mode:  01777"]),
        ("/null", &["Type: character special", "01:03"]),
        ("/disk", &["Type: block special", "259:70000"]),
        ("/pipe", &["Type: FIFO"]),
        ("/capable", &["security.capability (20)", "user.note (5) = \"hello\""]),
        ("/sparse", &["Size: 5368709120", "Blockcount: 8"]),
        (
            "/",
            &[
                "Mode:  02750",
                "User:     3   Group:     4",
                "mtime: 0x6553f100:00000000",
            ],
        ),
        ("/lost+found", &["Mode:  0700"]),
    ];
    for (path, texts) in expect {
        let found = ask(&raw, &format!("stat {path}"));
        for text in texts {
            assert!(found.contains(text), "{path}: {text}: {found}");
        }
    }
    assert_eq!(ask(&raw, "cat /d/linked").split("debugfs").next().unwrap(), "contents");
}

#[test]
fn two_runs_are_equal() {
    let directory = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for round in ["a", "b"] {
        let source = directory.path().join(round);
        fs::create_dir(&source).unwrap();
        tricky(&source);
        let raw = raw(directory.path(), &format!("{round}.raw"), 100);
        make(&raw, Some(&source), &spec(FileSystem::Ext4, 100)).unwrap();
        images.push(fs::read(&raw).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let different = images[0].iter().zip(&images[1]).filter(|(a, b)| a != b).count();
    assert_eq!(different, 0);
}

#[test]
fn the_older_ones() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "contents").unwrap();
    for (name, kind) in [("ext2", FileSystem::Ext2), ("ext3", FileSystem::Ext3)] {
        let raw = raw(directory.path(), name, 32);
        make(&raw, Some(&source), &spec(kind, 32)).unwrap();
        run("e2fsprogs", "e2fsck", &["-fn", &at(&raw)]);
        let seen = run(
            "util-linux",
            "blkid",
            &[
                "-p",
                "-O",
                &OFFSET_BYTES.to_string(),
                "-o",
                "export",
                raw.to_str().unwrap(),
            ],
        );
        assert!(seen.contains(&format!("TYPE={name}")), "{seen}");
    }
}

#[test]
fn full_partitions_and_full_disks_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("big"), vec![7; 24 << 20]).unwrap();
    let small = raw(directory.path(), "raw", 16);
    let error = make(&small, Some(&source), &spec(FileSystem::Ext4, 16)).unwrap_err();
    assert!(matches!(error, ExtError::Full { .. }), "{error}");
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let tmpfs = Tmpfs::mount(&mounted, "size=4m");
    let raw = raw(&mounted, "raw", 100);
    let error = make(&raw, Some(&source), &spec(FileSystem::Ext4, 100)).unwrap_err();
    assert!(matches!(error, ExtError::NoSpace(_)), "{error}");
    drop(tmpfs);
    let (ok, _) = run_any("util-linux", "mountpoint", &["-q", mounted.to_str().unwrap()]);
    assert!(!ok);
}

/// A small file system, unmounted when dropped.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    pub fn mount(path: &Path, options: &str) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount(
            "tmpfs",
            path,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
