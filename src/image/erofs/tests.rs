//! fsck.erofs and dump.erofs (erofs-utils) and the kernel judge what is written.

use std::fs::{self, File};
use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::cancel::Cancel;
use crate::image::canvas::{Canvas, Drawn};
use crate::image::ext4::tests::arrival::tricky;
use crate::image::ext4::tests::support::{EPOCH, Image, Mounted, listing, tree_of};
use crate::image::merged::Merged;
use crate::image::tool::tests::run;
use crate::image::tree::{self, tests::Base};
use crate::overlay::directory::DirectoryLayer;
use crate::sync::Arc;

/// Makes the parameters of a file system.
fn spec(compression: Option<FileCompression>) -> Spec {
    Spec {
        uuid: Uuid::from_u128(0x1111_1111_1111_8111_8111_1111_1111_1111),
        label: Some("rootfs".into()),
        epoch_seconds: EPOCH,
        compression,
    }
}

fn image_of(directory: &Path, name: &str, tree: &Tree, spec: &Spec, threads: usize) -> Image {
    // erofs-utils of this age takes no offset.
    let image = Image::at_offset(directory, name, 400, 0);
    image
        .draw(400 << 20, threads, |region, work| write(region, spec, tree, work))
        .unwrap();
    image
}

fn fsck(image: &Image) {
    run("erofs-utils", "fsck.erofs", &[image.path().to_str().unwrap()]);
}

fn tricky_tree(directory: &Path, name: &str) -> std::path::PathBuf {
    let source = directory.join(name);
    fs::create_dir(&source).unwrap();
    tricky(&source);
    source
}

#[test]
fn everything_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let source = tricky_tree(directory.path(), "tree");
    let image = image_of(directory.path(), "raw", &tree_of(&source), &spec(None), 2);
    let expected = listing(&source);
    let mounted = Mounted::new(&image, "erofs");
    let found = listing(mounted.path());
    for (path, expected) in &expected {
        assert_eq!(found.get(path), Some(expected), "{}", path.display());
    }
    assert_eq!(found.len(), expected.len());
    // The image is sparse: in it is a file of 300 MiB with a hole.
    assert!(image.data_bytes() < 16 << 20, "{}", image.data_bytes());
    fsck(&image);
    let seen = run(
        "util-linux",
        "blkid",
        &["-p", "-o", "export", image.path().to_str().unwrap()],
    );
    for line in [
        "TYPE=erofs",
        "LABEL=rootfs",
        "UUID=11111111-1111-8111-8111-111111111111",
    ] {
        assert!(seen.lines().any(|found| found == line), "{line}: {seen}");
    }
    let dump = run("erofs-utils", "dump.erofs", &["-s", image.path().to_str().unwrap()]);
    assert!(dump.contains("sb_csum") && dump.contains("mtime"), "{dump}");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for (name, threads) in [("a", 1), ("b", 3)] {
        let source = tricky_tree(directory.path(), name);
        let raw = format!("{name}.raw");
        let image = image_of(directory.path(), &raw, &tree_of(&source), &spec(None), threads);
        images.push(fs::read(image.path()).unwrap());
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
    let draw = |size_bytes: u64| {
        let image = Image::at_offset(directory.path(), "raw", 32, 0);
        let result = image.draw(size_bytes, 1, |region, work| write(region, &spec(None), &tree, work));
        let written = image.data_bytes();
        if result.is_ok() {
            fsck(&image);
        }
        (result, written)
    };
    let (result, written) = draw(16 << 20);
    let Err(FileSystemError::Full {
        needed_bytes: Some(needed),
        ..
    }) = result
    else {
        panic!("{result:?}");
    };
    assert_eq!(written, 0);
    assert!(needed < (24 << 20) + 20_000, "{needed}");
    draw(needed).0.unwrap();
    draw(needed - 4096).0.unwrap_err();
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
    for i in 60_000..100_000 {
        File::create(source.join("many").join(name(i))).unwrap();
    }
    let image = image_of(directory.path(), "raw", &tree_of(&source), &spec(None), 1);
    let mounted = Mounted::new(&image, "erofs");
    assert_eq!(fs::read_dir(mounted.path().join("many")).unwrap().count(), 100_000);
    for i in (0..100_000).step_by(97) {
        let text = fs::read_to_string(mounted.path().join("many").join(name(i))).unwrap();
        assert_eq!(text, if i < 60_000 { "x" } else { "" });
    }
    fsck(&image);
}

/// A tree of a base that knows digests, below changes.
fn layered(base: &Path, upper: &Path) -> Tree {
    let upper = DirectoryLayer::open(upper).unwrap();
    let base = Base(DirectoryLayer::open(base).unwrap());
    let merged = Merged::new(vec![Arc::new(upper), Arc::new(base)]).unwrap();
    tree::collect(merged.overlay(), Path::new("/"), &[], 2).unwrap()
}

/// Writes `tree` where an earlier image may be; returns what is there now and the number of bytes written.
fn draw(file: &File, before: Option<&Drawn>, tree: &Tree, spec: &Spec) -> (Drawn, u64) {
    let canvas = Canvas::new(file, Path::new("raw"), before);
    let cancel = Cancel::default();
    let work = Work {
        threads: 2,
        ..Work::quiet(&cancel)
    };
    write(Region::new(&canvas, 0, 64 << 20), spec, tree, work).unwrap();
    let (drawn, _) = canvas.finish().unwrap();
    (drawn, canvas.written_bytes())
}

fn repeated(compression: Option<FileCompression>) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("base/etc")).unwrap();
    fs::create_dir_all(at("upper/etc")).unwrap();
    for i in 0..300_usize {
        let words: Vec<u8> = (0..i * 211).map(|at| ((at * at) >> (i % 7)) as u8).collect();
        fs::write(at(&format!("base/etc/{i}")), words).unwrap();
    }
    fs::write(at("upper/etc/large"), [b'a', b'b', b'c'].repeat(300_000)).unwrap();
    let new = |name: &str| {
        let path = at(name);
        File::create_new(&path).unwrap().set_len(64 << 20).unwrap();
        File::options().read(true).write(true).open(&path).unwrap()
    };
    let (reused, spec) = (new("reused"), spec(compression));
    let (drawn, first) = draw(&reused, None, &layered(&at("base"), &at("upper")), &spec);
    assert!(first > 1 << 20, "{first}");
    let (_, again) = draw(&reused, Some(&drawn), &layered(&at("base"), &at("upper")), &spec);
    assert_eq!(again, 0);
    fs::write(at("upper/etc/new"), "new").unwrap();
    fs::write(at("upper/etc/7"), "changed").unwrap();
    let tree = layered(&at("base"), &at("upper"));
    let (drawn, changed) = draw(&reused, Some(&drawn), &tree, &spec);
    fs::remove_file(at("upper/etc/7")).unwrap();
    let tree = layered(&at("base"), &at("upper"));
    let (_, back) = draw(&reused, Some(&drawn), &tree, &spec);
    assert!(back > 0 && changed > 0);
    let fresh = new("fresh");
    let (drawn, _) = draw(&fresh, None, &tree, &spec);
    assert!(fs::read(at("reused")).unwrap() == fs::read(at("fresh")).unwrap());
    run("erofs-utils", "dump.erofs", &["-s", at("reused").to_str().unwrap()]);
    // What is added is small, and so is what is written for it.
    fs::write(at("upper/etc/more"), "more").unwrap();
    let tree = layered(&at("base"), &at("upper"));
    let (_, more) = draw(&fresh, Some(&drawn), &tree, &spec);
    assert!(more * 4 < first, "{more} of {first}");
}

#[test]
fn a_repeated_build_writes_what_changed() {
    repeated(None);
}

#[test]
fn a_repeated_build_compresses_what_changed() {
    repeated(Some(FileCompression::Lz4));
    repeated(Some(FileCompression::Zstd));
}

/// Adds files of sizes around those of blocks and segments, that can be compressed, or not, or in parts.
fn sizes(source: &Path) {
    fs::create_dir(source.join("sizes")).unwrap();
    for around in [4096, 8192, 12288, 131_072, 262_144, 1_000_000] {
        for size in [around - 1, around, around + 1, around + 4000] {
            let text: Vec<u8> = (0..size).map(|at| b"abcdefgh"[at / 7 % 8]).collect();
            let mut state = 1_u64;
            let noise = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            let noise: Vec<u8> = (0..size).map(noise).collect();
            let mixed: Vec<u8> = (0..size)
                .map(|at| if at / 50_000 % 2 == 0 { noise[at] } else { text[at] })
                .collect();
            for (name, bytes) in [("text", text), ("noise", noise), ("mixed", mixed)] {
                fs::write(source.join(format!("sizes/{name}{size}")), bytes).unwrap();
            }
        }
    }
}

#[test]
fn compressed_contents_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let source = tricky_tree(directory.path(), "tree");
    sizes(&source);
    let expected = listing(&source);
    let plain = image_of(directory.path(), "plain", &tree_of(&source), &spec(None), 2).data_bytes();
    for algorithm in [FileCompression::Lz4, FileCompression::Zstd] {
        let name = format!("{algorithm:?}");
        let image = image_of(directory.path(), &name, &tree_of(&source), &spec(Some(algorithm)), 2);
        let mounted = Mounted::new(&image, "erofs");
        let found = listing(mounted.path());
        for (path, expected) in &expected {
            assert_eq!(found.get(path), Some(expected), "{name}: {}", path.display());
        }
        assert_eq!(found.len(), expected.len());
        assert!(image.data_bytes() < plain / 4 * 3, "{} {plain}", image.data_bytes());
        let one = format!("{name}.1");
        let one = image_of(directory.path(), &one, &tree_of(&source), &spec(Some(algorithm)), 1);
        assert!(fs::read(one.path()).unwrap() == fs::read(image.path()).unwrap());
        if algorithm == FileCompression::Lz4 {
            // fsck.erofs of this age knows no other one.
            fsck(&image);
        }
    }
}

#[test]
fn what_cannot_be_stored_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("tree");
    fs::create_dir_all(source.join("d")).unwrap();
    let mut tree = tree_of(&source);
    tree.add_xattr(1, "odd.name", b"");
    let image = Image::at_offset(directory.path(), "raw", 16, 0);
    let error = image
        .draw(16 << 20, 1, |region, work| write(region, &spec(None), &tree, work))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/d cannot be stored") && error.contains("\"odd.name\""),
        "{error}"
    );
}
