//! The process that serves a mount, and the protocol between it and the one that mounts.
//!
//! The program starts itself as `oic __mount TITLE`; the title is for people. Descriptor 0 of that child is the `/dev/fuse` descriptor of a
//! file system, descriptor 1 a socket on which both sides send JSON, one value a line ([`protocol`]). A [`Tenant`]
//! decides which layers there are. The child knows the mount point only in order to unmount it on SIGTERM.
//!
//! How it ends: the file system is unmounted everywhere; SIGTERM or SIGINT; and, with
//! [`Lifetime::Caller`], the caller's end of the socket closes, which also happens when the caller is
//! killed. (`PR_SET_PDEATHSIG` would fire when the calling *thread* ends.)

mod child;
mod client;
mod inquiry;
mod protocol;
mod serving;
mod tenant;

pub use child::child_main;
pub use client::ServerProcess;
pub use inquiry::{ServerId, ask};
pub use protocol::{Lifetime, MergeRequest, ServeRequest, Shown, Stats, Step};
pub use tenant::{OpenFailure, Opened, Tenant};

/// The first argument that makes the program a mount server.
pub const CHILD_COMMAND: &str = "__mount";

/// The name of a server's process. Its program is found as `/proc/self/exe`, which says nothing to ps(1).
const PROCESS_NAME: &str = "oic";
