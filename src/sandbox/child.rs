//! The outer child: enters the namespaces, starts PID 1, waits for it, and kills
//! it when told to or when `oic` is gone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};

use super::CHILD_COMMAND;
use super::inner::inner;
use super::lifetime::die_with_parent;
use super::protocol::{Failure, Outcome, cannot, report};

/// Where the outer child shows its program to PID 1; neither needs the host's `/sys`.
const PROGRAM: &str = "/sys/oic";

/// Runs as a hidden child of a sandbox. `arguments` are those behind
/// [`CHILD_COMMAND`]; `main` must call this before it starts any thread.
pub fn child_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments
        .into_iter()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments.as_slice() {
        ["outer", network, parent] => outer(network == "host-net", parent),
        ["inner", parent] => inner(parent).map(|outcome| report(&outcome)),
        _ => Err(Failure::new("this is an internal command of oic")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&Outcome::Setup(failure));
            ExitCode::FAILURE
        }
    }
}

/// Makes the namespaces, starts PID 1 in them and waits until the kernel has reaped all of it.
fn outer(host_network: bool, parent: &str) -> Result<(), Failure> {
    die_with_parent(parent)?;
    close_inherited_files()?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGCHLD);
    signals.thread_block().map_err(cannot("block signals"))?;
    enter_namespaces(host_network)?;
    protect_program()?;
    let mut child = Command::new(PROGRAM)
        .args([CHILD_COMMAND, "inner", &std::process::id().to_string()])
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(cannot("start the first process of the sandbox"))?;
    loop {
        match signals.wait() {
            Ok(Signal::SIGTERM) => child.kill().map_err(cannot("kill the sandbox"))?,
            _ => {
                if child.try_wait().map_err(cannot("wait for the sandbox"))?.is_some() {
                    return Ok(());
                }
            }
        }
    }
}

/// Leaves the host's namespaces, but for the user namespace and, on request, the network's.
fn enter_namespaces(host_network: bool) -> Result<(), Failure> {
    let mut namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    if !host_network {
        namespaces |= CloneFlags::CLONE_NEWNET;
    }
    unshare(namespaces).map_err(cannot("make namespaces"))?;
    // What the host unmounts meanwhile goes here, too, until the sandbox has a root of its own.
    let slaves = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slaves).map_err(cannot("separate the mounts from the host's"))
}

/// Shows this program, read-only, as [`PROGRAM`]. The image decides what PID 1 executes, so it can
/// make that `/proc/self/exe`; through a writable mount it would then change the host's `oic`
/// (CVE-2019-5736).
fn protect_program() -> Result<(), Failure> {
    let memory = MountFlags::NOSUID | MountFlags::NODEV;
    let fixed = MountFlags::BIND | MountFlags::RDONLY | memory;
    mount("tmpfs", "/sys", "tmpfs", memory, Some(c"mode=0755"))
        .map_err(io::Error::from)
        .and_then(|()| place_program())
        .and_then(|source| Ok(mount_bind(source, PROGRAM)?))
        .and_then(|()| Ok(mount_remount(PROGRAM, fixed, "")?))
        .map_err(cannot("protect the program from the image"))
}

/// Makes [`PROGRAM`] and returns what to bind there: this program's file, or a copy where that has no path any more (an
/// upgrade took its place).
fn place_program() -> io::Result<PathBuf> {
    let running = fs::metadata("/proc/self/exe")?;
    let path = fs::read_link("/proc/self/exe")?;
    let same = |file: fs::Metadata| (file.dev(), file.ino()) == (running.dev(), running.ino());
    if fs::metadata(&path).is_ok_and(same) {
        File::create_new(PROGRAM)?;
        return Ok(path);
    }
    fs::copy("/proc/self/exe", PROGRAM)?;
    Ok(PROGRAM.into())
}

/// Closes everything but the standard streams: descriptors that `oic`'s caller
/// left open would be a way from the sandbox to the host.
fn close_inherited_files() -> Result<(), Failure> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").map_err(cannot("list open files"))? {
        let name = entry.map_err(cannot("list open files"))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for number in numbers.into_iter().filter(|&number| number > 2) {
        // EBADF is the directory that was just read.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}
