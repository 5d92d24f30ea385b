//! The outer child: enters the namespaces, starts PID 1, waits for it, and kills
//! it when told to or when `oic` is gone.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{MountPropagationFlags, mount_change};

use super::CHILD_COMMAND;
use super::inner::inner;
use super::job::Outcome;

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
        ["inner", parent] => inner(parent).map(report),
        _ => Err("this is an internal command of oic".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            report(Outcome::Setup(reason));
            ExitCode::FAILURE
        }
    }
}

/// Writes the outcome into the socket that is our standard input.
fn report(outcome: Outcome) {
    let Ok(bytes) = serde_json::to_vec(&outcome) else {
        return;
    };
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    // Whoever does not listen any more needs no answer.
    let _ = std::fs::File::from(socket).write_all(&bytes);
}

fn outer(host_network: bool, parent: &str) -> Result<(), String> {
    die_with_parent()?;
    if rustix::process::getppid()
        .map(|pid| pid.as_raw_nonzero().get().to_string())
        .as_deref()
        != Some(parent)
    {
        return Err("the program that asked for the sandbox is gone".to_owned());
    }
    close_inherited_files()?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGCHLD);
    signals
        .thread_block()
        .map_err(|e| format!("cannot block signals: {e}"))?;
    let mut namespaces =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if !host_network {
        namespaces |= CloneFlags::CLONE_NEWNET;
    }
    unshare(namespaces).map_err(|e| format!("cannot make namespaces: {}", e.desc()))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| format!("cannot make the mounts private: {e}"))?;
    let mut child = Command::new("/proc/self/exe")
        .args([CHILD_COMMAND, "inner", &std::process::id().to_string()])
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(|e| format!("cannot start the first process of the sandbox: {e}"))?;
    loop {
        match signals.wait() {
            Ok(Signal::SIGTERM) => child.kill().map_err(|e| format!("cannot kill the sandbox: {e}"))?,
            _ => match child.try_wait() {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(()),
                Err(e) => return Err(format!("cannot wait for the sandbox: {e}")),
            },
        }
    }
}

/// Makes the kernel kill this process when its parent dies.
pub(super) fn die_with_parent() -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| format!("cannot bind the sandbox's life to oic's: {e}"))
}

/// Closes everything but the standard streams: descriptors that `oic`'s caller
/// left open would be a way from the sandbox to the host.
fn close_inherited_files() -> Result<(), String> {
    let fail = |e: std::io::Error| format!("cannot list open files: {e}");
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(fail)? {
        if let Some(number) = entry
            .map_err(fail)?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        {
            numbers.push(number);
        }
    }
    for number in numbers.into_iter().filter(|&number| number > 2) {
        // EBADF is the directory that was just read.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

/// Kills every other process of this PID namespace; only its PID 1 may call this.
pub(super) fn kill_all_others() {
    // ESRCH: nobody is left.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
}
