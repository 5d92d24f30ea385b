//! mkfs.erofs (erofs-utils) and our own writer make file systems; what is read is what they were made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::listing::{listing, walk};
use super::super::medium::{Memory, RawFile};
use super::*;
use crate::image::erofs::{Spec, write};
use crate::image::ext4::tests::arrival::tricky;
use crate::image::ext4::tests::support::{self, EPOCH, Image, tree_of};
use crate::image::tool::tests::run;
use crate::model::FileCompression;

fn open(path: &Path) -> Erofs {
    Erofs::open(Area::whole(Arc::new(RawFile::open(path).unwrap()))).unwrap()
}

fn source(directory: &Path) -> PathBuf {
    let source = directory.join("tree");
    fs::create_dir(&source).unwrap();
    tricky(&source);
    for size in [5000, 70_000, 300_001] {
        let text: Vec<u8> = (0..size).map(|at| b"abcdefgh"[at / 7 % 8]).collect();
        let mixed: Vec<u8> = (0..size).map(|at| ((at * at) >> (at >> 14)) as u8).collect();
        fs::write(source.join(format!("text{size}")), text).unwrap();
        fs::write(source.join(format!("mixed{size}")), mixed).unwrap();
    }
    source
}

fn ours(directory: &Path, source: &Path, compression: Option<FileCompression>) -> Image {
    let image = Image::at_offset(directory, &format!("{compression:?}"), 64, 0);
    let spec = Spec {
        uuid: Uuid::from_u128(7),
        label: Some("rootfs".into()),
        epoch_seconds: EPOCH,
        compression,
    };
    let tree = tree_of(source);
    image
        .draw(64 << 20, 2, |region, work| write(region, &spec, &tree, work))
        .unwrap();
    image
}

#[test]
fn what_we_write_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(directory.path());
    let expected = support::listing(&source);
    for compression in [None, Some(FileCompression::Lz4), Some(FileCompression::Zstd)] {
        let image = ours(directory.path(), &source, compression);
        let opened = open(image.path());
        assert_eq!(opened.facts().label, "rootfs");
        let found = listing(&opened).unwrap();
        for (path, expected) in &expected {
            assert_eq!(found.get(path), Some(expected), "{compression:?}: {}", path.display());
        }
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn what_mkfs_erofs_writes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(directory.path());
    // mkfs.erofs 1.5 takes minutes for a file with a hole of 300 MiB, and fails at the longest names.
    fs::remove_file(source.join("sparse")).unwrap();
    fs::remove_file(source.join("names").join("x".repeat(255))).unwrap();
    let expected = support::listing(&source);
    let path = directory.path().join("image");
    let sets: &[&[&str]] = &[
        &[],
        &["--chunksize=4096"],
        &["-zlz4"],
        &["-zlz4hc", "-Elegacy-compress"],
        &["-zlz4hc", "-C65536"],
        &["-zlz4", "-C65536", "-Elegacy-compress"],
        &["-zlz4", "-Eztailpacking"],
        &["-zlz4hc", "-C16384", "-Efragments"],
        &["-zlz4", "-Eall-fragments"],
        &["-zlz4", "-Ededupe"],
        &["-Eforce-inode-extended"],
    ];
    for options in sets {
        let (image, tree) = (path.to_str().unwrap(), source.to_str().unwrap());
        run(
            "erofs-utils",
            "mkfs.erofs",
            &[options, &["--quiet", image, tree][..]].concat(),
        );
        let opened = open(&path);
        let found = listing(&opened).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        for (path, expected) in &expected {
            assert_eq!(found.get(path), Some(expected), "{options:?}: {}", path.display());
        }
        assert_eq!(found.len(), expected.len(), "{options:?}");
        fs::remove_file(&path).unwrap();
    }
}

fn small() -> &'static [Vec<u8>] {
    static IMAGES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    IMAGES.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("tree");
        fs::create_dir_all(source.join("d")).unwrap();
        let text: Vec<u8> = (0..70_000).map(|at| b"abcdefgh"[at / 7 % 8]).collect();
        fs::write(source.join("text"), text).unwrap();
        fs::write(source.join("d/small"), "small").unwrap();
        let path = directory.path().join("image");
        let (image, tree) = (path.to_str().unwrap(), source.to_str().unwrap());
        let sets: [&[&str]; 3] = [
            &[],
            &["-zlz4hc", "-C16384"],
            &["-zlz4", "-Eztailpacking,legacy-compress"],
        ];
        let made = sets.map(|options| {
            run(
                "erofs-utils",
                "mkfs.erofs",
                &[options, &["--quiet", image, tree][..]].concat(),
            );
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            bytes
        });
        let zstd = ours(directory.path(), &source, Some(FileCompression::Zstd));
        let mut zstd = fs::read(zstd.path()).unwrap();
        let end = zstd.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        zstd.truncate(end.next_multiple_of(4096));
        made.into_iter().chain([zstd]).collect()
    })
}

proptest! {
    #[test]
    fn damage_is_an_error(which in 0..4_usize, places in proptest::collection::vec((0..u16::MAX, any::<u8>()), 1..6), cut in 0..u16::MAX) {
        let mut bytes = small()[which].clone();
        for (place, byte) in places {
            let at = usize::from(place) % bytes.len();
            bytes[at] = byte;
        }
        // The checksum would find most of it.
        bytes[1024 + 8] &= !1;
        if cut % 4 == 0 {
            bytes.truncate(usize::from(cut));
        }
        if let Ok(opened) = Erofs::open(Area::whole(Arc::new(Memory::new(bytes)))) {
            let _ = walk(&opened);
        }
    }
}
