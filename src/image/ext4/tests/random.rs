//! Random trees.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::Kind;
use super::support::{Image, Mounted, listing, spec, tree_of};

/// A change at a path; one that is not possible is skipped.
#[derive(Debug, Clone)]
enum Step {
    Directory,
    File {
        size: usize,
        fill: u8,
        mode: u32,
        owner: u32,
    },
    Link(Vec<u8>),
    HardLink(usize),
    Xattr {
        name: String,
        value: Vec<u8>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0..10_000_usize, Just(4096), 0..400_000_usize];
    prop_oneof![
        3 => Just(Step::Directory),
        4 => (size, any::<u8>(), 0..0o7777_u32, any::<u32>())
            .prop_map(|(size, fill, mode, owner)| Step::File { size, fill, mode, owner: owner % 0xffff_fff0 }),
        1 => proptest::collection::vec(1..=255_u8, 1..200).prop_map(Step::Link),
        1 => any::<usize>().prop_map(Step::HardLink),
        1 => ("user\\.[a-z]{1,30}", proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(name, value)| Step::Xattr { name, value }),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no slash, no NUL", |byte| !matches!(byte, b'/' | 0));
    proptest::collection::vec(byte, 1..60).prop_filter("no dots", |name| name != b"." && name != b"..")
}

fn apply(root: &Path, steps: &[(usize, Vec<u8>, Step)]) {
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    for (parent, name, step) in steps {
        let at = directories[parent % directories.len()].join(std::ffi::OsStr::from_bytes(name));
        match step {
            Step::Directory if fs::create_dir(&at).is_ok() => directories.push(at),
            Step::File {
                size,
                fill,
                mode,
                owner,
            } if !at.exists() => {
                let bytes: Vec<u8> = (0..*size).map(|i| fill.wrapping_add((i >> 5) as u8)).collect();
                fs::write(&at, bytes).unwrap();
                chown(&at, Some(*owner), Some(owner ^ 1)).unwrap();
                fs::set_permissions(&at, fs::Permissions::from_mode(*mode)).unwrap();
                files.push(at);
            }
            Step::Link(target) => drop(symlink(std::ffi::OsStr::from_bytes(target), &at)),
            Step::HardLink(which) if !files.is_empty() => drop(fs::hard_link(&files[which % files.len()], &at)),
            Step::Xattr { name, value } if !files.is_empty() => {
                let file = &files[parent % files.len()];
                let _ = rustix::fs::setxattr(file, name, value, rustix::fs::XattrFlags::empty());
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_arrives(steps in proptest::collection::vec((any::<usize>(), name(), step()), 0..400), which in 0..3_usize) {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("tree");
        fs::create_dir(&source).unwrap();
        apply(&source, &steps);
        let (kind, name) = [(Kind::Ext4, "ext4"), (Kind::Ext3, "ext3"), (Kind::Ext2, "ext2")][which];
        let image = Image::new(directory.path(), "raw", 100);
        image.write(&spec(kind, 100), &tree_of(&source), 2).unwrap();
        image.check();
        let mounted = Mounted::new(&image, name);
        prop_assert_eq!(listing(mounted.path()), listing(&source));
    }
}
