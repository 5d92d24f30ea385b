//! PID 1 of a sandbox: builds its view of the file system, runs the command,
//! reaps what the command leaves, and answers how it ended.

use std::fs::File;
use std::io::{ErrorKind, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Stdio;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, Mode};
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit};

use super::confine::confined;
use super::lifetime::{die_with_parent, kill_all_others};
use super::protocol::{Failure, Outcome, cannot, receive_job};
use super::tree::Tree;
use super::{Command, STATUS_FD, SandboxSpec, offline};

/// The limit of open files. Programs that close every possible descriptor take minutes with a host's limit of a
/// billion.
const OPEN_FILES: u64 = 1024;
/// Size limit of a core dump, in bytes. With 1 the kernel neither writes one nor starts the
/// program that the host names in `core_pattern`; 0 stops only the file (core(5)).
const CORE_DUMP_BYTES: u64 = 1;

/// Does the job that comes through standard input, as PID 1; returns how its command ended.
pub(super) fn inner(parent: &str) -> Result<Outcome, Failure> {
    die_with_parent(parent)?;
    SigSet::empty().thread_set_mask().map_err(cannot("unblock signals"))?;
    rustix::process::setsid().map_err(cannot("start a session"))?;
    let job = receive_job()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let tree = Tree::enter(&job.spec)?;
    let name = &job.spec.hostname;
    rustix::system::sethostname(name.as_bytes()).map_err(cannot(format_args!("set the host name {name:?}")))?;
    limit_resources()?;
    let outcome = run(&job.spec, &job.command);
    kill_all_others();
    while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
    tree.leave()?;
    outcome
}

fn limit_resources() -> Result<(), Failure> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let files = Rlimit {
        current: Some(maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES))),
        maximum,
    };
    let core = Rlimit {
        current: Some(CORE_DUMP_BYTES),
        maximum: Some(CORE_DUMP_BYTES),
    };
    rustix::process::setrlimit(Resource::Core, core)
        .and_then(|()| rustix::process::setrlimit(Resource::Nofile, files))
        .map_err(cannot("set resource limits"))
}

/// Starts the command, confined, and reaps every process until it ends; returns how it did.
fn run(spec: &SandboxSpec, command: &Command) -> Result<Outcome, Failure> {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Err(Failure::new("the command is empty"));
    };
    let cwd = if command.cwd.as_os_str().is_empty() {
        "/".as_ref()
    } else {
        command.cwd.as_path()
    };
    std::env::set_current_dir(cwd).map_err(cannot(format_args!("enter {}", cwd.display())))?;
    let _status = if command.status { Some(second_output()?) } else { None };
    let stdin = input(&command.stdin).map_err(cannot("prepare the command's input"))?;
    let mut process = std::process::Command::new(program);
    process
        .args(arguments)
        .env_clear()
        .env("PATH", offline::search_path())
        .envs([
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("TERM", "dumb"),
            // There is no service manager: systemctl does what it does in a chroot (systemd, "Known Environment
            // Variables").
            ("SYSTEMD_OFFLINE", "1"),
        ])
        .envs(spec.env.iter().chain(&command.env).map(|(key, value)| (key, value)))
        .stdin(stdin);
    match confined(|| process.spawn())? {
        Ok(child) => reap(child.id()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Outcome::NotFound),
        Err(error) => Err(cannot(format_args!("run {}", program.display()))(error)),
    }
}

/// Reaps every process until `child` ends; returns how it did.
fn reap(child: u32) -> Result<Outcome, Failure> {
    let child = i32::try_from(child)
        .map(Pid::from_raw)
        .map_err(|e| Failure::new(e.to_string()))?;
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => return Ok(Outcome::Exited(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return Ok(Outcome::Signaled(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(cannot("wait for the command")(e)),
        }
    }
}

/// Copies standard output to [`STATUS_FD`], for the command to inherit. Nothing
/// else is open here, and this process has one thread, so the number is the next free one.
fn second_output() -> Result<OwnedFd, Failure> {
    let fail = || cannot("open the status descriptor");
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), STATUS_FD).map_err(fail())?;
    if copy.as_raw_fd() != STATUS_FD {
        return Err(Failure::new("cannot open the status descriptor: its number is taken"));
    }
    rustix::io::fcntl_setfd(&copy, FdFlags::empty()).map_err(fail())?;
    Ok(copy)
}

/// Makes a file in memory with `bytes`: unlike a pipe, no process has to feed it.
fn input(bytes: &[u8]) -> std::io::Result<Stdio> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
