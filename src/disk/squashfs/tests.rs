//! mksquashfs (squashfs-tools) makes file systems; what is read is what they were made of.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::super::listing::{listing, walk};
use super::super::medium::{Memory, RawFile};
use super::*;
use crate::image::ext4::tests::arrival::tricky;
use crate::image::ext4::tests::support;
use crate::image::tool::tests::run;

fn make(tree: &Path, image: &Path, options: &[&str]) {
    let _ = fs::remove_file(image);
    let names = [tree.to_str().unwrap(), image.to_str().unwrap()];
    run(
        "squashfs-tools",
        "mksquashfs",
        &[&names[..], &["-quiet", "-no-progress"], options].concat(),
    );
}

fn open(path: &Path) -> Squashfs {
    Squashfs::open(Area::whole(Arc::new(RawFile::open(path).unwrap()))).unwrap()
}

/// What is said of a file, without the parts of a second and the ACLs that squashfs does not keep.
fn kept(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if let Some(time) = words.get_mut(2) {
        *time = time.split('.').next().unwrap().to_owned();
    }
    words.retain(|word| !word.contains("posix_acl"));
    words.join(" ")
}

#[test]
fn what_mksquashfs_writes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (source, image) = (directory.path().join("tree"), directory.path().join("image"));
    fs::create_dir(&source).unwrap();
    tricky(&source);
    let text: Vec<u8> = (0..400_001).map(|at| b"abcdefgh"[at / 7 % 8]).collect();
    fs::write(source.join("text"), text).unwrap();
    let expected = support::listing(&source);
    let sets: &[&[&str]] = &[
        &["-comp", "gzip"],
        &["-comp", "xz", "-b", "1M", "-Xbcj", "x86"],
        &["-comp", "lz4"],
        &["-comp", "zstd", "-b", "64K"],
        &["-comp", "lzma", "-no-fragments"],
        &["-noI", "-noD", "-noF", "-always-use-fragments"],
        &["-b", "4096", "-noX", "-no-duplicates"],
    ];
    for options in sets {
        make(&source, &image, options);
        let opened = open(&image);
        let found = listing(&opened).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        for (path, expected) in &expected {
            let found = found.get(path).map(|text| kept(text));
            assert_eq!(found, Some(kept(expected)), "{options:?}: {}", path.display());
        }
        assert_eq!(found.len(), expected.len(), "{options:?}");
    }
    make(&source, &image, &["-comp", "lzo"]);
    let refused = Squashfs::open(Area::whole(Arc::new(RawFile::open(&image).unwrap()))).unwrap_err();
    assert!(refused.to_string().contains("LZO"), "{refused}");
}

fn small() -> &'static [Vec<u8>] {
    static IMAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let (source, image) = (directory.path().join("tree"), directory.path().join("image"));
        fs::create_dir_all(source.join("d")).unwrap();
        fs::write(source.join("text"), b"text ".repeat(40_000)).unwrap();
        fs::write(source.join("d/small"), "small").unwrap();
        std::os::unix::fs::symlink("text", source.join("link")).unwrap();
        let none = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(source.join("text"), "user.note", b"hello", none).unwrap();
        let sets: [&[&str]; 2] = [&["-noI", "-noX", "-nopad"], &["-comp", "zstd", "-nopad"]];
        let made = sets.map(|options| {
            make(&source, &image, options);
            fs::read(&image).unwrap()
        });
        made.to_vec()
    })
}

proptest! {
    #[test]
    fn damage_is_an_error(which in 0..2_usize, places in proptest::collection::vec((0..u16::MAX, any::<u8>()), 1..6), cut in 0..u16::MAX) {
        let mut bytes = small()[which].clone();
        for (place, byte) in places {
            let at = usize::from(place) % bytes.len();
            bytes[at] = byte;
        }
        if cut % 4 == 0 {
            bytes.truncate(usize::from(cut) % bytes.len());
        }
        if let Ok(opened) = Squashfs::open(Area::whole(Arc::new(Memory::new(bytes)))) {
            let _ = walk(&opened);
        }
    }
}
