//! The protocol of caller and server: JSON, one value a line, over a socket.
//!
//! The server gets one [`ServeRequest`], then [`Command`]s, and answers each with an [`Event`].

use std::io::{self, BufRead, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hint::Hint;
use crate::mount::adapter::{Counts, ServeOptions};
use crate::mount::kernel::Upper;
use crate::path_bytes;

/// The lifetime of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// At most that of the process that started it.
    Caller,
    /// Until it is unmounted.
    Mount,
}

/// The task of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServeRequest<T> {
    /// The layers to open.
    pub layers: T,
    /// The view of them.
    pub shown: Shown,
    /// The options for answering the kernel.
    pub options: ServeOptions,
    /// The server's lifetime.
    pub lifetime: Lifetime,
    /// A file whose exclusive lock the server holds meanwhile; it lives just as long as the mount is in use.
    #[serde(with = "path_bytes::optional")]
    pub lock: Option<PathBuf>,
    /// A directory to remove, with everything in it, when the mount is gone.
    #[serde(with = "path_bytes::optional")]
    pub scratch: Option<PathBuf>,
}

/// The view of its layers that a server shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// The layer with this name alone, read-only.
    Layer(String),
    /// A directory for each, read-only.
    Layers,
    /// All of them as one tree ([`crate::overlay`]).
    Merged(MergeRequest),
}

/// The way in which layers become one tree.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MergeRequest {
    /// The upper for changes; without it the tree is read-only.
    pub upper: Option<Upper>,
    /// Directories (frozen uppers) above the layers, the topmost first.
    pub steps: Vec<Step>,
}

/// A frozen upper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step(#[serde(with = "path_bytes")] pub PathBuf);

/// A message from the caller to a running server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(super) enum Command {
    /// A request to send [`Event::Stats`].
    Stats,
    /// The mount point of the file system, which the server unmounts on SIGTERM.
    Mounted {
        #[serde(with = "path_bytes")]
        mount_point: PathBuf,
        id: u64,
    },
}

/// A message from the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event<S> {
    /// The layers are open, the kernel gets answers.
    Ready {
        /// Their names, the topmost first.
        layers: Vec<String>,
    },
    /// The layers cannot be opened; the server ends.
    Failed { message: String, hint: Option<Hint> },
    /// The confirmation of [`Command::Mounted`].
    Mounted,
    /// The statistics so far.
    Stats { stats: Stats<S> },
}

/// Statistics of a server so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats<S> {
    /// Requests from the kernel.
    pub requests: Counts,
    /// The layers' own statistics ([`super::Opened::stats`]).
    pub layers: S,
}

/// Reads one value; `None` when the other side has closed.
///
/// # Errors
/// Those of reading, or if the line is no such value.
pub(super) fn receive<T: DeserializeOwned>(lines: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if lines.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Sends one value.
///
/// # Errors
/// Those of writing.
pub(super) fn send(mut socket: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    socket.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_another_kind_are_an_error_and_not_zeros() {
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct Old {
            read: u64,
        }
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct New {
            read_bytes: u64,
        }
        let line = serde_json::to_vec(&Stats::<Old>::default()).unwrap();
        assert!(receive::<Stats<Old>>(&mut &line[..]).unwrap().is_some());
        assert!(receive::<Stats<New>>(&mut &line[..]).is_err());
        assert!(receive::<Stats<New>>(&mut &b""[..]).unwrap().is_none());
    }
}
