//! Runs one command of the target system in namespaces of its own.
//!
//! Maintainer scripts and user commands are code of the image, run as root.
//! They see the image's root directory, a fresh `/proc` with the processor and the
//! kernel of no machine in particular, a minimal `/dev`, empty `/run`, `/tmp` (unless
//! it is to be the image's own) and `/sys`, no network unless it is asked for, and
//! nothing of the build host. Device nodes of the image can be made and not opened,
//! and a filter refuses the system calls that reach the kernel itself (`docs/security.md`).
//! When the command ends, everything that it started ends too.
//!
//! The program runs itself again as two hidden children (`__sandbox`), because
//! namespaces must be entered by a process with a single thread:
//!
//! ```text
//! oic ──► outer: unshare, waits, kills on SIGTERM ──► inner: PID 1, mounts, reaps ──► the command
//! ```
//!
//! The job, with the command's standard input, goes through a socket: nothing
//! secret is ever on a command line. Invariant: [`Sandbox::run`] returns only
//! after every process in the sandbox is gone.

mod child;
mod confine;
mod constants;
mod error;
mod filter;
mod inner;
mod lifetime;
pub mod lines;
mod offline;
mod protocol;
mod run;
mod script;
mod tree;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use child::child_main;
pub use constants::{BUILD_MACHINE_ID, MACHINE_ID, machine_id};
pub use error::{CONFINED, Ended, SandboxError};
pub use run::{Output, Sandbox};
pub use script::{ScriptFailure, ScriptOutput};

/// First argument that makes the `oic` program a child of a sandbox: `main`
/// hands such a call to [`child_main`] before anything else.
pub const CHILD_COMMAND: &str = "__sandbox";

/// The executable search path inside (Debian Policy 10.1, root's path).
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The properties of a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Path of the `oic` executable.
    #[serde(with = "protocol::path")]
    pub helper: PathBuf,
    /// The directory that becomes `/`; a plain directory or any mount.
    #[serde(with = "protocol::path")]
    pub root: PathBuf,
    /// Host name inside.
    pub hostname: String,
    /// Whether the host's network can be reached; else there is only loopback.
    pub network: bool,
    /// Files and directories of the host that are visible inside, in this order.
    pub binds: Vec<Bind>,
    /// Empty, writable directories in memory, besides `/run`, `/tmp` (see [`Self::keeps_tmp`]) and `/dev/shm`.
    pub scratch: Vec<OsString>,
    /// Whether `/tmp` is the image's own directory, which keeps what a command leaves there for the next one; else it is
    /// empty, and in memory.
    pub keeps_tmp: bool,
    /// Files that exist only inside and only during a run.
    pub files: Vec<SandboxFile>,
    /// Whether uname(1) names the release of the image's newest kernel instead of the host's. A package that brings
    /// uname(1) itself cannot be installed meanwhile.
    pub own_release: bool,
    /// A directory inside that the command makes its root (chroot(2)). What the sandbox mounts on its own system
    /// directories appears there too; the directory must have them.
    pub chroot: Option<OsString>,
    /// The environment besides `PATH`, `HOME`, `LC_ALL`, `TERM` and `SYSTEMD_OFFLINE`; it wins over them.
    pub env: Vec<(OsString, OsString)>,
}

impl SandboxSpec {
    /// Describes a sandbox on `root` without network, binds and files, whose helper is the running program.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            helper: PathBuf::from("/proc/self/exe"),
            root: root.into(),
            hostname: "localhost".to_owned(),
            network: false,
            binds: Vec::new(),
            scratch: Vec::new(),
            keeps_tmp: false,
            files: Vec::new(),
            own_release: false,
            chroot: None,
            env: Vec::new(),
        }
    }
}

/// A file or directory of the host that is visible inside, without what is mounted below it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    /// Its path on the host.
    #[serde(with = "protocol::path")]
    pub source: PathBuf,
    /// Absolute path inside; created for the run if missing, and then removed.
    #[serde(with = "protocol::path")]
    pub target: PathBuf,
    /// Whether writing is refused (set-id bits then have no effect either; device nodes never have).
    pub read_only: bool,
}

/// A file that is mounted inside for the run and never becomes part of the image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxFile {
    /// Absolute path inside; created for the run if missing, and then removed.
    #[serde(with = "protocol::path")]
    pub target: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub contents: Vec<u8>,
}

/// A command line, with what it reads.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; the program is looked up in the image's `PATH`.
    pub argv: Vec<OsString>,
    /// Everything that the command can read from its standard input. Secrets belong here.
    pub stdin: Vec<u8>,
    /// Environment on top of the sandbox's.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside; empty means `/`.
    #[serde(with = "protocol::path")]
    pub cwd: PathBuf,
    /// Whether descriptor [`STATUS_FD`] is a second way to the output, for programs
    /// that keep their status lines from what they start (dpkg closes that descriptor there).
    pub status: bool,
}

/// See [`Command::status`].
pub const STATUS_FD: i32 = 3;

impl Command {
    /// Makes a command without input, in `/`.
    pub fn new<A: Into<OsString>>(argv: impl IntoIterator<Item = A>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Gives the same command with `bytes` as its standard input.
    #[must_use]
    pub fn with_stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Gives the same command with [`Self::status`].
    #[must_use]
    pub fn with_status(mut self) -> Self {
        self.status = true;
        self
    }

    /// Gives the command line for people, shortened when it is long.
    pub fn display(&self) -> String {
        const LIMIT: usize = 160;
        let words: Vec<_> = self.argv.iter().map(|word| word.to_string_lossy()).collect();
        let line = words.join(" ");
        match line.char_indices().nth(LIMIT) {
            Some((end, _)) => format!("{} …", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }
}

// Standard input carries password hashes: it must not reach a log through `{:?}`.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("stdin_bytes", &self.stdin.len())
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}
