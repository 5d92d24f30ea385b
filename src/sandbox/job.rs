//! What the program and its hidden children say to each other, as JSON over a socket.

use serde::{Deserialize, Serialize};

use super::{Command, SandboxSpec};

/// Largest job that a child accepts, in bytes (file contents and input ride along).
pub(super) const LIMIT_BYTES: u64 = 256 << 20;

/// What PID 1 has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) spec: SandboxSpec,
    pub(super) command: Command,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// The command ended by itself.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// It is not in the image, or its interpreter is not.
    NotFound,
    /// The sandbox could not be made.
    Setup(String),
}

/// (De)serializes a path as its bytes; serde's own form refuses what is not UTF-8.
pub(super) mod path {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::sandbox) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    pub(in crate::sandbox) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}
