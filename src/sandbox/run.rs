//! The program's side of a sandbox: starts it, forwards output, stops it.

use std::collections::VecDeque;
use std::io::{PipeReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lines::read_lines;
use super::protocol::{Failure, Job, Outcome};
use super::{CHILD_COMMAND, Command, Ended, SandboxError, SandboxSpec};
use crate::cancel::{Cancel, Cancelled};

/// Number of last output lines that an error shows.
const TAIL_LINES: usize = 20;
/// Time between two looks at the cancellation of a silent command.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);
/// Largest answer of a child, in bytes.
const ANSWER_LIMIT_BYTES: u64 = 1 << 20;

/// The result of a successful command, besides its effects.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The last lines of output, at most 20.
    pub tail: Vec<String>,
    /// Time that the command took.
    pub elapsed: Duration,
}

/// Runs commands on one root directory, each in namespaces of its own.
#[derive(Debug, Clone)]
pub struct Sandbox {
    spec: SandboxSpec,
}

impl Sandbox {
    /// Makes a sandbox as `spec` describes; nothing is set up before [`Self::run`].
    pub fn new(spec: SandboxSpec) -> Self {
        Self { spec }
    }

    /// Gives the properties of this sandbox.
    pub fn spec(&self) -> &SandboxSpec {
        &self.spec
    }

    /// Runs `command` to its end. `on_line` gets every line of output as it comes. Standard error is standard output:
    /// the explanation of a failure stands before the line that reports it.
    ///
    /// When `cancel` fires, everything inside is killed within a second.
    ///
    /// # Errors
    /// [`SandboxError`]; a status other than 0 is [`SandboxError::Failed`].
    pub fn run(
        &self,
        command: &Command,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<Output, SandboxError> {
        cancel.check()?;
        let started = Instant::now();
        let (child, control, output) = self.start(command)?;
        let mut child = Guard(child);
        let (tail, cancelled) = forward(&child.0, output, on_line, cancel);
        child.0.wait().map_err(|source| self.cannot_start(source))?;
        if cancelled {
            return Err(Cancelled.into());
        }
        let ended = match self.answer(control)? {
            Outcome::Exited(0) => {
                return Ok(Output {
                    tail,
                    elapsed: started.elapsed(),
                });
            }
            Outcome::Exited(status) => Ended::Status(status),
            Outcome::Signaled(signal) => Ended::Signal(signal),
            Outcome::NotFound => {
                return Err(SandboxError::NotFound {
                    command: command.display(),
                });
            }
            Outcome::Setup(failure) => return Err(self.cannot_set_up(failure)),
        };
        Err(SandboxError::Failed {
            command: command.display(),
            ended,
            tail,
        })
    }

    /// Starts the outer child and hands it the job; returns its answer and the output from inside.
    fn start(&self, command: &Command) -> Result<(Child, UnixStream, PipeReader), SandboxError> {
        let cannot_start = |source| self.cannot_start(source);
        let (mut ours, theirs) = UnixStream::pair().map_err(cannot_start)?;
        let (output, writer) = std::io::pipe().map_err(cannot_start)?;
        let child = std::process::Command::new(&self.spec.helper)
            .args([
                CHILD_COMMAND,
                "outer",
                if self.spec.network { "host-net" } else { "own-net" },
            ])
            .arg(std::process::id().to_string())
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(writer.try_clone().map_err(cannot_start)?)
            .stderr(writer)
            // A Ctrl-C at the terminal is oic's to handle, not the maintainer script's.
            .process_group(0)
            .spawn()
            .map_err(cannot_start)?;
        let job = Job {
            spec: self.spec.clone(),
            command: command.clone(),
        };
        let sent = serde_json::to_vec(&job)
            .map_err(std::io::Error::other)
            .and_then(|bytes| ours.write_all(&bytes))
            .and_then(|()| ours.shutdown(Shutdown::Write));
        // A child that failed before it read the job says why; that is worth more than "broken pipe".
        if let Err(error) = sent {
            tracing::debug!(%error, "the sandbox did not take its job");
        }
        Ok((child, ours, output))
    }

    fn answer(&self, control: UnixStream) -> Result<Outcome, SandboxError> {
        let mut bytes = Vec::new();
        // A child that failed before it took the job resets the connection behind its answer.
        if let Err(error) = control.take(ANSWER_LIMIT_BYTES).read_to_end(&mut bytes) {
            tracing::debug!(%error, "the sandbox closed the connection");
        }
        // The first answer counts: a later failure is only its consequence.
        match serde_json::Deserializer::from_slice(&bytes).into_iter().next() {
            Some(Ok(outcome)) => Ok(outcome),
            _ => {
                let silent = "the helper ended without an answer; was it killed?";
                Err(self.cannot_set_up(Failure::new(silent)))
            }
        }
    }

    fn cannot_start(&self, source: std::io::Error) -> SandboxError {
        SandboxError::Start {
            helper: self.spec.helper.clone(),
            source,
        }
    }

    fn cannot_set_up(&self, failure: Failure) -> SandboxError {
        SandboxError::Setup {
            root: self.spec.root.clone(),
            reason: failure.reason,
            errno: failure.errno,
        }
    }
}

/// Forwards `output` until its end; returns the last lines and whether the run was cancelled.
fn forward(child: &Child, output: PipeReader, on_line: &mut dyn FnMut(&str), cancel: &Cancel) -> (Vec<String>, bool) {
    let (sender, lines) = mpsc::sync_channel::<String>(1024);
    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    let mut cancelled = false;
    std::thread::scope(|scope| {
        // Lines after the end of the receiver are dropped.
        scope.spawn(move || read_lines(output, |line| drop(sender.send(line))));
        loop {
            match lines.recv_timeout(CANCEL_INTERVAL) {
                Ok(line) => {
                    on_line(&line);
                    if tail.len() == TAIL_LINES {
                        tail.pop_front();
                    }
                    tail.push_back(line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if cancel.is_cancelled() && !cancelled {
                cancelled = true;
                stop(child);
            }
        }
    });
    (tail.into(), cancelled)
}

/// Asks the outer child to kill PID 1 and with it the whole sandbox.
fn stop(child: &Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        // It may just have ended: then there is nothing to stop.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
}

/// A guard that ends the sandbox when `run` is left early, by a panic in `on_line` for instance.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            stop(&self.0);
            let _ = self.0.wait();
        }
    }
}
