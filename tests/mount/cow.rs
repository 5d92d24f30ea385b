//! Our own engine, in its server process.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::thread;
use std::time::{Duration, Instant};

use oic::mount::session::{self, MountRequest, View};
use oic::mount::{Engine, MountError};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use oic_testkit::soon;

use crate::support::{Place, Session, layers, request, run};

pub const TESTS: &[(&str, fn())] = &[
    ("cow_keeps_changes_in_the_upper", changes),
    ("cow_volatile_upper_must_be_settled", volatile),
    ("cow_upper_is_used_once_at_a_time", exclusive),
    ("cow_shows_a_frozen_upper_read_only", step),
    ("cow_answers_others_while_a_slow_file_is_copied_up", slow),
    ("cow_ends_when_it_is_unmounted", end),
    ("an_unnamed_file_is_refused_by_our_engine_only", unnamed),
];

pub fn mount(place: &Place, volatile: bool) -> Result<Session, MountError> {
    place.mount_by(Engine::Fuse, volatile)
}

fn changes() {
    let place = Place::new();
    let commands = r#"
        mkdir -p etc opt/lib; echo old > etc/conf; echo gone > etc/removed; echo x > opt/lib/x
        echo two > one; ln one two; chmod 750 .; chown 3:4 .
    "#;
    run(&place.base(), &["sh", "-ec", commands]);
    let session = mount(&place, false).unwrap();
    let root = fs::metadata(place.mnt()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o750, 3, 4));
    let commands = r#"
        echo new > etc/conf; rm etc/removed; rm -r opt/lib; mkdir opt/lib; echo y > opt/lib/y
        echo three > one; mv etc renamed; sync .
    "#;
    run(&place.mnt(), &["sh", "-ec", commands]);
    let check = || {
        assert_eq!(
            run(&place.mnt(), &["ls", ".", "opt/lib"]),
            ".:\none\nopt\nrenamed\ntwo\n\nopt/lib:\ny\n"
        );
        assert_eq!(run(&place.mnt(), &["cat", "renamed/conf", "two"]), "new\nthree\n");
        assert_eq!(run(&place.mnt(), &["stat", "-c", "%h", "two"]), "2\n");
    };
    check();
    session.close().unwrap();
    let session = mount(&place, false).unwrap();
    check();
    session.close().unwrap();
    assert_eq!(fs::read_to_string(place.base().join("etc/conf")).unwrap(), "old\n");
    assert_eq!(fs::read_to_string(place.base().join("one")).unwrap(), "two\n");
}

fn volatile() {
    let place = Place::new();
    let session = mount(&place, true).unwrap();
    let file = File::create(place.mnt().join("file")).unwrap();
    file.sync_all().unwrap();
    drop(file);
    session.close().unwrap();
    let refused = mount(&place, true).unwrap_err();
    assert!(refused.to_string().contains("not closed properly"), "{refused}");
    assert!(refused.hint().is_some());
    place.upper(true).settle().unwrap();
    let session = mount(&place, false).unwrap();
    assert!(place.mnt().join("file").exists());
    session.close().unwrap();
}

fn exclusive() {
    let place = Place::new();
    let session = mount(&place, false).unwrap();
    let refused = mount(&place, false).unwrap_err();
    assert!(refused.to_string().contains("in use"), "{refused}");
    session.close().unwrap();
    mount(&place, false).unwrap().close().unwrap();
}

fn step() {
    let place = Place::new();
    run(
        &place.base(),
        &[
            "sh",
            "-ec",
            "mkdir d e; echo base > d/file; echo gone > e/gone; echo a > a",
        ],
    );
    let session = mount(&place, false).unwrap();
    run(
        &place.mnt(),
        &["sh", "-ec", "echo step > d/new; rm -r e; mkdir e; mv d f; rm a"],
    );
    let shown = || run(&place.mnt(), &["find", ".", "-mindepth", "1", "-printf", "%P %M %s\n"]);
    let before = shown();
    session.close().unwrap();
    let view = View::Overlay {
        upper: None,
        steps: vec![place.path("upper")],
    };
    let frozen = MountRequest {
        engine: Engine::Fuse,
        ..request(layers(place.base()), view)
    };
    let session = session::mount(&frozen, &place.mnt()).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&shown()), sorted(&before));
    assert_eq!(run(&place.mnt(), &["cat", "f/file", "f/new"]), "base\nstep\n");
    let refused = fs::write(place.mnt().join("x"), "").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    session.close().unwrap();
}

fn slow() {
    let place = Place::new();
    fs::write(place.base().join("slow"), "slow content").unwrap();
    fs::write(place.base().join("other"), "other").unwrap();
    let session = mount(&place, false).unwrap();
    let path = place.mnt();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|number| {
                let file = File::options().write(true).open(path.join("slow")).unwrap();
                scope.spawn(move || file.write_all_at(b"S", number).unwrap())
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        let start = Instant::now();
        assert_eq!(fs::read(path.join("other")).unwrap(), b"other");
        fs::write(path.join("new"), "new").unwrap();
        let waited = start.elapsed();
        let is_copied = writers.iter().all(thread::ScopedJoinHandle::is_finished);
        assert!(!is_copied, "the slow file was not slow; {waited:?}");
    });
    assert_eq!(fs::read(path.join("slow")).unwrap(), b"SSSw content");
    session.close().unwrap();
}

fn end() {
    let place = Place::new();
    let session = mount(&place, false).unwrap();
    let pid = session.server_pid().unwrap();
    fs::write(place.mnt().join("file"), "").unwrap();
    session.close().unwrap();
    assert!(soon(|| !crate::support::is_alive(pid)));
    assert!(!place.mnt().join("file").exists());
    assert!(place.path("upper/file").exists());
}

fn unnamed() {
    for (engine, expected) in [(Engine::Fuse, Err(Errno::OPNOTSUPP)), (Engine::Kernel, Ok(()))] {
        let place = Place::new();
        let session = place.mount_by(engine, false).unwrap();
        let opened = open(place.mnt(), OFlags::RDWR | OFlags::TMPFILE, Mode::RUSR);
        assert_eq!(opened.map(drop), expected, "{engine:?}");
        session.close().unwrap();
    }
}
