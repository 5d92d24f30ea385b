//! Random operations on the overlay and on a plain directory must have the same outcomes and
//! leave the same tree; so must a second overlay, and the kernel's, over the same upper.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::memory_layer::MemoryLayer;
use super::target::{Direct, Op, Plain, Target};
use crate::overlay::layer::{FileKind, Layer};
use crate::overlay::{Overlay, RenameMode, UpperDirs};

/// Returns the layers that every test starts from.
pub(crate) fn layers() -> Vec<Arc<dyn Layer>> {
    let mut top = MemoryLayer::new();
    top.directory("a");
    top.file("a/c", b"from the top");
    top.device("a/b", FileKind::CharDevice, (0, 0));
    top.directory("b").xattr("trusted.overlay.opaque", b"y");
    top.file("b/a", b"alone");
    let mut base = MemoryLayer::new();
    base.directory("a").attributes.permissions = 0o2775;
    base.file("a/a", b"content of a/a");
    base.file("a/b", b"hidden by a whiteout");
    base.directory("a/d");
    base.file("a/d/a", &[7; 10_000]);
    base.directory("a/d/b");
    base.directory("b");
    base.file("b/b", b"hidden by an opaque directory");
    base.directory("c").xattr("user.colour", b"red");
    base.file("c/a", b"two names");
    base.link("c/a", "c/b");
    base.link("c/a", "d");
    base.symlink("c/c", "x/nowhere");
    base.device("c/d", FileKind::Fifo, (0, 0));
    vec![Arc::new(top), Arc::new(base)]
}

/// Directories for one overlay, and a plain one.
pub(crate) struct Room {
    directory: tempfile::TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["upper", "work", "plain", "mount"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn upper(&self) -> UpperDirs {
        UpperDirs {
            directory: self.path("upper"),
            work: self.path("work"),
        }
    }

    pub(crate) fn overlay(&self, layers: Vec<Arc<dyn Layer>>) -> Direct {
        Direct::new(Overlay::new(layers, Some(&self.upper())).unwrap())
    }
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = || prop_oneof!["a", "b", "c", "d"];
    prop_oneof![
        name().prop_map(PathBuf::from),
        (name(), name()).prop_map(|(a, b)| Path::new(&a).join(b)),
        (name(), name(), name()).prop_map(|(a, b, c)| Path::new(&a).join(b).join(c)),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let bits = || prop_oneof![Just(0o644_u32), Just(0o755), Just(0o4711), Just(0o2750), Just(0o1777)];
    let data = || vec(any::<u8>(), 0..50);
    let offset = || prop_oneof![0..100_u64, 4000..9000_u64];
    let how = prop_oneof![
        5 => Just(RenameMode::Replace),
        1 => Just(RenameMode::NoReplace),
        2 => Just(RenameMode::Exchange),
        1 => Just(RenameMode::Whiteout),
        1 => Just(RenameMode::NoReplaceWhiteout),
    ];
    let kind = prop_oneof![
        Just((FileKind::CharDevice, (0, 0))),
        Just((FileKind::CharDevice, (1, 3))),
        Just((FileKind::BlockDevice, (7, 300))),
        Just((FileKind::Fifo, (0, 0))),
        Just((FileKind::Socket, (0, 0))),
    ];
    let attribute = || prop_oneof!["trusted\\.[xy]", Just("trusted.overlay.opaque".to_owned())];
    prop_oneof![
        4 => (path(), bits()).prop_map(|(path, bits)| Op::Create(path, bits)),
        4 => (path(), bits()).prop_map(|(path, bits)| Op::MakeDirectory(path, bits)),
        1 => (path(), "x[a-z/]{0,20}").prop_map(|(path, target)| Op::Symlink(path, target.into())),
        1 => (path(), kind).prop_map(|(path, (kind, device))| Op::Special(path, kind, device)),
        4 => (path(), path()).prop_map(|(old, new)| Op::Link(old, new)),
        4 => path().prop_map(Op::Unlink),
        3 => path().prop_map(Op::RemoveDirectory),
        10 => (path(), path(), how).prop_map(|(old, new, how)| Op::Rename(old, new, how)),
        4 => (path(), offset(), data()).prop_map(|(path, offset, data)| Op::Write(path, offset, data)),
        2 => (path(), offset()).prop_map(|(path, size)| Op::Truncate(path, size)),
        2 => (path(), bits()).prop_map(|(path, bits)| Op::Permissions(path, bits)),
        1 => (path(), 0..3_u32, 0..3_u32).prop_map(|(path, uid, gid)| Op::Owner(path, uid, gid)),
        1 => (path(), attribute(), data())
            .prop_map(|(path, name, value)| Op::SetXattr(path, OsString::from(name), value)),
        1 => (path(), attribute()).prop_map(|(path, name)| Op::RemoveXattr(path, OsString::from(name))),
        2 => path().prop_map(Op::Hold),
        2 => (any::<usize>(), offset(), data()).prop_map(|(index, offset, data)| Op::WriteHeld(index, offset, data)),
        1 => any::<usize>().prop_map(Op::ReadHeld),
    ]
}

/// Applies `ops` to both and compares the outcomes, then the trees; returns the plain directory's tree.
pub(crate) fn run(
    room: &Room,
    ops: &[Op],
    target: &mut dyn Target,
    is_mounted: bool,
) -> Result<super::target::View, TestCaseError> {
    let mut plain = Plain::new(&room.path("plain"));
    plain.populate(&target.view());
    for op in ops {
        let (expected, actual) = (plain.apply(op), target.apply(op));
        // Without a kernel above it, the overlay may see several errors in another order.
        if is_mounted || expected.is_ok() || actual.is_ok() {
            prop_assert_eq!(&expected, &actual, "{:?}", op);
        }
    }
    let expected = plain.view();
    assert_same(&expected, &target.view())?;
    Ok(expected)
}

pub(crate) fn assert_same(expected: &super::target::View, actual: &super::target::View) -> Result<(), TestCaseError> {
    for (path, seen) in expected {
        prop_assert_eq!(Some(seen), actual.get(path), "{}", path.display());
    }
    for path in actual.keys() {
        prop_assert!(expected.contains_key(path), "{} is too much", path.display());
    }
    Ok(())
}

/// Returns a runner of `cases` cases, or of `PROPTEST_CASES` if that is set.
pub(crate) fn runner(cases: u32) -> TestRunner {
    const DEFAULT_CASES: u32 = 256;
    let given = Config::default();
    TestRunner::new(Config {
        cases: if given.cases == DEFAULT_CASES {
            cases
        } else {
            given.cases
        },
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..given
    })
}

#[test]
fn random_operations_have_the_outcomes_of_a_plain_directory() {
    let checked = runner(80).run(&vec(op(), 1..60), |ops| {
        let room = Room::new();
        let mut target = room.overlay(layers());
        let expected = run(&room, &ops, &mut target, false)?;
        let numbers = target.numbers();
        drop(target);
        // The same upper again.
        let target = room.overlay(layers());
        assert_same(&expected, &target.view())?;
        prop_assert_eq!(numbers, target.numbers());
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
