//! The process of QEMU: its start, what its console says, its end.

use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::expect::Expect;
use super::{CHILD_COMMAND, EmulatorError};
use crate::cancel::Cancel;
use crate::package::Arch;

/// The exit code that says that the program is not installed, as shells give it.
pub const NOT_FOUND: u8 = 127;
/// The longest time between two looks at what the user wants, in milliseconds.
const PAUSE_MS: u16 = 50;
/// The time that QEMU has to end when it is asked to.
const END_TIME: Duration = Duration::from_millis(1500);
/// Bytes of the console that are read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// How processes of QEMU are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program that knows [`CHILD_COMMAND`].
    pub helper: PathBuf,
    /// QEMU.
    pub program: OsString,
    /// The architecture that it emulates.
    pub arch: Arch,
    /// The directory for what machines write; those files have no names.
    pub temp_dir: PathBuf,
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was switched off, by itself or by the user.
    Off,
    /// Everything that was expected appeared.
    Seen,
    /// It was switched off before this expected text appeared.
    Unseen(String),
    /// The time was over before this expected text appeared.
    Late(String),
}

/// What becomes of the console's output.
pub enum Console<'a> {
    /// QEMU has this process's standard input and output.
    Inherited,
    /// It is searched.
    Searched {
        /// What is expected.
        expect: Expect,
        /// The time that it has.
        limit: Duration,
        /// Where all output goes as well.
        sink: &'a mut dyn Write,
    },
}

/// A process of QEMU, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Launcher {
    /// Prepares a process with `arguments`.
    pub(super) fn command(&self, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.helper);
        command
            .arg(CHILD_COMMAND)
            .arg(std::process::id().to_string())
            .arg(&self.program)
            .args(arguments)
            .env("TMPDIR", &self.temp_dir);
        command
    }

    /// Starts `command`.
    pub(super) fn start(&self, command: &mut Command) -> Result<Process, EmulatorError> {
        let child = command.spawn().map_err(EmulatorError::process("start QEMU"))?;
        Ok(Process(child))
    }

    /// Turns the end of QEMU with `status` into an error, unless it is a success.
    pub(super) fn check(&self, status: ExitStatus) -> Result<(), EmulatorError> {
        let program = || self.program.to_string_lossy().into_owned();
        match status.code() {
            Some(0) => Ok(()),
            Some(code) if code == i32::from(NOT_FOUND) => Err(EmulatorError::NoProgram {
                program: program(),
                arch: self.arch,
            }),
            _ => Err(EmulatorError::Failed {
                program: program(),
                status,
            }),
        }
    }
}

impl Process {
    /// Returns the process's standard streams.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Waits for the end, at most `limit`; `None` if it did not come.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, EmulatorError> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.0.try_wait().map_err(EmulatorError::process("wait for QEMU"))?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            thread::sleep(Duration::from_millis(PAUSE_MS.into()));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // It gives the terminal back as it was.
        let asked = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        if asked.is_ok() && matches!(self.wait(END_TIME), Ok(Some(_))) {
            return;
        }
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            tracing::debug!(%error, "QEMU does not end");
        }
    }
}

/// Runs a machine with `arguments` to its end, or until the expected texts appeared.
///
/// # Errors
/// If QEMU cannot be started or fails, or the user asked to stop; no process is left then either.
pub fn run(
    launcher: &Launcher,
    arguments: &[OsString],
    console: Console<'_>,
    cancel: &Cancel,
) -> Result<Ending, EmulatorError> {
    let mut command = launcher.command(arguments);
    match console {
        Console::Inherited => {
            let mut process = launcher.start(&mut command)?;
            loop {
                cancel.check()?;
                if let Some(status) = process.wait(Duration::from_millis(PAUSE_MS.into()))? {
                    cancel.check()?;
                    return launcher.check(status).map(|()| Ending::Off);
                }
            }
        }
        Console::Searched { expect, limit, sink } => {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            let mut process = launcher.start(&mut command)?;
            let deadline = Instant::now() + limit;
            let ending = search(&mut process, expect, deadline, sink, cancel)?;
            if let Ending::Unseen(_) = &ending {
                let status = process.wait(END_TIME)?;
                cancel.check()?;
                status.map_or(Ok(()), |status| launcher.check(status))?;
            }
            Ok(ending)
        }
    }
}

/// Copies what the console of `process` says to `sink` until `expect` has seen everything.
fn search(
    process: &mut Process,
    mut expect: Expect,
    deadline: Instant,
    sink: &mut dyn Write,
    cancel: &Cancel,
) -> Result<Ending, EmulatorError> {
    let missing = |expect: &Expect| expect.missing().unwrap_or_default().to_owned();
    let Some(mut output) = process.child().stdout.take() else {
        return Ok(Ending::Unseen(missing(&expect)));
    };
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        cancel.check()?;
        if Instant::now() >= deadline {
            return Ok(Ending::Late(missing(&expect)));
        }
        if !is_readable(&output)? {
            continue;
        }
        let count = output
            .read(&mut buffer)
            .map_err(EmulatorError::process("read the console"))?;
        if count == 0 {
            return Ok(Ending::Unseen(missing(&expect)));
        }
        // A reader that went away is no reason to stop.
        let shown = sink.write_all(&buffer[..count]).and_then(|()| sink.flush());
        if let Err(error) = shown {
            tracing::debug!(%error, "the console cannot be shown");
        }
        if expect.feed(&buffer[..count]) {
            return Ok(Ending::Seen);
        }
    }
}

/// Waits a moment for more of `output`; an end counts as readable.
fn is_readable(output: &ChildStdout) -> Result<bool, EmulatorError> {
    let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(PAUSE_MS)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(EmulatorError::process("read the console")(io::Error::from(error))),
    }
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inherited => "Inherited",
            Self::Searched { .. } => "Searched",
        })
    }
}
