//! mke2fs makes file systems, and debugfs (both of e2fsprogs) says what is in them. The kernel judges in
//! `tests/it/system/disk.rs`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::super::area::Area;
use super::super::medium::{Memory, RawFile};
use super::*;
use crate::image::tool::tests::run;
use crate::overlay::layer::{FileKind, Layer, LayerError, NodeId};

/// Makes files of all kinds that need no root.
fn source(at: &Path) {
    fs::create_dir_all(at.join("deep/er")).unwrap();
    fs::write(at.join("small"), "hello\n").unwrap();
    fs::write(at.join("medium"), [b"0123456789".repeat(9), b"end".to_vec()].concat()).unwrap();
    fs::write(at.join("empty"), "").unwrap();
    fs::write(
        at.join("deep/large"),
        (0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>(),
    )
    .unwrap();
    let sparse = File::create(at.join("sparse")).unwrap();
    for piece in 0..40 {
        sparse
            .write_all_at(&[b'a' + piece as u8; 5000], piece * 70_000)
            .unwrap();
    }
    // mke2fs leaves out a hole at the end where it writes into inodes.
    sparse.write_all_at(b"end", (9 << 20) - 3).unwrap();
    std::os::unix::fs::symlink("small", at.join("link")).unwrap();
    std::os::unix::fs::symlink("x/".repeat(200), at.join("long link")).unwrap();
    fs::hard_link(at.join("small"), at.join("deep/er/hard")).unwrap();
    for number in 0..400 {
        fs::write(at.join(format!("deep/er/file with a rather long name {number}")), "").unwrap();
    }
}

/// Makes an image of [`source`] with `options` for mke2fs.
fn image(directory: &Path, options: &[&str], blocks_1k: &str) -> std::path::PathBuf {
    let (tree, path) = (directory.join("tree"), directory.join("image"));
    if !tree.exists() {
        source(&tree);
    }
    let _ = fs::remove_file(&path);
    let (tree, file) = (tree.to_str().unwrap(), path.to_str().unwrap());
    let size = format!("{blocks_1k}k");
    run(
        "e2fsprogs",
        "mke2fs",
        &[&["-q", "-F", "-d", tree][..], options, &[file, &size]].concat(),
    );
    path
}

fn open(path: &Path) -> Result<Ext, DiskError> {
    Ext::open(Area::whole(Arc::new(RawFile::open(path).unwrap())))
}

/// Files by their paths: kind, size and contents.
type Files = BTreeMap<String, (FileKind, u64, Vec<u8>)>;

/// Returns everything below the root.
fn contents(layer: &dyn Layer) -> Result<Files, LayerError> {
    let mut found = BTreeMap::new();
    let mut pending = vec![(String::new(), layer.root())];
    let mut left = 2000;
    while let Some((path, directory)) = pending.pop() {
        let mut names = Vec::new();
        layer.entries(directory, 0, &mut |entry| {
            names.push((entry.name.to_string_lossy().into_owned(), entry.node));
            names.len() < 2000
        })?;
        for (name, node) in names {
            left -= 1;
            if left == 0 {
                return Ok(found);
            }
            let path = format!("{path}/{name}");
            let attributes = layer.attributes(node)?;
            let content = match attributes.kind {
                FileKind::Regular => {
                    let mut content = vec![0; attributes.size_bytes.min(16 << 20) as usize];
                    let read = layer.read_at(node, 0, &mut content)?;
                    assert_eq!(read, content.len());
                    content
                }
                FileKind::Symlink => layer.read_link(node)?,
                _ => Vec::new(),
            };
            for name in layer.xattr_names(node)? {
                layer.xattr(node, &name)?;
            }
            if attributes.kind == FileKind::Directory {
                pending.push((path.clone(), node));
            }
            found.insert(path, (attributes.kind, attributes.size_bytes, content));
        }
    }
    Ok(found)
}

#[test]
fn mke2fs_with_many_feature_sets() {
    let directory = tempfile::tempdir().unwrap();
    let sets: &[&[&str]] = &[
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "2048", "-O", "^metadata_csum"],
        &["-t", "ext4", "-b", "1024", "-O", "^64bit,metadata_csum"],
        &["-t", "ext4", "-b", "1024", "-O", "^extent,^64bit"],
        &["-t", "ext4", "-O", "inline_data,metadata_csum_seed"],
        &["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
        &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "4096"],
        &["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"],
        &["-t", "ext4", "-O", "sparse_super2,large_dir", "-I", "512"],
        &[
            "-t",
            "ext2",
            "-b",
            "1024",
            "-I",
            "128",
            "-O",
            "^filetype,^sparse_super,^resize_inode",
        ],
        &["-t", "ext3", "-b", "4096"],
    ];
    for options in sets {
        let path = image(directory.path(), options, "24576");
        let ext = open(&path).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        let found = contents(&ext).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        let expected = directory.path().join("tree");
        let mut count = 0;
        for (name, (kind, size, content)) in &found {
            let at = expected.join(&name[1..]);
            if name == "/lost+found" {
                continue;
            }
            count += 1;
            match kind {
                FileKind::Regular => assert!(*content == fs::read(&at).unwrap(), "{options:?} {name}"),
                FileKind::Symlink => assert_eq!(content, fs::read_link(&at).unwrap().as_os_str().as_encoded_bytes()),
                _ => assert!(at.is_dir()),
            }
            assert!(*kind == FileKind::Directory || *size == fs::symlink_metadata(&at).unwrap().len());
        }
        assert_eq!(count, 400 + 10, "{options:?}: {:?}", found.keys());
        facts(&path, &ext);
    }
}

/// Compares the facts with what dumpe2fs says.
fn facts(path: &Path, ext: &Ext) {
    let dump = run("e2fsprogs", "dumpe2fs", &["-h", path.to_str().unwrap()]);
    let field = |name: &str| {
        let line = dump.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {dump}")).trim().to_owned()
    };
    let facts = ext.facts();
    assert_eq!(field("Filesystem UUID:"), facts.uuid.to_string());
    assert_eq!(field("Block count:"), facts.blocks.to_string());
    assert_eq!(field("Free blocks:"), facts.free_blocks.to_string());
    assert_eq!(field("Inode count:"), facts.inodes.to_string());
    assert_eq!(field("Free inodes:"), facts.free_inodes.to_string());
    assert_eq!(field("Block size:"), facts.block_bytes.to_string());
    let mut theirs: Vec<_> = field("Filesystem features:")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let mut ours = facts.features;
    theirs.sort();
    ours.sort();
    assert_eq!(theirs, ours);
}

#[test]
fn holes_hard_links_and_listings_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    for options in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"]] {
        let ext = open(&image(directory.path(), options, "24576")).unwrap();
        let find = |path: &str| {
            let found = path
                .split('/')
                .try_fold(ext.root(), |at, name| ext.lookup(at, OsStr::new(name)).unwrap());
            found.unwrap_or_else(|| panic!("{path}"))
        };
        assert_eq!(find("small"), find("deep/er/hard"));
        assert_eq!(ext.attributes(find("small")).unwrap().links, 2);
        assert_eq!(ext.lookup(ext.root(), OsStr::new("absent")).unwrap(), None);
        let sparse = find("sparse");
        let next = ext.next_data(sparse, 10_000).unwrap();
        assert!((65_536..=70_000).contains(&next), "{next}");
        assert!(ext.next_data(sparse, 5 << 20).unwrap() > 8 << 20);
        let mut names = Vec::new();
        let mut after = 0;
        loop {
            let (before, from) = (names.len(), after);
            let each = &mut |entry: crate::overlay::layer::Entry<'_>| {
                names.push(entry.name.to_owned());
                after = entry.cookie;
                names.len() < before + 7
            };
            ext.entries(find("deep/er"), from, each).unwrap();
            if names.len() == before {
                break;
            }
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), all), (401, 401));
        assert_eq!(
            ext.lookup(find("small"), OsStr::new("x"))
                .unwrap_err()
                .errno
                .raw_os_error(),
            libc::ENOTDIR
        );
        assert!(ext.attributes(NodeId(1 << 40)).is_err());
    }
}

#[test]
fn what_is_refused_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), &["-t", "ext4"], "24576");
    let bytes = fs::read(&path).unwrap();
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        Ext::open(Area::whole(Arc::new(Memory::new(bytes))))
    };
    let message = |result: Result<Ext, DiskError>| result.unwrap_err().to_string();
    assert_eq!(
        message(with(1024 + 0x60, 0xc3)),
        "oic does not read a file system of the ext family with compression"
    );
    assert_eq!(
        message(with(1024 + 0x100, 1)),
        "the superblock of ext4 at byte 1024: its checksum is wrong"
    );
    let cut = Ext::open(Area::whole(Arc::new(Memory::new(&bytes[..8 << 20]))));
    assert!(message(cut).contains("cut short"));
    assert!(!Ext::is_at(&Area::whole(Arc::new(Memory::new(vec![0; 4096])))).unwrap());
    // A damaged inode of a file, found by its own checksum.
    let stat = run("e2fsprogs", "debugfs", &["-R", "imap small", path.to_str().unwrap()]);
    let words: Vec<&str> = stat.split_whitespace().collect();
    let number = |name: &str, behind: usize| {
        let at = words.iter().position(|word| *word == name).unwrap();
        let word = words[at + behind].trim_end_matches(',').trim_start_matches("0x");
        usize::from_str_radix(word, if words[at + behind].contains("0x") { 16 } else { 10 }).unwrap()
    };
    let offset = number("at", 2) * ext_block_bytes(&path) + number("offset", 1);
    let ext = with(offset + 4, 0xff).unwrap();
    let node = ext.lookup(ext.root(), OsStr::new("small")).unwrap().unwrap();
    let error = ext.attributes(node).unwrap_err().to_string();
    assert!(
        error.contains(&format!("an inode at byte {offset}: inode {}", node.0)),
        "{error}"
    );
}

fn ext_block_bytes(path: &Path) -> usize {
    open(path).unwrap().facts().block_bytes as usize
}

/// Two small images without checksums, so that damage reaches all code: by extents and inline, and by lists.
fn victims() -> &'static [Vec<u8>; 2] {
    static IMAGES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let sets = [
            ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,inline_data"],
            ["-t", "ext2", "-b", "1024", "-I", "128"],
        ];
        sets.map(|options| {
            let directory = tempfile::tempdir().unwrap();
            fs::read(image(directory.path(), &options, "4096")).unwrap()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No damage makes the reader panic or run without end.
    #[test]
    fn damage_is_an_error_or_other_contents(
        flips in prop::collection::vec((0..600_usize << 10, any::<u8>()), 1..40),
        which in 0..2_usize,
        length in prop::option::of(0..4_usize << 20),
    ) {
        let mut bytes = victims()[which].clone();
        for (at, value) in flips {
            bytes[at] ^= value;
        }
        bytes.truncate(length.unwrap_or(bytes.len()));
        if let Ok(ext) = Ext::open(Area::whole(Arc::new(Memory::new(bytes)))) {
            let _ = contents(&ext);
        }
    }
}
