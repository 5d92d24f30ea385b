//! Signals end each command with exit code 130, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::program::INTERRUPTED_WITHIN;
use crate::support::store::Fixture;
use oic_testkit::{Finished, soon, tool};

/// A store with a package whose verification takes hours: the file is one hole.
fn endless() -> Fixture {
    let fixture = Fixture::new();
    let package = fixture.package("one", 50_000);
    fixture.remember(std::slice::from_ref(&package));
    let file = File::options().write(true).open(fixture.path_of(&package)).unwrap();
    file.set_len(8 << 40).unwrap();
    fixture
}

/// Makes a tarball of one file, whose reading takes hours.
pub fn endless_tarball(directory: &Path) -> PathBuf {
    const SIZE_BYTES: u64 = 1 << 40;
    let path = directory.join("endless.tar");
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(SIZE_BYTES);
    header.set_cksum();
    std::fs::write(&path, header.as_bytes()).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(512 + SIZE_BYTES + 1024).unwrap();
    path
}

/// Starts `command`, and waits until oic reads the endless package or tarball.
pub fn started(mut command: std::process::Command) -> Child {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let reads = || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", child.id()));
        let mut paths = descriptors.into_iter().flatten().flatten().map(|entry| entry.path());
        paths.any(|path| {
            std::fs::read_link(path).is_ok_and(|target| {
                [".deb", ".tar"]
                    .iter()
                    .any(|end| target.to_string_lossy().ends_with(end))
            })
        })
    };
    assert!(soon(reads), "it does not read");
    child
}

pub fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Panics unless `child` ends soon, with exit code 130.
#[track_caller]
pub fn assert_interrupted(child: Child) {
    let begun = Instant::now();
    let finished = Finished::of(&child.wait_with_output().unwrap());
    assert!(begun.elapsed() < INTERRUPTED_WITHIN, "{:?}", begun.elapsed());
    finished.assert_fails(130, &["interrupted"]);
}

#[test]
fn a_verification_ends_with_130_after_each_signal() {
    let fixture = endless();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let child = started(fixture.command(&["cache", "verify"]));
        send(&child, signal);
        assert_interrupted(child);
    }
}

#[test]
fn an_interrupted_look_into_a_tarball_leaves_no_temporary_file() {
    let fixture = Fixture::new();
    let tarball = endless_tarball(fixture.root());
    let temporary = fixture.root().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    for signals in [&[Signal::SIGTERM][..], &[Signal::SIGHUP; 20]] {
        let mut command = fixture.command(&["debug", "snapshot", tarball.to_str().unwrap()]);
        command.env("TMPDIR", &temporary);
        let child = started(command);
        // Before, a signal ends it at once and without a word: there is nothing to clean up.
        assert!(soon(|| std::fs::read_dir(&temporary).unwrap().count() > 0));
        for signal in signals {
            send(&child, *signal);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_interrupted(child);
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    }
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    let fixture = endless();
    let verify = fixture.command(&["cache", "verify"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    // Without what resets the signal.
    let plain = verify
        .get_args()
        .skip_while(|argument| *argument != env!("CARGO_BIN_EXE_oic"));
    command.args(plain).env_clear();
    let mut child = started(command);
    send(&child, Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "as under nohup(1)");
    send(&child, Signal::SIGTERM);
    assert_interrupted(child);
}

/// On a terminal that goes away: a hangup, and from then on each line to standard error fails.
#[test]
fn a_closed_terminal_ends_a_command_with_130() {
    let fixture = endless();
    let verify = fixture.command(&["cache", "verify", "--log-level", "debug"]);
    let script = "import os, pty, sys, time\n\
        pid, master = pty.fork()\n\
        if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n\
        def reads():\n\
        \x20   try: return any(os.readlink(f'/proc/{pid}/fd/{n}').endswith('.deb') for n in os.listdir(f'/proc/{pid}/fd'))\n\
        \x20   except OSError: return False\n\
        deadline = time.time() + 10\n\
        while not reads() and time.time() < deadline: time.sleep(0.01)\n\
        os.close(master)\n\
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
    let mut arguments = vec!["-c".into(), script.into(), verify.get_program().to_owned()];
    arguments.extend(verify.get_args().map(ToOwned::to_owned));
    assert_eq!(tool("python3", &arguments).trim(), "130");
}

/// A command that has nothing to clean up ends at once, also while it waits for the reader of its output.
#[test]
fn a_command_that_waits_for_its_reader_ends_with_130() {
    let fixture = Fixture::new();
    let (reader, writer) = std::io::pipe().unwrap();
    // Nothing fits into it any more.
    let mut full = writer.try_clone().unwrap();
    let flags = nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(&full, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
    while std::io::Write::write(&mut full, &[0; 4096]).is_ok() {}
    nix::fcntl::fcntl(&full, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut command = fixture.command(&["cache", "stats"]);
        let child = command
            .stdout(writer.try_clone().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let waits = || {
            let path = format!("/proc/{}/wchan", child.id());
            std::fs::read_to_string(path).is_ok_and(|place| place.contains("pipe"))
        };
        soon(waits);
        send(&child, signal);
        assert_eq!(
            Finished::of(&child.wait_with_output().unwrap()).code,
            Some(130),
            "{signal}"
        );
    }
    drop(reader);
}
