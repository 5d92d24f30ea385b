//! Why a command in a sandbox did not succeed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::cancel::Cancelled;
use crate::hint::Hint;

/// How a command ended, if not with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status (1–255).
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// What a program of an image may have missed in a sandbox, for hints.
pub const CONFINED: &str = "if it needs more than the sandbox gives: there is no network, and no right to mount, to use \
                            devices or kernel modules, or to set attributes (chattr); see docs/troubleshooting.md";

/// Why [`super::Sandbox::run`] failed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The helper program could not be started or did not answer.
    #[error("cannot start the sandbox helper {}: {source}", helper.display())]
    Start {
        /// The `oic` executable.
        helper: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The namespaces or mounts could not be made.
    #[error("cannot set up the sandbox on {}: {reason}", root.display())]
    Setup {
        /// The root directory.
        root: PathBuf,
        /// What failed, in words.
        reason: String,
        /// The system's error number (errno(3)), if a system call failed.
        errno: Option<i32>,
    },
    /// The program does not exist inside.
    #[error("cannot run `{command}`: the image has no such program (or not the interpreter it names)")]
    NotFound {
        /// The command line.
        command: String,
    },
    /// The command ended without success.
    #[error("`{command}` ended with {ended}{}", show_tail(tail))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        ended: Ended,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl SandboxError {
    /// Says what to do about it, where something can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Setup { errno, .. } => setup_hint(Errno::from_raw((*errno)?)).map(Hint::from),
            Self::NotFound { command } => {
                let program = command.split(' ').next().unwrap_or(command);
                Some(format!("add the package that contains {program} to systemConfig.packages").into())
            }
            _ => None,
        }
    }
}

/// Says what to do about a setup that failed with `errno`.
fn setup_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EPERM => Some("namespaces and mounts need root; in a container, it must run privileged (CAP_SYS_ADMIN)"),
        Errno::ENOEXEC => Some(
            "programs of another architecture need qemu-user and its binfmt_misc entry: \
             install qemu-user-static and binfmt-support",
        ),
        _ => None,
    }
}

fn show_tail(tail: &[String]) -> String {
    tail.iter().fold(String::new(), |mut text, line| {
        text.push_str("\n    ");
        text.push_str(line);
        text
    })
}
