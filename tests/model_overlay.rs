//! Copy-up under every order of threads that `shuttle` tries.
//!
//! The overlay's own source is compiled here once more, with the locks and atomics of `shuttle` in the place of those
//! of the standard library (`src/sync.rs`). Threads run one at a time and change at every lock and atomic,
//! by chance and by priorities (PCT). A failure prints the schedule that replays it.
//!
//! Its own main: what is compiled in has unit tests, which belong to the library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

/// What `src/sync.rs` has.
#[path = "../src/sync"]
mod sync {
    #[allow(dead_code)] // what only the library uses
    mod recover;

    pub use std::sync::{Arc, OnceLock, Weak};

    pub use recover::{lock, read, write};
    pub use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
}

#[path = "../src"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)] // what only the library uses
mod library {
    pub mod cancel;
    pub mod durable;
    pub mod overlay;
    pub mod package;
    pub mod words;
}

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use library::overlay::layer::{Errno, FileKind};
use library::overlay::tests::differential::Room;
use library::overlay::tests::memory_layer::MemoryLayer;
use library::overlay::tests::target::Direct;
use library::overlay::{Caller, Change, Ino, NewMode, NewNode, Overlay, RenameMode};
use library::{cancel, durable, overlay, package, words};
use libtest_mimic::{Arguments, Trial};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread;
use shuttle::{Config, Runner};
use sync::Arc;

/// How often each scenario runs by chance, and as often by priorities.
const RUNS: usize = 80;
/// How often PCT changes priorities: bugs that need so many changes at the right places are found.
const DEPTH: usize = 3;
/// The stack of a thread, in bytes: system calls need more than shuttle gives.
const STACK_BYTES: usize = 1 << 19;

const CONTENT: &[u8] = b"0123456789";

/// An overlay with a base, shared by threads.
#[derive(Clone)]
struct Shared {
    room: Arc<Room>,
    direct: Arc<Direct>,
}

impl Shared {
    fn new() -> Self {
        let mut base = MemoryLayer::new();
        base.directory("d");
        base.file("d/file", CONTENT);
        base.directory("d/e");
        base.file("d/e/deep", CONTENT);
        base.file("one", CONTENT);
        base.link("one", "two");
        let room = Room::new();
        let direct = room.overlay(vec![Arc::new(base)]);
        Self {
            room: Arc::new(room),
            direct: Arc::new(direct),
        }
    }

    fn overlay(&self) -> &Overlay {
        &self.direct.overlay
    }

    fn find(&self, path: &str) -> Ino {
        self.direct.find(Path::new(path)).unwrap()
    }

    fn exists(&self, path: &str) -> bool {
        self.direct.find(Path::new(path)).is_ok()
    }

    fn content(&self, ino: Ino) -> Vec<u8> {
        self.direct.read_all(ino)
    }

    fn write(&self, ino: Ino, offset: u64, data: &[u8]) {
        assert_eq!(self.overlay().write(ino, offset, data, None).unwrap(), data.len());
    }

    /// Starts a thread; its panic is the test's.
    fn spawn(&self, work: impl FnOnce(&Self) + Send + 'static) -> thread::JoinHandle<()> {
        let shared = self.clone();
        thread::spawn(move || work(&shared))
    }

    /// What must hold when all is done: nothing half-made, and a fresh overlay over the same upper shows the same.
    fn check(self, paths: &[(&str, &[u8])]) {
        for (path, content) in paths {
            assert_eq!(self.content(self.find(path)), *content, "{path}");
        }
        let left_over = std::fs::read_dir(self.room.path("work/oic-tmp")).unwrap();
        let left_over: Vec<_> = left_over.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left_over.iter().all(|name| name == "whiteout"), "{left_over:?}");
    }
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Two write, one reads, one looks: everybody sees a state that was, nothing is lost.
fn writers_of_one_file() {
    let shared = Shared::new();
    let file = shared.find("d/file");
    let threads = [
        shared.spawn(move |shared| shared.write(file, 0, b"A")),
        shared.spawn(move |shared| shared.write(file, 9, b"B")),
        shared.spawn(move |shared| {
            let content = shared.content(file);
            assert_eq!(&content[1..9], &CONTENT[1..9]);
            assert!(matches!(content[0], b'0' | b'A') && matches!(content[9], b'9' | b'B'));
        }),
        shared.spawn(move |shared| {
            let stat = shared.overlay().getattr(file).unwrap();
            assert_eq!((stat.ino, stat.size_bytes, stat.links), (file, 10, 1));
            assert_eq!(shared.find("d/file"), file);
        }),
    ];
    join(threads);
    shared.check(&[("d/file", b"A12345678B")]);
}

/// What is deleted while it is copied up can be used on, and stays deleted.
fn writing_and_deleting() {
    let shared = Shared::new();
    let file = shared.find("d/file");
    let threads = [
        shared.spawn(move |shared| shared.write(file, 3, b"X")),
        shared.spawn(|shared| {
            let directory = shared.find("d");
            shared.overlay().unlink(directory, OsStr::new("file")).unwrap();
        }),
        shared.spawn(move |shared| {
            let change = Change {
                permissions: Some(0o600),
                ..Change::default()
            };
            shared.overlay().setattr(Caller::ROOT, file, &change).unwrap();
        }),
    ];
    join(threads);
    assert!(!shared.exists("d/file"));
    let stat = shared.overlay().getattr(file).unwrap();
    assert_eq!((stat.permissions, stat.links), (0o600, 0));
    assert_eq!(shared.content(file), b"012X456789");
    shared.check(&[]);
}

/// A file and the directory above it move while the file is copied up.
fn writing_and_renaming() {
    let shared = Shared::new();
    let file = shared.find("d/e/deep");
    let rename = |from: &'static str, old: &'static str, to: &'static str, new: &'static str| {
        move |shared: &Shared| {
            let (from, to) = (shared.find(from), shared.find(to));
            let sides = ((from, OsStr::new(old)), (to, OsStr::new(new)));
            let renamed = shared
                .overlay()
                .rename(Caller::ROOT, sides.0, sides.1, RenameMode::Replace);
            renamed.unwrap();
        }
    };
    let threads = [
        shared.spawn(move |shared| shared.write(file, 0, b"Y")),
        shared.spawn(rename("d/e", "deep", "", "moved")),
        shared.spawn(rename("d", "file", "", "file")),
    ];
    join(threads);
    rename("", "d", "", "renamed")(&shared);
    assert_eq!(shared.find("moved"), file);
    assert!(!shared.exists("d") && !shared.exists("renamed/e/deep"));
    shared.check(&[("moved", b"Y123456789"), ("file", CONTENT)]);
}

/// Two names of one file are copied up through both, and one of them is deleted.
fn names_of_one_file() {
    let shared = Shared::new();
    let file = shared.find("one");
    assert_eq!(shared.find("two"), file);
    let threads = [
        shared.spawn(move |shared| shared.write(file, 0, b"1")),
        shared.spawn(move |shared| shared.write(shared.find("two"), 9, b"2")),
        shared.spawn(|shared| shared.overlay().unlink(Ino::ROOT, OsStr::new("one")).unwrap()),
    ];
    join(threads);
    assert!(!shared.exists("one"));
    assert_eq!(shared.overlay().getattr(file).unwrap().links, 1);
    shared.check(&[("two", b"1123456782")]);
}

/// One name is made by one of those who want it, in a directory that has to be copied up first.
fn makers_of_one_name() {
    let shared = Shared::new();
    let directory = shared.find("d/e");
    let mode = NewMode {
        permissions: 0o644,
        umask: 0,
    };
    let make = move |shared: &Shared| {
        let made = shared
            .overlay()
            .create(Caller::ROOT, directory, OsStr::new("new"), NewNode::Regular, mode);
        match made {
            Ok(stat) => shared.write(stat.ino, 0, b"!"),
            Err(error) => assert_eq!(error.errno, Errno::EXIST),
        }
    };
    let deep = shared.find("d/e/deep");
    join([
        shared.spawn(make),
        shared.spawn(make),
        shared.spawn(move |shared| shared.write(deep, 0, b"Z")),
        shared.spawn(move |shared| {
            let mut names = 0;
            let mut count = |entry: overlay::Listed<'_>| {
                assert!(entry.kind == FileKind::Regular);
                names += 1;
                true
            };
            shared.overlay().read_dir(directory, 0, &mut count).unwrap();
            assert!(names == 1 || names == 2, "{names}");
        }),
    ]);
    shared.check(&[("d/e/new", b"!"), ("d/e/deep", b"Z123456789")]);
}

fn run(name: &str, scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    let runs = Runner::new(scheduler, config).run(scenario);
    println!("{name}: {runs} schedules");
}

fn main() -> ExitCode {
    let scenarios: [(&'static str, fn()); 5] = [
        ("writers_of_one_file", writers_of_one_file),
        ("writing_and_deleting", writing_and_deleting),
        ("writing_and_renaming", writing_and_renaming),
        ("names_of_one_file", names_of_one_file),
        ("makers_of_one_name", makers_of_one_name),
    ];
    let trial = |(name, scenario)| {
        Trial::test(name, move || {
            run(name, RandomScheduler::new(RUNS), scenario);
            run(name, PctScheduler::new(DEPTH, RUNS), scenario);
            Ok(())
        })
    };
    let trials = scenarios.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
