//! e2fsck, debugfs, resize2fs and mke2fs (e2fsprogs) and the kernel judge what is written.

pub(crate) mod arrival;
mod random;
pub(crate) mod support;

use std::fs;
use std::path::Path;

use super::*;
use crate::cancel::Cancel;
use crate::image::canvas::Canvas;
use crate::image::tool::tests::{run, run_any};
use crate::image::tree;
pub use support::Tmpfs;
use support::{Image, Mounted, debugfs, listing, spec, tree_of};

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for (round, threads) in [("a", 1), ("b", 3)] {
        let source = directory.path().join(round);
        fs::create_dir(&source).unwrap();
        arrival::tricky(&source);
        let image = Image::new(directory.path(), &format!("{round}.raw"), 100);
        image.write(&spec(Kind::Ext4, 100), &tree_of(&source), threads).unwrap();
        images.push(fs::read(image.path()).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert!(images[0] == images[1]);
}

#[test]
fn a_partition_too_small_is_told_what_it_needs() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("big"), vec![7; 24 << 20]).unwrap();
    let tree = tree_of(&source);
    for kind in [Kind::Ext2, Kind::Ext3, Kind::Ext4] {
        let small = Image::new(directory.path(), "raw", 16);
        let error = small.write(&spec(kind, 16), &tree, 1).unwrap_err();
        let FileSystemError::Full {
            needed_bytes: Some(needed_bytes),
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert!(
            error
                .to_string()
                .contains(&format!("at least {} MiB", needed_bytes >> 20)),
            "{error}"
        );
        assert_eq!(fs::metadata(small.path()).unwrap().len() & 0xfff, 0);
        drop(small);
        let image = Image::new(directory.path(), "raw", needed_bytes >> 20);
        image.write(&spec(kind, needed_bytes >> 20), &tree, 1).unwrap();
        image.check();
        assert!(needed_bytes < 36 << 20, "{kind:?}: {needed_bytes}");
    }
    let error = Image::new(directory.path(), "raw", 1).write(
        &Spec {
            size_bytes: 40 << 10,
            ..spec(Kind::Ext4, 1)
        },
        &tree,
        1,
    );
    assert!(matches!(error, Err(FileSystemError::Size { .. })));
}

#[test]
fn a_full_disk_of_the_host_is_something_else() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("big"), vec![7; 24 << 20]).unwrap();
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let tmpfs = Tmpfs::mount(&mounted, "size=4m");
    let image = Image::new(&mounted, "raw", 100);
    let error = image.write(&spec(Kind::Ext4, 100), &tree_of(&source), 2).unwrap_err();
    assert!(
        matches!(&error, FileSystemError::Io(error) if error.is_no_space()),
        "{error}"
    );
    drop((image, tmpfs));
    let (ok, _) = run_any("util-linux", "mountpoint", &["-q", mounted.to_str().unwrap()]);
    assert!(!ok);
}

#[test]
fn nothing_is_written_for_what_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new(directory.path(), "raw", 100 << 10);
    image
        .write(&spec(Kind::Ext4, 100 << 10), &tree::Tree::empty(), 1)
        .unwrap();
    image.check();
    let data_bytes = image.data_bytes();
    assert!(data_bytes < 6 << 20, "{data_bytes}");
    let groups = debugfs(&image, "stats");
    assert!(groups.contains("Inode not init, Block not init"), "{groups}");
}

#[test]
fn directories_of_100000_names() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir_all(source.join("many")).unwrap();
    let name = |i: u32| format!("{i:06} {}", "läng ".repeat((i % 40) as usize));
    let first = source.join("many").join(name(0));
    fs::write(&first, "x").unwrap();
    // Hard links: all that counts here are names.
    for i in 1..60_000 {
        fs::hard_link(&first, source.join("many").join(name(i))).unwrap();
    }
    let second = source.join("many/second");
    fs::write(&second, "y").unwrap();
    for i in 60_000..100_000 {
        fs::hard_link(&second, source.join("many").join(name(i))).unwrap();
    }
    let image = Image::new(directory.path(), "raw", 200);
    image.write(&spec(Kind::Ext4, 200), &tree_of(&source), 1).unwrap();
    image.check();
    assert!(debugfs(&image, "htree_dump /many").contains("Indirect levels: 1"));
    let mounted = Mounted::new(&image, "ext4");
    assert_eq!(fs::read_dir(mounted.path().join("many")).unwrap().count(), 100_001);
    for i in (0..100_000).step_by(97) {
        let text = fs::read_to_string(mounted.path().join("many").join(name(i))).unwrap();
        assert_eq!(text, if i < 60_000 { "x" } else { "y" });
    }
}

#[test]
fn names_hash_as_e2fsprogs_hashes_them() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new(directory.path(), "raw", 16);
    image.write(&spec(Kind::Ext4, 16), &tree::Tree::empty(), 1).unwrap();
    let seed = spec(Kind::Ext4, 16).hash_seed;
    // debugfs takes characters for signed; those of many names elsewhere are not ASCII.
    for name in [
        "a",
        "etc",
        "passwd",
        "a name that is longer than thirty-two bytes",
        &"x".repeat(255),
    ] {
        let answer = debugfs(&image, &format!("dx_hash -h half_md4 -s {seed} \"{name}\""));
        let ours = format!("is {:#010x}", hash::half_md4(name.as_bytes(), seed.as_bytes()));
        assert!(answer.contains(&ours), "{name}: {ours}: {answer}");
    }
}

#[test]
fn file_systems_can_grow() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    arrival::tricky(&source);
    let expected = listing(&source);
    for (kind, name) in [(Kind::Ext4, "ext4"), (Kind::Ext3, "ext3")] {
        // resize2fs takes no offset.
        let image = Image::at_offset(directory.path(), name, 200, 0);
        image.write(&spec(kind, 200), &tree_of(&source), 2).unwrap();
        image.check();
        let file = fs::File::options().write(true).open(image.path()).unwrap();
        file.set_len(3000 << 20).unwrap();
        run("e2fsprogs", "resize2fs", &[image.path().to_str().unwrap()]);
        image.check();
        let mounted = Mounted::new(&image, name);
        assert_eq!(listing(mounted.path()), expected);
    }
}

#[test]
fn maps_of_many_parts() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir(&source).unwrap();
    let bytes: Vec<u8> = (0..1500 * 8192).map(|i: u32| (i / 4096 % 255 + 1) as u8).collect();
    fs::write(source.join("file"), &bytes).unwrap();
    for (kind, name) in [(Kind::Ext4, "ext4"), (Kind::Ext2, "ext2")] {
        let mut tree = tree_of(&source);
        // Every second block: three levels of extents.
        tree.set_data(1, (0..1500).map(|i| (i * 8192, i * 8192 + 4096)).collect());
        let image = Image::new(directory.path(), name, 64);
        image.write(&spec(kind, 64), &tree, 2).unwrap();
        image.check();
        let mounted = Mounted::new(&image, name);
        let read = fs::read(mounted.path().join("file")).unwrap();
        let expected = bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| if at / 4096 % 2 == 0 { *byte } else { 0 });
        assert!(read.iter().copied().eq(expected), "{name}");
    }
}

#[test]
fn what_cannot_be_stored_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir_all(source.join("d")).unwrap();
    let file = source.join("d/file");
    fs::write(&file, "").unwrap();
    let none = rustix::fs::XattrFlags::empty();
    for name in ["user.a", "user.b"] {
        // The host's own ext4 takes one of these per file.
        rustix::fs::setxattr(&file, name, &[1; 2000], none).unwrap();
    }
    let mut tree = tree_of(&source);
    let image = Image::new(directory.path(), "raw", 16);
    let result = image.write(&spec(Kind::Ext4, 16), &tree, 1);
    tree.add_xattr(2, "user.c", &[2; 2000]);
    let error = image.write(&spec(Kind::Ext4, 16), &tree, 1).unwrap_err().to_string();
    assert!(
        result.is_ok() && error.contains("/d/file cannot be stored: its extended attributes"),
        "{error}"
    );
    tree.add_xattr(1, "odd.name", b"");
    let error = image.write(&spec(Kind::Ext4, 16), &tree, 1).unwrap_err().to_string();
    assert!(
        error.contains("/d cannot be stored") && error.contains("\"odd.name\""),
        "{error}"
    );
}

#[test]
fn cancelling_stops_it() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new(directory.path(), "raw", 16);
    let cancel = Cancel::default();
    cancel.cancel();
    let file = fs::File::options().read(true).write(true).open(image.path()).unwrap();
    let canvas = Canvas::new(&file, Path::new("raw"), None);
    let result = write(
        Region::new(&canvas, 0, 16 << 20),
        &spec(Kind::Ext4, 16),
        &tree::Tree::empty(),
        Work::quiet(&cancel),
    );
    assert!(matches!(result, Err(FileSystemError::Cancelled(_))));
}
