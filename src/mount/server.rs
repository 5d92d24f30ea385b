//! The process that serves a mount, and the protocol between it and the one that mounts.
//!
//! The program starts itself as `{program} __mount`. Descriptor 0 of that child is the
//! `/dev/fuse` descriptor of a file system, descriptor 1 a socket on which both sides send
//! JSON, one value a line: the child gets one [`ServeRequest`], then [`Command`]s, and sends
//! [`Event`]s. The child does not know or care where the file system is mounted, except
//! for being able to unmount it on SIGTERM.
//!
//! How it ends: the file system is unmounted everywhere; SIGTERM or SIGINT; and, with
//! [`Lifetime::Caller`], the caller's end of the socket closes, which also happens when the caller is
//! killed. (`PR_SET_PDEATHSIG` would fire when the calling *thread* ends.)

mod child;
mod client;
mod inquiry;
mod layers;
mod serving;

pub use child::child_main;
pub use client::Server;
pub use inquiry::ask;
pub use layers::{
    LayerRequest, OpenFailure, OpenedLayers, PoolPackage, PoolRequest, Prefetch, SnapshotRequest, optional_path_bytes,
    path_bytes,
};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::kernel::Upper;
use super::lower::{Counts, LowerOptions};

/// The first argument that makes the program a mount server.
pub const CHILD_COMMAND: &str = "__mount";

/// How long a server may take to end after its mount is gone, in milliseconds.
const END_MILLISECONDS: u64 = 2000;

/// How long a server lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// Not longer than the process that started it.
    Caller,
    /// Until it is unmounted.
    Mount,
}

/// What a server is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServeRequest {
    /// The layers to open.
    pub layers: LayerRequest,
    /// How to serve them.
    pub options: LowerOptions,
    /// Merge the layers; otherwise each is shown for itself.
    pub merged: Option<MergeRequest>,
    /// How long.
    pub lifetime: Lifetime,
    /// A file to hold the exclusive lock of meanwhile; the server lives just as long as what it
    /// serves is in use.
    #[serde(with = "optional_path_bytes")]
    pub lock: Option<PathBuf>,
    /// A directory to remove, with everything in it, when the mount is gone.
    #[serde(with = "optional_path_bytes")]
    pub scratch: Option<PathBuf>,
}

/// The layers as one tree ([`crate::overlay`]).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MergeRequest {
    /// Where changes go; without it the tree is read-only.
    pub upper: Option<Upper>,
    /// Directories (frozen uppers) above the layers, the topmost first.
    pub steps: Vec<Step>,
}

/// A frozen upper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step(#[serde(with = "path_bytes")] pub PathBuf);

/// What the caller tells the server later.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(super) enum Command {
    /// Send [`Event::Stats`].
    Stats,
    /// The file system is visible here; unmount it on SIGTERM.
    Mounted {
        #[serde(with = "path_bytes")]
        mount_point: PathBuf,
        id: u64,
    },
}

/// What the server tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event {
    /// The layers are open, the kernel gets answers.
    Ready {
        /// Their names, the topmost first.
        layers: Vec<String>,
    },
    /// They are not; the server ends.
    Failed { message: String, hint: Option<String> },
    /// [`Command::Mounted`] is understood.
    Mounted,
    /// See [`Stats`].
    Stats { stats: Stats },
}

/// What a server has done so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests from the kernel.
    pub requests: Counts,
    /// What the layers say of themselves ([`OpenedLayers::stats`]).
    pub layers: serde_json::Value,
}
