//! All properties of a tree arrive unchanged in the file system.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use super::super::Kind;
use super::support::{EPOCH, Image, Mounted, OFFSET_BYTES, debugfs, listing, set_times, spec, tree_of};
use crate::image::tool::tests::run;

/// Makes a tree with every kind of file of a distribution, and more.
pub fn tricky(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/file"), "contents").unwrap();
    fs::hard_link(at("d/file"), at("d/linked")).unwrap();
    set_times(&at("d/file"), 1_000_000_000);
    for length in [1, 59, 60, 300, 4000] {
        symlink("x".repeat(length), at(&format!("link{length}"))).unwrap();
    }
    fs::write(at("suid"), "#!").unwrap();
    chown(at("suid"), Some(12), Some(70_000)).unwrap();
    fs::set_permissions(at("suid"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::create_dir(at("sticky")).unwrap();
    fs::set_permissions(at("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    let devices = [
        ("null", "c", &["1", "3"][..]),
        ("pipe", "p", &[]),
        ("disk", "b", &["259", "70000"]),
    ];
    for (name, kind, numbers) in devices {
        let status = Command::new("mknod")
            .arg(at(name))
            .arg(kind)
            .args(numbers)
            .status()
            .unwrap();
        assert!(status.success());
    }
    drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
    xattrs(root);
    contents(root);
    fs::create_dir(at("many")).unwrap();
    for i in 0..600 {
        File::create(at(&format!("many/{i} {}", "n".repeat(60)))).unwrap();
    }
    fs::create_dir(at("names")).unwrap();
    for name in [
        &b"\xff\xfe not UTF-8"[..],
        "Ümläut".as_bytes(),
        b"new\nline",
        &[b'x'; 255],
    ] {
        fs::write(at("names").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir_all(at(&"deep/".repeat(40))).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o2750)).unwrap();
    chown(root, Some(3), Some(4)).unwrap();
}

fn contents(root: &Path) {
    let at = |name: &str| root.join(name);
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(300 << 20).unwrap();
    sparse.write_all_at(b"start", 0).unwrap();
    sparse.write_all_at(b"end", (300 << 20) - 3).unwrap();
    fs::write(at("zeros"), vec![0; 1 << 20]).unwrap();
    for (name, size) in [
        ("empty", 0),
        ("one", 1),
        ("block", 4096),
        ("more", 4097),
        ("large", 3_000_001),
    ] {
        let bytes: Vec<u8> = (0..size).map(|i: u32| (i.wrapping_mul(i) >> 8) as u8 | 1).collect();
        fs::write(at(name), bytes).unwrap();
    }
}

fn xattrs(root: &Path) {
    let at = |name: &str| root.join(name);
    let none = rustix::fs::XattrFlags::empty();
    fs::write(at("capable"), "x").unwrap();
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(at("capable"), "security.capability", &capability, none).unwrap();
    rustix::fs::setxattr(at("capable"), "user.note", b"hello", none).unwrap();
    rustix::fs::setxattr(at("capable"), "user.empty", b"", none).unwrap();
    fs::write(at("noted"), "x").unwrap();
    for i in 0..20_u8 {
        rustix::fs::setxattr(
            at("noted"),
            format!("user.number{i}"),
            &vec![i; usize::from(i) * 7],
            none,
        )
        .unwrap();
    }
    // user::rwx user:1000:r-x group::r-x mask::rwx other::---
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let entries = [
        entry(1, 7, u32::MAX),
        entry(2, 5, 1000),
        entry(4, 5, u32::MAX),
        entry(8, 4, 70_000),
        entry(16, 7, u32::MAX),
        entry(32, 0, u32::MAX),
    ];
    let acl = [&2_u32.to_le_bytes()[..], &entries.concat()].concat();
    fs::create_dir(at("acl")).unwrap();
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        rustix::fs::setxattr(at("acl"), name, &acl, none).unwrap();
    }
}

#[test]
fn everything_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    tricky(&source);
    let expected = listing(&source);
    for (kind, name) in [(Kind::Ext4, "ext4"), (Kind::Ext3, "ext3"), (Kind::Ext2, "ext2")] {
        let image = Image::new(directory.path(), "raw", 400);
        image.write(&spec(kind, 400), &tree_of(&source), 2).unwrap();
        image.check();
        // The image has stayed sparse: 400 MiB with a few of data, and in it a file of 300.
        assert!(image.data_bytes() < 16 << 20, "{}", image.data_bytes());
        let seen = run(
            "util-linux",
            "blkid",
            &[
                "-p",
                "-O",
                &OFFSET_BYTES.to_string(),
                "-o",
                "export",
                image.path().to_str().unwrap(),
            ],
        );
        assert!(
            seen.contains(&format!("TYPE={name}\n")) && seen.contains("LABEL=rootfs"),
            "{seen}"
        );
        let mounted = Mounted::new(&image, name);
        let found = listing(mounted.path());
        for (path, expected) in &expected {
            assert_eq!(found.get(path), Some(expected), "{name}: {}", path.display());
        }
        assert_eq!(found.len(), expected.len());
        let metadata = fs::metadata(mounted.path().join("lost+found")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o700);
    }
}

#[test]
fn times_are_those_of_the_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    tricky(&source);
    let image = Image::new(directory.path(), "raw", 400);
    image.write(&spec(Kind::Ext4, 400), &tree_of(&source), 2).unwrap();
    let superblock = debugfs(&image, "stats -h");
    for text in [
        "22222222-2222-8222-8222-222222222222",
        "Filesystem created:       Tue Nov 14 22:13:20 2023",
        "Last write time:          Tue Nov 14 22:13:20 2023",
    ] {
        assert!(superblock.contains(text), "{text}: {superblock}");
    }
    assert_eq!(format!("{EPOCH:x}"), "6553f100");
    for (path, texts) in [
        (
            "/d/file",
            &["Links: 2", "mtime: 0x3b9aca00:1d6f3454", "ctime: 0x6553f100:00000000"][..],
        ),
        (
            "/suid",
            &[
                "crtime: 0x6553f100:00000000",
                "mtime: 0x6553f100:00000000",
                "atime: 0x6553f100:00000000",
            ],
        ),
        ("/sparse", &["Blockcount: 4096"]),
        ("/link59", &["Fast link dest"]),
    ] {
        let found = debugfs(&image, &format!("stat {path}"));
        for text in texts {
            assert!(found.contains(text), "{path}: {text}: {found}");
        }
    }
}

/// `mke2fs -d` makes the same of the same tree, with the same features.
#[test]
fn mke2fs_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    tricky(&source);
    fs::remove_file(source.join("socket")).unwrap();
    for (kind, name, features) in [
        (
            Kind::Ext4,
            "ext4",
            "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize",
        ),
        (Kind::Ext3, "ext3", "has_journal"),
        (Kind::Ext2, "ext2", ""),
    ] {
        let spec = spec(kind, 400);
        let ours = Image::new(directory.path(), "ours", 400);
        ours.write(&spec, &tree_of(&source), 2).unwrap();
        let theirs = Image::new(directory.path(), "theirs", 400);
        let features = format!("none,sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr,{features}");
        let extended = format!(
            "offset={OFFSET_BYTES},root_owner=3:4,hash_seed={},nodiscard",
            spec.hash_seed
        );
        let (size, uuid) = ((spec.size_bytes / 4096).to_string(), spec.uuid.to_string());
        let (from, to) = (source.to_str().unwrap(), theirs.path().to_str().unwrap());
        let arguments = [
            "-q", "-F", "-t", name, "-b", "4096", "-I", "256", "-i", "4096", "-O", &features, "-E", &extended, "-U",
            &uuid, "-L", "rootfs", "-d", from, to, &size,
        ];
        run("e2fsprogs", "mke2fs", &arguments);
        let (mounted_ours, mounted_theirs) = (Mounted::new(&ours, name), Mounted::new(&theirs, name));
        let (mut found, mut expected) = (listing(mounted_ours.path()), listing(mounted_theirs.path()));
        for listing in [&mut found, &mut expected] {
            // mke2fs copies neither the root directory's own metadata nor fractions of a second.
            listing.remove(Path::new(""));
            listing
                .values_mut()
                .for_each(|text| *text = text.replace(".123456789", ".000000000"));
        }
        for (path, expected) in &expected {
            assert_eq!(found.get(path), Some(expected), "{name}: {}", path.display());
        }
        assert_eq!(found.len(), expected.len());
        superblocks_agree(&ours, &theirs);
    }
}

/// Checks that dumpe2fs shows the same superblock for both, without the fields that count free space or writes.
fn superblocks_agree(ours: &Image, theirs: &Image) {
    let lines = |image: &Image| -> Vec<String> {
        let text = run("e2fsprogs", "dumpe2fs", &["-h", &image.at()]);
        let skipped = [
            "Free blocks",
            "Free inodes",
            "Filesystem created",
            "Last write time",
            "Last checked",
            "Filesystem flags",
            "Lifetime writes",
            "Checksum",
            "Journal checksum",
            "dumpe2fs",
            "Overhead",
            "Default mount options",
            "Last mount",
            "First orphan",
        ];
        let is_wanted = |line: &&str| !skipped.iter().any(|start| line.starts_with(start));
        text.lines().filter(is_wanted).map(str::to_owned).collect()
    };
    assert_eq!(lines(ours), lines(theirs));
}
