//! Hostile entries that a package may leave where oic reads or writes a file of the image.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, makedev, mknodat};

use super::*;

/// Files that oic reads in images, in any module.
const READ: &[&str] = &[
    "/etc/hosts",
    "/etc/passwd",
    "/etc/group",
    "/var/lib/apt/extended_states",
    "/etc/initramfs-tools/modules",
    "/usr/lib/modules/6.12/modules.builtin",
    "/var/log/dnf.log",
];

/// Directories that oic lists in images.
const LISTED: &[&str] = &[
    "/boot",
    "/usr/lib/modules",
    "/etc/systemd/network",
    "/etc/kernel/postinst.d",
];

/// Stands for no error: a link that leads nowhere in the image is absence, as for every program of the image.
const ABSENT: &str = "";

/// What is planted, and what the error says of it.
const PLANTED: &[(&str, &str)] = &[
    ("fifo", "is a FIFO, not"),
    ("socket", "is a socket, not"),
    ("char", "is a character device, not"),
    ("block", "is a block device, not"),
    ("directory", "is a directory, not a regular file"),
    ("dangling", ABSENT),
    ("loop", "symbolic links"),
    ("outside", ABSENT),
    ("memory", ABSENT),
    ("link to fifo", "is a FIFO, not"),
];

/// Puts `kind` at `at`; `outside` is a file of the build host.
fn plant(kind: &str, at: &Path, outside: &Path) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    // No driver has this number: opening it would give another error than the one wanted.
    let node = |path: &Path, kind| mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, makedev(240, 77)).unwrap();
    match kind {
        "fifo" => node(at, FileType::Fifo),
        "socket" => node(at, FileType::Socket),
        "char" => node(at, FileType::CharacterDevice),
        "block" => node(at, FileType::BlockDevice),
        "directory" => fs::create_dir(at).unwrap(),
        "dangling" => symlink("nothing", at).unwrap(),
        "loop" => symlink(at.file_name().unwrap(), at).unwrap(),
        "outside" => symlink(outside, at).unwrap(),
        "memory" => symlink("/proc/self/mem", at).unwrap(),
        "link to fifo" => {
            node(&at.with_extension("real"), FileType::Fifo);
            symlink(at.with_extension("real").file_name().unwrap(), at).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// Returns the result of `work`, if that takes less than two seconds.
fn promptly<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    let answer = receiver.recv_timeout(Duration::from_secs(2));
    answer.unwrap_or_else(|_| panic!("{what}: no answer within two seconds"))
}

/// Makes a tree with `kind` at `path`, and a file of the build host beside it.
fn image(kind: &str, path: &str) -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::write(directory.path().join("host"), "host").unwrap();
    plant(
        kind,
        &tree.join(relative(Path::new(path))),
        &directory.path().join("host"),
    );
    let root = Root::open(&tree).unwrap();
    (directory, root)
}

#[test]
fn what_is_no_file_is_refused_where_one_is_read() {
    for path in READ {
        for (kind, says) in PLANTED {
            let (_directory, root) = image(kind, path);
            let read = promptly(&format!("{kind} at {path}"), move || root.read(path));
            if *says == ABSENT {
                assert_eq!(read.unwrap(), None, "{kind} at {path}");
                continue;
            }
            let error = read.unwrap_err().to_string();
            assert!(
                error.contains(path) && error.contains(says),
                "{kind} at {path}: {error}"
            );
        }
    }
}

#[test]
fn what_is_no_directory_is_refused_where_one_is_listed() {
    for path in LISTED {
        for (kind, says) in PLANTED.iter().filter(|(kind, _)| *kind != "directory") {
            let (_directory, root) = image(kind, path);
            let listed = promptly(&format!("{kind} at {path}"), move || root.names(path));
            if *says == ABSENT {
                assert!(listed.unwrap().is_empty(), "{kind} at {path}");
                continue;
            }
            let error = listed.unwrap_err().to_string();
            assert!(
                error.contains(path) && error.contains(says),
                "{kind} at {path}: {error}"
            );
        }
    }
}

#[test]
fn writing_replaces_what_is_planted_and_never_opens_it() {
    for (kind, _) in PLANTED {
        let (directory, root) = image(kind, "/etc/hosts");
        let written = promptly(kind, move || root.write("/etc/hosts", "new", 0o644));
        let at = directory.path().join("tree/etc/hosts");
        match *kind {
            "directory" => assert!(written.unwrap_err().to_string().contains("/etc/hosts")),
            _ => {
                written.unwrap();
                assert!(fs::symlink_metadata(&at).unwrap().is_file(), "{kind}");
                assert_eq!(fs::read(&at).unwrap(), b"new", "{kind}");
            }
        }
        assert_eq!(fs::read(directory.path().join("host")).unwrap(), b"host", "{kind}");
    }
}

#[test]
fn a_mode_is_set_without_opening() {
    let (directory, root) = image("fifo", "/run/lock");
    promptly("fifo", move || root.set_mode("/run/lock", 0o1777)).unwrap();
    let metadata = fs::metadata(directory.path().join("tree/run/lock")).unwrap();
    assert!(metadata.file_type().is_fifo() && metadata.permissions().mode() & 0o7777 == 0o1777);
}

#[test]
fn a_sparse_giant_is_not_taken_into_memory() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("etc")).unwrap();
    let giant = File::create(directory.path().join("etc/passwd")).unwrap();
    giant.set_len(1 << 40).unwrap();
    let root = Root::open(directory.path()).unwrap();
    let error = root.read("/etc/passwd").unwrap_err().to_string();
    assert!(
        error.contains("/etc/passwd") && error.contains("larger than 67108864 bytes"),
        "{error}"
    );
}
