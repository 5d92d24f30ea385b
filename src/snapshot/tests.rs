//! Compares the snapshot with tar(1), gzip(1) and its source tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::member_id::MemberId;
use super::*;
use crate::archive::unpack::{UnpackOptions, unpack_tar};
use crate::cancel::Cancel;
use crate::overlay::layer::{Layer, NodeId};
use crate::package::Sha256;

mod damage;
mod foreign;
mod hostile;
mod index;
mod odd;
mod tree;

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// Makes a fixture in memory, where syncing costs nothing, for tests that rewrite files thousands of times.
    fn in_memory() -> Self {
        Self::within(Path::new("/dev/shm"))
    }

    fn within(directory: &Path) -> Self {
        let directory = tempfile::tempdir_in(directory).unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        Self { directory }
    }

    /// Makes a fixture with the tree that has one of everything.
    fn full() -> Self {
        let fixture = Self::new();
        tree::build(&fixture.tree());
        fixture
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tree(&self) -> PathBuf {
        self.at("tree")
    }

    fn paths(&self) -> SnapshotPaths {
        SnapshotPaths {
            tarball: self.at("chrootenv.tar.gz"),
            index: self.at("chrootenv.idx"),
            backing_dir: self.at("chroot"),
        }
    }

    fn options() -> WriteOptions {
        WriteOptions::new(Sha256::of("key"))
    }

    fn write(&self) -> SnapshotSummary {
        let paths = self.paths();
        write(&self.tree(), &paths.tarball, &paths.index, &Self::options()).unwrap()
    }

    fn open(&self) -> Snapshot {
        Snapshot::open(&self.paths()).unwrap()
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; install the package tar, gzip or python3"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A tmpfs, mounted until it is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf, options: &str) -> Self {
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&at));
        Self(at)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

fn find(layer: &dyn Layer, path: &str) -> NodeId {
    path.split('/')
        .filter(|part| !part.is_empty())
        .fold(layer.root(), |node, part| {
            layer.lookup(node, part.as_ref()).unwrap().unwrap()
        })
}

fn assert_same(left: &tree::Description, right: &tree::Description) {
    for (name, described) in left {
        assert_eq!(Some(described), right.get(name), "{}", name.escape_ascii());
    }
    assert_eq!(left.len(), right.len());
}

#[test]
fn layer_equals_the_tree() {
    let fixture = Fixture::full();
    let summary = fixture.write();
    let snapshot = fixture.open();
    let source = tree::on_disk(&fixture.tree());
    assert_same(&source, &tree::in_layer(&snapshot));
    // A second process finds all of it unpacked.
    let again = fixture.open();
    assert_same(&source, &tree::in_layer(&again));
    let (first, second) = (snapshot.stats(), again.stats());
    assert_eq!(first.members_total, summary.members);
    assert_eq!(second.members_inflated, 0);
    assert_eq!(second.members_reused, first.members_inflated);
    assert_eq!(first.content_bytes_total, summary.content_bytes);
    let nonempty = source.iter().filter(|(name, node)| node.holds_content(name));
    assert_eq!(first.files_touched, nonempty.count() as u64);
    assert_eq!(snapshot.base_key(), Sha256::of("key"));
    let root = snapshot.attributes(snapshot.root()).unwrap();
    let directories = fs::read_dir(fixture.tree())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir());
    assert_eq!(root.links as usize, 2 + directories.count());
    let digest = snapshot.digest(find(&snapshot, "etc/sub/passwd")).unwrap();
    assert_eq!(digest, Some(Sha256::of("root:x:0:0\n")));
}

#[test]
fn tar_unpacks_it_to_the_same_tree() {
    let fixture = Fixture::full();
    let summary = fixture.write();
    let tarball = fixture.paths().tarball;
    fs::create_dir(fixture.at("out")).unwrap();
    run(Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpzf"])
        .arg(&tarball)
        .arg("-C")
        .arg(fixture.at("out")));
    assert_same(&tree::on_disk(&fixture.tree()), &tree::on_disk(&fixture.at("out")));
    // And so does oic, from the output of gzip.
    let tar = run(Command::new("gzip").arg("-dc").arg(&tarball));
    assert_eq!(tar.len() as u64, summary.tar_bytes);
    fs::create_dir(fixture.at("own")).unwrap();
    let root = fs::File::open(fixture.at("own")).unwrap();
    unpack_tar(
        &tar[..],
        std::os::fd::AsFd::as_fd(&root),
        &tarball,
        &UnpackOptions::default(),
    )
    .unwrap();
    let mut own = tree::on_disk(&fixture.at("own"));
    // The root is the caller's directory and is left alone.
    own.insert(b"/".to_vec(), tree::on_disk(&fixture.tree())[&b"/"[..]].clone());
    assert_same(&tree::on_disk(&fixture.tree()), &own);
}

#[test]
fn foreign_readers_accept_it() {
    let fixture = Fixture::full();
    fixture.write();
    let tarball = fixture.paths().tarball;
    run(Command::new("gzip").arg("-t").arg(&tarball));
    let listed = run(Command::new("tar")
        .arg("--quoting-style=escape")
        .arg("-tzf")
        .arg(&tarball));
    let listed = String::from_utf8(listed).unwrap();
    let names = tree::on_disk(&fixture.tree()).len();
    assert_eq!(listed.lines().count(), names);
    assert!(listed.lines().any(|line| line == "./etc/passwd"));
    let script = "import sys, tarfile; t = tarfile.open(sys.argv[1]); \
                  print(len(t.getmembers()), t.extractfile('./etc/passwd').read().decode().strip())";
    let python = run(Command::new("python3").arg("-c").arg(script).arg(&tarball));
    assert_eq!(String::from_utf8(python).unwrap().trim(), format!("{names} root:x:0:0"));
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let fixture = Fixture::full();
    let written: Vec<_> = [1, 2, 5]
        .map(|threads| {
            let (tarball, index) = (
                fixture.at(&format!("{threads}.tar.gz")),
                fixture.at(&format!("{threads}.idx")),
            );
            let options = WriteOptions {
                threads,
                ..Fixture::options()
            };
            write(&fixture.tree(), &tarball, &index, &options).unwrap();
            (fs::read(tarball).unwrap(), fs::read(index).unwrap())
        })
        .into();
    assert!(written.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_index_comes_back_from_the_tarball() {
    let fixture = Fixture::full();
    fixture.write();
    let paths = fixture.paths();
    let index = fs::read(&paths.index).unwrap();
    rebuild_index(&paths.tarball, &fixture.at("again.idx")).unwrap();
    assert_eq!(index, fs::read(fixture.at("again.idx")).unwrap());
    // Absent, garbage, or of another snapshot: made again when it is opened.
    fs::remove_file(&paths.index).unwrap();
    fixture.open();
    assert_eq!(index, fs::read(&paths.index).unwrap());
    fs::write(&paths.index, "garbage").unwrap();
    fixture.open();
    assert_eq!(index, fs::read(&paths.index).unwrap());
    fs::write(fixture.tree().join("etc/passwd"), "other\n").unwrap();
    fixture.write();
    let other = fs::read(&paths.index).unwrap();
    fs::write(&paths.index, &index).unwrap();
    let snapshot = fixture.open();
    assert_eq!(other, fs::read(&paths.index).unwrap());
    let mut bytes = [0; 16];
    let count = snapshot.read_at(find(&snapshot, "etc/passwd"), 0, &mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"other\n");
}

#[test]
fn only_what_is_read_is_inflated_and_order_is_kept() {
    let fixture = Fixture::full();
    fixture.write();
    let snapshot = fixture.open();
    let node = find(&snapshot, "big/c");
    let mut byte = [0; 1];
    assert!(!snapshot.is_ready(node, 2 << 20, 1));
    assert_eq!(snapshot.read_at(node, (2 << 20) + 5, &mut byte).unwrap(), 1);
    assert!(snapshot.is_ready(node, 2 << 20, 1 << 20));
    assert!(!snapshot.is_ready(node, (2 << 20) - 1, 2));
    assert_eq!(snapshot.stats().members_inflated, 1);
    assert_eq!(snapshot.stats().bytes_inflated, 1 << 20);
    snapshot.read_at(find(&snapshot, "etc/passwd"), 0, &mut byte).unwrap();
    let order = snapshot.first_use();
    assert_eq!(order.len(), 2);
    assert!(order[0] < order[1], "big before etc");
    assert_eq!(snapshot.saved_first_use(), []);
    snapshot.save_first_use().unwrap();
    assert_eq!(fixture.open().saved_first_use(), order);
    // Reading ahead unpacks without counting as use, and ignores unknown numbers.
    let all: Vec<_> = (0..u32::try_from(snapshot.stats().members_total).unwrap() + 3)
        .map(MemberId)
        .collect();
    snapshot.prefetch(&all, 2, &Cancel::default());
    assert_eq!(snapshot.stats().members_inflated, snapshot.stats().members_total);
    assert_eq!(snapshot.first_use(), order);
    assert!(snapshot.is_ready(node, 0, 3 << 20));
}

/// Waits for a read-ahead thread; returns whether the statistics become the `expected` ones within 5 seconds.
fn settles(snapshot: &Snapshot, expected: impl Fn(&SnapshotStats) -> bool) -> bool {
    (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        expected(&snapshot.stats())
    })
}

#[test]
fn reading_ahead_follows_records_and_readers() {
    let fixture = Fixture::new();
    for number in 0..40 {
        fs::write(
            fixture.tree().join(format!("{number:02}")),
            tree::noise(number, 150_000),
        )
        .unwrap();
    }
    fixture.write();
    // A recorded order is worked off without any reader.
    let snapshot = Arc::new(fixture.open());
    let last: Vec<_> = snapshot.all_members().collect();
    let recorded = vec![last[7], last[3], MemberId(9999)];
    let ahead = ReadAhead::start(&snapshot, recorded);
    assert!(settles(&snapshot, |stats| stats.members_ahead == 2));
    assert!(snapshot.is_ready(find(&*snapshot, "07"), 0, 1000));
    // One read here and there leads to nothing more; two in a row do, within bounds.
    let mut byte = [0; 1];
    for name in ["20", "10"] {
        snapshot.read_at(find(&*snapshot, name), 0, &mut byte).unwrap();
    }
    assert_eq!(snapshot.stats().members_ahead, 2);
    snapshot.read_at(find(&*snapshot, "11"), 0, &mut byte).unwrap();
    assert!(settles(&snapshot, |_| snapshot.is_ready(
        find(&*snapshot, "12"),
        0,
        1000
    )));
    assert!(!snapshot.is_ready(find(&*snapshot, "30"), 0, 1000));
    // Members read ahead do not count as used.
    assert_eq!(snapshot.first_use().len(), 3);
    drop(ahead);
    // The read-ahead thread has ended.
    let before = snapshot.stats().members_ahead;
    for name in ["30", "31"] {
        snapshot.read_at(find(&*snapshot, name), 0, &mut byte).unwrap();
    }
    assert!(!snapshot.is_ready(find(&*snapshot, "33"), 0, 1000));
    assert_eq!(snapshot.stats().members_ahead, before);
}

#[test]
fn the_summary_says_whether_attributes_exist() {
    let fixture = Fixture::new();
    fs::write(fixture.tree().join("a"), "x").unwrap();
    fixture.write();
    let summary = fixture.open().summary();
    assert_eq!((summary.has_xattrs, summary.nodes, summary.size_bytes), (false, 2, 1));
    let path = fixture.tree().join("a");
    rustix::fs::setxattr(&path, "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    fixture.write();
    assert!(fixture.open().summary().has_xattrs);
    rebuild_index(&fixture.paths().tarball, &fixture.paths().index).unwrap();
    assert!(fixture.open().summary().has_xattrs);
}

#[test]
fn concurrent_readers_share_the_work() {
    let fixture = Fixture::full();
    fixture.write();
    let source = Arc::new(tree::on_disk(&fixture.tree()));
    let (one, two) = (fixture.open(), fixture.open());
    std::thread::scope(|scope| {
        for snapshot in [&one, &one, &two, &one] {
            let source = Arc::clone(&source);
            scope.spawn(move || assert_same(&source, &tree::in_layer(snapshot)));
        }
    });
    let (one, two) = (one.stats(), two.stats());
    for stats in [one, two] {
        assert!(stats.members_inflated + stats.members_reused <= stats.members_total);
    }
}

#[test]
fn processes_take_turns_unpacking() {
    let fixture = Fixture::full();
    fixture.write();
    let source = Arc::new(tree::on_disk(&fixture.tree()));
    // Each has files of its own open, as another process would.
    let all: Vec<_> = (0..4).map(|_| fixture.open()).collect();
    std::thread::scope(|scope| {
        for snapshot in &all {
            let source = Arc::clone(&source);
            scope.spawn(move || assert_same(&source, &tree::in_layer(snapshot)));
        }
    });
    let stats: Vec<_> = all.iter().map(Snapshot::stats).collect();
    let inflated: u64 = stats.iter().map(|stats| stats.members_inflated).sum();
    let reused: u64 = stats.iter().map(|stats| stats.members_reused).sum();
    assert!(inflated <= stats[0].members_total, "{stats:?}");
    assert_eq!((inflated + reused) % 4, 0, "{stats:?}");
}

#[test]
fn a_stopped_process_holds_nobody_up() {
    let fixture = Fixture::full();
    fixture.write();
    let (stopped, other) = (fixture.open(), fixture.open());
    let id = MemberId(0);
    let member = stopped.index.member(id).unwrap();
    let claim = stopped.store.claim(id, &member);
    let start = std::time::Instant::now();
    assert_same(&tree::on_disk(&fixture.tree()), &tree::in_layer(&other));
    let waited = start.elapsed().as_secs();
    assert!((4..30).contains(&waited), "{waited} seconds");
    drop(claim);
}

#[test]
fn excludes_and_skips() {
    let fixture = Fixture::full();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.tree().join("etc/socket")).unwrap();
    let paths = fixture.paths();
    let options = WriteOptions {
        exclude: vec!["big".into(), "etc/sub/passwd".into()],
        exclude_contents: vec!["many".into()],
        ..Fixture::options()
    };
    let summary = write(&fixture.tree(), &paths.tarball, &paths.index, &options).unwrap();
    assert_eq!(summary.skipped, [Path::new("etc/socket")]);
    let snapshot = fixture.open();
    let found = tree::in_layer(&snapshot);
    let has = |name: &str| found.contains_key(name.as_bytes());
    assert!(has("/many") && !has("/many/1") && !has("/big") && !has("/etc/sub/passwd") && !has("/etc/socket"));
    assert_eq!(snapshot.attributes(find(&snapshot, "etc/passwd")).unwrap().links, 1);
}

#[test]
fn refuses_a_mount_inside_the_tree() {
    let fixture = Fixture::new();
    let point = fixture.tree().join("proc");
    fs::create_dir(&point).unwrap();
    let _mounted = Tmpfs::mount(point, "size=1m");
    let paths = fixture.paths();
    let error = write(&fixture.tree(), &paths.tarball, &paths.index, &Fixture::options()).unwrap_err();
    assert!(
        error.to_string().contains("\"proc\"") && error.to_string().contains("mounted"),
        "{error}"
    );
    // Nothing is left, under any name.
    assert_eq!(fs::read_dir(fixture.directory.path()).unwrap().count(), 1);
}

#[test]
fn cancelled_writing_leaves_nothing() {
    let fixture = Fixture::full();
    let options = Fixture::options();
    options.cancel.cancel();
    let paths = fixture.paths();
    let error = write(&fixture.tree(), &paths.tarball, &paths.index, &options).unwrap_err();
    assert!(matches!(error, SnapshotError::Cancelled(_)));
    assert_eq!(fs::read_dir(fixture.directory.path()).unwrap().count(), 1);
}

#[test]
fn errno_of_wrong_questions() {
    use crate::overlay::layer::Errno;
    let fixture = Fixture::full();
    fixture.write();
    let snapshot = fixture.open();
    let (root, passwd) = (snapshot.root(), find(&snapshot, "etc/passwd"));
    let mut byte = [0; 1];
    assert_eq!(snapshot.read_at(root, 0, &mut byte).unwrap_err().errno, Errno::ISDIR);
    let link = find(&snapshot, "etc/link");
    assert_eq!(snapshot.read_at(link, 0, &mut byte).unwrap_err().errno, Errno::INVAL);
    assert_eq!(snapshot.lookup(passwd, "x".as_ref()).unwrap_err().errno, Errno::NOTDIR);
    assert_eq!(snapshot.read_link(passwd).unwrap_err().errno, Errno::INVAL);
    assert_eq!(snapshot.attributes(NodeId(1 << 40)).unwrap_err().errno, Errno::STALE);
    assert_eq!(snapshot.lookup(root, "absent".as_ref()).unwrap(), None);
    assert_eq!(snapshot.xattr(passwd, "user.absent".as_ref()).unwrap(), None);
    assert_eq!(snapshot.read_at(passwd, 1 << 40, &mut byte).unwrap(), 0);
    assert_eq!(snapshot.read_at(passwd, u64::MAX, &mut byte).unwrap(), 0);
}

#[test]
fn dump_is_readable() {
    let fixture = Fixture::new();
    let tree = fixture.tree();
    fs::create_dir(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/a"), "x").unwrap();
    std::os::unix::fs::symlink("a", tree.join("etc/b")).unwrap();
    fixture.write();
    let mut out = Vec::new();
    dump::dump(&fixture.paths().index, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix('/')?.split(' ').next())
        .collect();
    assert_eq!(names, ["", "etc", "etc/a", "etc/b"]);
    assert!(text.contains(&format!("sha256 {}", Sha256::of("x"))));
    assert!(text.contains("/etc/b #3 mode 120777 owner 0:0 links 1 size 1"));
}
