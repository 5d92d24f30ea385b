//! Mounts: they make layers visible to other programs.
//!
//! Three parts, each replaceable: a **server** process answers the kernel ([`server`]), for read-only layers
//! (`lower`) or for layers that it merges itself (`cow`), two FUSE adapters on one base (`adapter`); the **caller**
//! makes the mounts, the FUSE one and, for a writable view, the kernel's overlayfs above it ([`session`],
//! [`kernel`]); [`table`] lists the mounts and takes them down again, [`dead`] those whose server was killed. A [`server::Tenant`] decides which layers there
//! are.
//!
//! The server is always another process than the ones that use the mount: a thread that is killed while it waits for
//! FUSE keeps its process from ending, and with it the descriptor whose closing would have ended the wait. The server
//! holds nothing but the `/dev/fuse` descriptor it was given, so if it fails, the mount answers errors and can be
//! unmounted; and the last unmounting ends the server.

mod adapter;
mod api;
mod cow;
pub mod dead;
mod error;
pub mod fuse;
mod helper;
pub mod holders;
pub mod kernel;
mod label;
mod lower;
pub mod memory;
pub mod namespace;
mod pins;
pub mod server;
pub mod session;
pub mod table;
pub mod upper;

pub use adapter::{Counts, ServeOptions};
pub use api::{Attached, Detached};
pub use error::MountError;
pub use label::Label;

/// The part that merges the layers and keeps the changes. Both use the same format of the upper and show the same
/// tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The kernel's overlayfs over a read-only FUSE mount of the layers ([`kernel`]).
    #[default]
    Kernel,
    /// Our own, one FUSE mount ([`cow`]): for kernels without overlayfs, and where a renamed
    /// directory or a hard link of the base must be what it is on other file systems.
    Fuse,
}

/// Restrictions of a mount (mount(8), "filesystem-independent mount options").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restrictions {
    /// Whether nothing can be written through it.
    pub read_only: bool,
    /// Whether set-id bits and file capabilities have no effect.
    pub no_suid: bool,
    /// Whether device nodes cannot be opened.
    pub no_dev: bool,
}

impl Restrictions {
    /// The restrictions of a view: read-only, `nosuid`, `nodev`.
    pub const VIEW: Self = Self {
        read_only: true,
        no_suid: true,
        no_dev: true,
    };
    /// The restrictions of a build, where maintainer scripts run as on a real system: none.
    pub const BUILD: Self = Self {
        read_only: false,
        no_suid: false,
        no_dev: false,
    };
}
