//! PID 1 of a sandbox: builds its view of the file system, runs the command,
//! reaps what the command leaves, and answers how it ended.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::Stdio;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, Mode};
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;

use super::child::{die_with_parent, kill_all_others};
use super::job::{Job, LIMIT_BYTES, Outcome};
use super::tree::Tree;
use super::{Command, SEARCH_PATH, STATUS_FD, SandboxSpec};

/// What a command may do as root: the set that container engines allow, enough
/// for every maintainer script and without a way to change the host.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);
/// Programs that close every possible descriptor take minutes with a host's limit of a billion.
const OPEN_FILES: u64 = 1024;

pub(super) fn inner(parent: &str) -> Result<Outcome, String> {
    die_with_parent()?;
    if parent_process()?.as_deref() != Some(parent) {
        return Err("the program that asked for the sandbox is gone".to_owned());
    }
    SigSet::empty()
        .thread_set_mask()
        .map_err(|e| format!("cannot unblock signals: {e}"))?;
    rustix::process::setsid().map_err(|e| format!("cannot start a session: {e}"))?;
    let job = read_job()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let tree = Tree::enter(&job.spec)?;
    rustix::system::sethostname(job.spec.hostname.as_bytes())
        .map_err(|e| format!("cannot set the host name {:?}: {e}", job.spec.hostname))?;
    limit_resources()?;
    drop_capabilities()?;
    let outcome = run(&job.spec, &job.command);
    kill_all_others();
    while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
    tree.leave()?;
    outcome
}

/// The parent's process id as the host's `/proc` tells it (proc_pid_stat(5),
/// field 4): from inside the new namespace, getppid(2) always says 0.
fn parent_process() -> Result<Option<String>, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|e| format!("cannot read /proc/self/stat: {e}"))?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    Ok(fields.split_whitespace().nth(1).map(str::to_owned))
}

fn read_job() -> Result<Job, String> {
    let fail = |e: std::io::Error| format!("cannot read the job: {e}");
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
    let mut bytes = Vec::new();
    File::from(socket)
        .take(LIMIT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    serde_json::from_slice(&bytes).map_err(|e| format!("cannot read the job: {e}"))
}

fn limit_resources() -> Result<(), String> {
    let fail = |e: rustix::io::Errno| format!("cannot set resource limits: {e}");
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let open_files = maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).map_err(fail)?;
    let files = Rlimit {
        current: Some(open_files),
        maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, files).map_err(fail)
}

/// Takes everything but [`CAPABILITIES`] from what this process will start; its
/// own capabilities stay, for the clean-up (capabilities(7), "Capability bounding set").
fn drop_capabilities() -> Result<(), String> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if CAPABILITIES.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that the kernel does not know ends the list.
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(format!("cannot drop capabilities: {e}")),
        }
    }
    Ok(())
}

fn run(spec: &SandboxSpec, command: &Command) -> Result<Outcome, String> {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let cwd = if command.cwd.as_os_str().is_empty() {
        "/".as_ref()
    } else {
        command.cwd.as_path()
    };
    std::env::set_current_dir(cwd).map_err(|e| format!("cannot enter {}: {e}", cwd.display()))?;
    let _status = if command.status { Some(second_output()?) } else { None };
    let stdin = input(&command.stdin).map_err(|e| format!("cannot prepare the command's input: {e}"))?;
    let spawned = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([
            ("PATH", SEARCH_PATH),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("TERM", "dumb"),
        ])
        .envs(spec.env.iter().chain(&command.env).map(|(key, value)| (key, value)))
        .stdin(stdin)
        .spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Outcome::NotFound),
        Err(error) => return Err(format!("cannot run {}: {error}", program.display())),
    };
    let child = i32::try_from(child.id())
        .map(Pid::from_raw)
        .map_err(|e| e.to_string())?;
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => return Ok(Outcome::Exited(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return Ok(Outcome::Signaled(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(format!("cannot wait for {}: {e}", program.display())),
        }
    }
}

/// A copy of standard output under [`STATUS_FD`] that the command inherits. Nothing
/// else is open here, and this process has one thread, so the number is the next free one.
fn second_output() -> Result<OwnedFd, String> {
    let fail = |e: rustix::io::Errno| format!("cannot open the status descriptor: {e}");
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), STATUS_FD).map_err(fail)?;
    if copy.as_raw_fd() != STATUS_FD {
        return Err("cannot open the status descriptor: its number is taken".to_owned());
    }
    rustix::io::fcntl_setfd(&copy, FdFlags::empty()).map_err(fail)?;
    Ok(copy)
}

/// A file in memory with `bytes`: unlike a pipe it needs nobody to feed it.
fn input(bytes: &[u8]) -> std::io::Result<Stdio> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
