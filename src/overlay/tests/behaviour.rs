//! Promises of the overlay that random operations do not test.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::fs::XattrFlags;

use super::differential::Room;
use super::memory_layer::{MTIME, MemoryLayer};
use super::target::{Direct, Op, Target as _};
use crate::overlay::layer::{Errno, FileKind, Layer, Timestamp};
use crate::overlay::{Caller, Change, Ino, NewMode, NewNode, Overlay, OverlayError, RenameMode, SetTime};

fn base(build: impl FnOnce(&mut MemoryLayer)) -> Vec<Arc<dyn Layer>> {
    let mut layer = MemoryLayer::new();
    build(&mut layer);
    vec![Arc::new(layer)]
}

fn find(direct: &Direct, path: &str) -> Ino {
    direct.find(Path::new(path)).unwrap()
}

fn do_it(direct: &mut Direct, op: Op) {
    direct.apply(&op).unwrap();
}

fn names(direct: &Direct, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    direct
        .overlay
        .read_dir(find(direct, path), 0, &mut |entry| {
            names.push(entry.name.to_str().unwrap().to_owned());
            true
        })
        .unwrap();
    names.sort();
    names
}

#[test]
fn copy_up_keeps_everything_but_what_is_changed() {
    let room = Room::new();
    let mut content = vec![0; 300_000];
    content[100_000..100_010].copy_from_slice(b"0123456789");
    // cap_net_raw=ep, and user:7:r-- in an ACL (linux/capability.h, linux/posix_acl_xattr.h).
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let acl: Vec<u8> = [
        &2_u32.to_le_bytes()[..],
        &[1, 0, 7, 0, 255, 255, 255, 255],
        &[2, 0, 4, 0, 7, 0, 0, 0],
        &[4, 0, 5, 0, 255, 255, 255, 255],
        &[16, 0, 5, 0, 255, 255, 255, 255],
        &[32, 0, 5, 0, 255, 255, 255, 255],
    ]
    .concat();
    let layers = base(|base| {
        base.directory("d").attributes.permissions = 0o1777;
        let file = base.file("d/file", &content);
        file.attributes.permissions = 0o4755;
        (file.attributes.uid, file.attributes.gid) = (5, 6);
        file.xattr("user.note", b"hello")
            .xattr("security.capability", &capability)
            .xattr("system.posix_acl_access", &acl);
    });
    let direct = room.overlay(layers);
    let (directory, file) = (find(&direct, "d"), find(&direct, "d/file"));
    let before = direct.overlay.getattr(file).unwrap();
    let change = Change {
        accessed: Some(SetTime::At(Timestamp {
            seconds: 7,
            nanoseconds: 8,
        })),
        ..Change::default()
    };
    let after = direct.overlay.setattr(Caller::ROOT, file, &change).unwrap();
    assert_eq!((after.accessed.seconds, after.accessed.nanoseconds), (7, 8));
    assert_eq!(
        (after.ino, after.generation, after.kind, after.permissions, after.links),
        (
            before.ino,
            before.generation,
            before.kind,
            before.permissions,
            before.links
        )
    );
    assert_eq!(
        (after.uid, after.gid, after.size_bytes, after.modified),
        (5, 6, 300_000, MTIME)
    );
    assert!(after.blocks * 512 < 20_000, "holes stay holes: {} blocks", after.blocks);
    assert_eq!(direct.read_all(file), content);
    for (name, value) in [
        ("user.note", &b"hello"[..]),
        ("security.capability", &capability),
        ("system.posix_acl_access", &acl),
    ] {
        assert_eq!(
            direct.overlay.xattr(file, OsStr::new(name)).unwrap().unwrap(),
            value,
            "{name}"
        );
    }
    assert_eq!(direct.overlay.xattr_names(file).unwrap().len(), 3);
    let directory = direct.overlay.getattr(directory).unwrap();
    assert_eq!(
        (directory.permissions, directory.modified, directory.links),
        (0o1777, MTIME, 2)
    );
    assert_eq!(direct.overlay.seek(file, 0, false).unwrap(), 98_304);
    assert_eq!(direct.overlay.seek(file, 98_304, true).unwrap(), 102_400);
}

#[test]
fn whoever_reads_sees_what_was_written_after_copy_up() {
    let room = Room::new();
    let direct = room.overlay(base(|base| {
        base.file("file", b"old content");
    }));
    let file = find(&direct, "file");
    assert_eq!(direct.read_all(file), b"old content");
    direct.overlay.write(file, 0, b"new", None).unwrap();
    assert_eq!(direct.read_all(file), b"new content");
    assert_eq!(fs::read(room.path("upper/file")).unwrap(), b"new content");
}

#[test]
fn what_is_cut_off_is_not_read() {
    let room = Room::new();
    let direct = room.overlay(base(|base| {
        // Reading it to the end fails.
        base.file("file", b"short").attributes.size_bytes = 1 << 40;
    }));
    let file = find(&direct, "file");
    let error = direct.overlay.write(file, 0, b"x", None).unwrap_err();
    assert_eq!(error.errno, Errno::IO);
    assert_eq!(fs::read_dir(room.path("upper")).unwrap().count(), 0);
    let change = Change {
        size_bytes: Some(2),
        ..Change::default()
    };
    direct.overlay.setattr(Caller::ROOT, file, &change).unwrap();
    assert_eq!(direct.read_all(file), b"sh");
    assert_eq!(fs::read_dir(room.path("work/oic-tmp")).unwrap().count(), 0);
}

#[test]
fn the_upper_has_the_format_of_the_kernel() {
    let room = Room::new();
    let mut direct = room.overlay(base(|base| {
        base.file("gone", b"x");
        for path in ["remade", "moved", "moved/inner", "other", "other/deep"] {
            base.directory(path);
        }
        base.file("remade/x", b"x");
    }));
    do_it(&mut direct, Op::Unlink("gone".into()));
    do_it(&mut direct, Op::Unlink("remade/x".into()));
    do_it(&mut direct, Op::RemoveDirectory("remade".into()));
    do_it(&mut direct, Op::MakeDirectory("remade".into(), 0o755));
    for (old, new) in [
        ("other/deep", "moved/inner/deep"),
        ("moved/inner", "inner"),
        ("moved", "renamed"),
    ] {
        do_it(&mut direct, Op::Rename(old.into(), new.into(), RenameMode::Replace));
    }
    let upper = |name: &str| room.path("upper").join(name);
    let gone = fs::symlink_metadata(upper("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let value = |path: &str, name: &str| {
        let mut value = [0; 100];
        let length = rustix::fs::lgetxattr(upper(path), name, &mut value[..]).unwrap_or(0);
        String::from_utf8(value[..length].to_vec()).unwrap()
    };
    assert_eq!(value("remade", "trusted.overlay.opaque"), "y");
    assert_eq!(value("renamed", "trusted.overlay.redirect"), "/moved");
    assert_eq!(value("inner", "trusted.overlay.redirect"), "/moved/inner");
    assert_eq!(value("inner/deep", "trusted.overlay.redirect"), "/other/deep");
    assert_eq!(names(&direct, "remade"), [""; 0]);
    assert_eq!(names(&direct, ""), ["inner", "other", "remade", "renamed"]);
}

#[test]
fn users_can_have_the_device_of_whiteouts_and_the_attributes_of_overlays() {
    let room = Room::new();
    let layers = || {
        base(|base| {
            base.directory("d");
        })
    };
    let mut direct = room.overlay(layers());
    do_it(&mut direct, Op::Special("d/zero".into(), FileKind::CharDevice, (0, 0)));
    do_it(&mut direct, Op::Link("d/zero".into(), "zero".into()));
    let name = OsStr::new("trusted.overlay.opaque");
    let set = |direct: &Direct, path: &str| {
        let ino = find(direct, path);
        direct.overlay.set_xattr(ino, name, b"y", XattrFlags::CREATE).unwrap();
    };
    set(&direct, "d");
    set(&direct, "zero");
    drop(direct);
    let direct = room.overlay(layers());
    let (a, b) = (find(&direct, "d/zero"), find(&direct, "zero"));
    assert_eq!(a, b);
    let stat = direct.overlay.getattr(a).unwrap();
    assert_eq!((stat.kind, stat.device, stat.links), (FileKind::CharDevice, (0, 0), 2));
    assert_eq!(direct.overlay.xattr_names(a).unwrap(), [name]);
    assert_eq!(direct.overlay.xattr_names(find(&direct, "d")).unwrap(), [name]);
    assert_eq!(names(&direct, "d"), ["zero"]);
}

#[test]
fn names_of_one_file_stay_one_file() {
    let room = Room::new();
    let layers = || {
        base(|base| {
            base.file("a", b"shared");
            base.link("a", "b");
            base.directory("d");
            base.link("a", "d/c");
        })
    };
    let mut direct = room.overlay(layers());
    do_it(&mut direct, Op::Unlink("a".into()));
    let links = |direct: &Direct, path: &str| direct.overlay.getattr(find(direct, path)).unwrap().links;
    assert_eq!(links(&direct, "b"), 2);
    assert_eq!(
        fs::read_dir(room.path("upper")).unwrap().count(),
        1,
        "nothing but the whiteout"
    );
    do_it(&mut direct, Op::Write("b".into(), 0, b"SHARED".to_vec()));
    let number = find(&direct, "b");
    drop(direct);
    let mut direct = room.overlay(layers());
    assert_eq!((find(&direct, "d/c"), find(&direct, "b")), (number, number));
    assert_eq!(direct.read_all(find(&direct, "d/c")), b"SHARED");
    do_it(&mut direct, Op::Link("d/c".into(), "e".into()));
    assert_eq!(links(&direct, "b"), 3);
    for path in ["b", "d/c"] {
        do_it(&mut direct, Op::Unlink(path.into()));
    }
    assert_eq!(links(&direct, "e"), 1);
    do_it(&mut direct, Op::Unlink("e".into()));
    assert_eq!(direct.overlay.getattr(number).unwrap().links, 0);
    assert_eq!(direct.read_all(number), b"SHARED");
    assert_eq!(fs::read_dir(room.path("work/oic-index")).unwrap().count(), 0);
}

#[test]
fn a_deleted_file_can_be_used_on() {
    let room = Room::new();
    let mut direct = room.overlay(base(|base| {
        base.file("lower", b"content");
    }));
    do_it(&mut direct, Op::Create("upper".into(), 0o600));
    let (lower, upper) = (find(&direct, "lower"), find(&direct, "upper"));
    for path in ["lower", "upper"] {
        do_it(&mut direct, Op::Unlink(path.into()));
    }
    for ino in [lower, upper] {
        assert_eq!(direct.overlay.getattr(ino).unwrap().links, 0);
        direct.overlay.write(ino, 7, b"!", None).unwrap();
        let change = Change {
            permissions: Some(0o611),
            ..Change::default()
        };
        assert_eq!(
            direct.overlay.setattr(Caller::ROOT, ino, &change).unwrap().permissions,
            0o611
        );
        direct
            .overlay
            .set_xattr(ino, OsStr::new("user.a"), b"b", XattrFlags::empty())
            .unwrap();
        assert_eq!(direct.overlay.getattr(ino).unwrap().links, 0);
        let again = direct.overlay.link(ino, Ino::ROOT, OsStr::new("again"));
        assert_eq!(again.unwrap_err().errno, Errno::NOENT);
    }
    assert_eq!(direct.read_all(lower), b"content!");
    assert_eq!(direct.read_all(upper), b"\0\0\0\0\0\0\0!");
}

#[test]
fn a_reader_of_a_directory_can_go_on_whatever_happens_to_it() {
    let room = Room::new();
    let mut direct = room.overlay(base(|base| {
        base.directory("d");
        for number in 0..500 {
            base.file(&format!("d/{number}"), b"");
        }
    }));
    let directory = find(&direct, "d");
    let read = |direct: &Direct, after: u64, count: usize| {
        let mut got = Vec::new();
        direct
            .overlay
            .read_dir(directory, after, &mut |entry| {
                got.push((entry.cookie, entry.name.to_str().unwrap().to_owned()));
                got.len() < count
            })
            .unwrap();
        got
    };
    let mut got = read(&direct, 0, 100);
    do_it(&mut direct, Op::Unlink("d/50".into()));
    do_it(&mut direct, Op::Write("d/70".into(), 0, b"x".to_vec()));
    do_it(
        &mut direct,
        Op::Rename("d/10".into(), "d/renamed".into(), RenameMode::Replace),
    );
    got.extend(read(&direct, got[99].0, 200));
    do_it(&mut direct, Op::Create("d/new".into(), 0o644));
    do_it(&mut direct, Op::Unlink("d/400".into()));
    got.extend(read(&direct, got[299].0, 1000));
    let mut names: Vec<_> = got.into_iter().map(|(_, name)| name).collect();
    names.sort();
    let mut expected: Vec<_> = (0..500).filter(|&n| n != 400).map(|n| n.to_string()).collect();
    expected.extend(["new".to_owned(), "renamed".to_owned()]);
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn names_can_be_long_deep_and_any_bytes() {
    let room = Room::new();
    let direct = room.overlay(base(|_| {}));
    let mode = NewMode {
        permissions: 0o755,
        umask: 0,
    };
    let make = |parent, name: &OsStr, node| direct.overlay.create(Caller::ROOT, parent, name, node, mode);
    let longest = "n".repeat(255);
    let mut at = Ino::ROOT;
    for _ in 0..20 {
        at = make(at, OsStr::new(&longest), NewNode::Directory).unwrap().ino;
    }
    let odd: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff \n\\'");
    let file = make(at, odd, NewNode::Regular).unwrap().ino;
    direct.overlay.write(file, 0, b"deep", None).unwrap();
    let change = Change {
        permissions: Some(0o4711),
        uid: Some(3),
        ..Change::default()
    };
    assert_eq!(
        direct.overlay.setattr(Caller::ROOT, file, &change).unwrap().permissions,
        0o4711
    );
    direct
        .overlay
        .set_xattr(file, OsStr::new("user.a"), b"b", XattrFlags::empty())
        .unwrap();
    direct
        .overlay
        .rename(Caller::ROOT, (at, odd), (Ino::ROOT, odd), RenameMode::Replace)
        .unwrap();
    assert_eq!(direct.overlay.lookup(Ino::ROOT, odd).unwrap().unwrap().ino, file);
    let too_long = make(at, OsStr::new(&"n".repeat(256)), NewNode::Regular);
    assert_eq!(too_long.unwrap_err().errno, Errno::NAMETOOLONG);
}

#[test]
fn many_threads_copy_up_once() {
    let room = Room::new();
    let content = vec![b'-'; 1_000_000];
    let direct = room.overlay(base(|base| {
        base.directory("d");
        base.file("d/file", &content);
    }));
    let file = find(&direct, "d/file");
    thread::scope(|scope| {
        for number in 0..8_u8 {
            let overlay = &direct.overlay;
            scope.spawn(move || {
                overlay
                    .write(file, u64::from(number) * 100_000, &[number], None)
                    .unwrap();
                overlay.lookup(Ino::ROOT, OsStr::new("d")).unwrap();
            });
        }
    });
    let written = direct.read_all(file);
    for (at, byte) in written.iter().enumerate() {
        let expected = if at % 100_000 == 0 && at < 800_000 {
            (at / 100_000) as u8
        } else {
            b'-'
        };
        assert_eq!(*byte, expected, "at {at}");
    }
    assert_eq!(fs::read_dir(room.path("work/oic-tmp")).unwrap().count(), 0);
}

#[test]
fn nobody_stays_in_memory_unasked() {
    let room = Room::new();
    let mut direct = room.overlay(base(|base| {
        base.directory("d");
        base.file("d/file", b"");
    }));
    let overlay = &direct.overlay;
    let directory = overlay.lookup(Ino::ROOT, OsStr::new("d")).unwrap().unwrap().ino;
    let file = overlay.lookup(directory, OsStr::new("file")).unwrap().unwrap().ino;
    overlay.write(file, 0, b"x", None).unwrap();
    overlay.forget(directory, 1);
    assert_eq!(overlay.table.len(), 3);
    overlay.forget(file, 1);
    assert_eq!(overlay.table.len(), 1);
    assert_eq!(overlay.getattr(file).unwrap_err().errno, Errno::STALE);
    do_it(
        &mut direct,
        Op::Rename("d/file".into(), "d/moved".into(), RenameMode::Replace),
    );
    assert_eq!(names(&direct, "d"), ["moved"]);
}

#[test]
fn set_id_bits_go_when_others_write() {
    let room = Room::new();
    let mut direct = room.overlay(base(|_| {}));
    let permissions = |direct: &Direct, file| direct.overlay.getattr(file).unwrap().permissions;
    for (before, after) in [(0o6755, 0o755), (0o2644, 0o2644), (0o4600, 0o600)] {
        do_it(&mut direct, Op::Create("file".into(), before));
        let file = find(&direct, "file");
        direct.overlay.write(file, 0, b"x", None).unwrap();
        assert_eq!(permissions(&direct, file), before, "root may");
        direct
            .overlay
            .write(file, 0, b"x", Some(&Caller { uid: 7, gid: 0 }))
            .unwrap();
        assert_eq!(permissions(&direct, file), after);
        do_it(&mut direct, Op::Unlink("file".into()));
    }
}

#[test]
fn an_upper_is_used_once_at_a_time_and_cleaned_of_leftovers() {
    let room = Room::new();
    fs::create_dir_all(room.path("work/oic-tmp/1/2/3")).unwrap();
    fs::write(room.path("work/oic-tmp/1/2/file"), "").unwrap();
    let first = room.overlay(base(|_| {}));
    assert_eq!(fs::read_dir(room.path("work/oic-tmp")).unwrap().count(), 0);
    let second = Overlay::new(base(|_| {}), Some(&room.upper()));
    assert!(matches!(second, Err(OverlayError::Busy(_))));
    drop(first);
    room.overlay(base(|_| {}));
    let read_only = Overlay::new(base(|_| {}), None).unwrap();
    let mode = NewMode {
        permissions: 0,
        umask: 0,
    };
    let made = read_only.create(Caller::ROOT, Ino::ROOT, OsStr::new("x"), NewNode::Regular, mode);
    assert_eq!(made.unwrap_err().errno, Errno::ROFS);
    assert!(matches!(Overlay::new(Vec::new(), None), Err(OverlayError::Layers(0))));
}
