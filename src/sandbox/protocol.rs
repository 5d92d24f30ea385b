//! The messages between the program and its hidden children, as JSON over a socket: the job goes in, one [`Outcome`]
//! comes out.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;

use serde::{Deserialize, Serialize};

use super::{Command, SandboxSpec};

/// Largest job that a child accepts, in bytes (file contents and input ride along).
const LIMIT_BYTES: u64 = 256 << 20;

/// The job of PID 1.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The sandbox.
    pub(super) spec: SandboxSpec,
    /// The command to run in it.
    pub(super) command: Command,
}

/// The outcome of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// The command ended by itself.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// It is not in the image, or its interpreter is not.
    NotFound,
    /// The sandbox could not be made.
    Setup(Failure),
}

/// Why a sandbox could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The reason in words, with the system's message.
    pub(super) reason: String,
    /// The system's error number (errno(3)), if a system call failed.
    pub(super) errno: Option<i32>,
}

impl Failure {
    /// Builds a failure that no system call caused.
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            errno: None,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Turns an error of the system into the failure "cannot `what`: …".
pub(super) fn cannot<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> Failure {
    move |error| {
        let error = error.into();
        Failure {
            reason: format!("cannot {what}: {error}"),
            errno: error.raw_os_error(),
        }
    }
}

/// Reads the job from the socket that is this process's standard input.
pub(super) fn receive_job() -> Result<Job, Failure> {
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(cannot("read the job"))?;
    let mut bytes = Vec::new();
    File::from(socket)
        .take(LIMIT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(cannot("read the job"))?;
    serde_json::from_slice(&bytes).map_err(cannot("read the job"))
}

/// Writes the outcome into the socket that is this process's standard input.
pub(super) fn report(outcome: &Outcome) {
    let Ok(bytes) = serde_json::to_vec(outcome) else {
        return;
    };
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    // A program that has stopped reading needs no answer.
    let _ = File::from(socket).write_all(&bytes);
}

/// (De)serializes a path as its bytes; serde's own form refuses what is not UTF-8.
pub(super) mod path {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the path as an `OsString`.
    pub(in crate::sandbox) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    /// Reads the path from an `OsString`.
    pub(in crate::sandbox) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}
