//! A node of the overlay, in memory while it is referred to.

use std::os::fd::OwnedFd;

use super::ino::Ino;
use super::layer::{Errno, FileKind, NodeId, Timestamp};
use super::listing::Listing;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU32, Mutex, MutexGuard, OnceLock, Ordering, lock};

/// A node of one of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LowerRef {
    /// Position of the layer, 0 for the topmost.
    pub(super) layer: usize,
    pub(super) node: NodeId,
}

/// The value of `links` if no number is remembered; see [`Node::links`].
const NO_LINKS: u32 = u32::MAX;

/// A node. Once it is in the upper it stays there.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ino: Ino,
    pub(super) generation: u64,
    pub(super) kind: FileKind,
    /// The nodes of layers that it comes from: all merged parts of a directory, the topmost first; else at most one.
    pub(super) lowers: Box<[LowerRef]>,
    upper: OnceLock<Upper>,
    /// The lock of the one thread that copies it up.
    flight: Mutex<()>,
    /// The listing of a merged directory, once one was requested.
    listing: Mutex<Option<Box<Listing>>>,
    links: AtomicU32,
    changed: Mutex<Option<Timestamp>>,
    /// Whether its content was read since it is in memory.
    pub(super) is_read: AtomicBool,
}

/// The part of a node in the upper.
#[derive(Debug)]
pub(super) enum Upper {
    Directory(UpperDirectory),
    File(UpperFile),
}

/// A directory of the upper.
#[derive(Debug)]
pub(super) struct UpperDirectory {
    /// The directory, open for reading.
    pub(super) descriptor: Arc<OwnedFd>,
    /// The mark [`super::mark::IMPURE`].
    pub(super) impure: AtomicBool,
    /// The mark [`super::mark::REDIRECT`].
    pub(super) redirect: Mutex<Option<Vec<u8>>>,
    default_acl: AtomicU8,
}

/// Anything else in the upper.
#[derive(Debug, Default)]
pub(super) struct UpperFile {
    /// Whether the index has a name for it, which no user can remove.
    pub(super) is_indexed: bool,
    /// Whether it is a [`super::mark::Note::zero_device`].
    pub(super) is_zero_device: bool,
    /// The inode itself, once its last known name is gone.
    pub(super) pinned: OnceLock<Arc<OwnedFd>>,
    /// The open content of a regular file, while it is being read or written.
    pub(super) io: Mutex<Option<Arc<OwnedFd>>>,
}

/// The state of a directory's default ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultAcl {
    Unknown,
    Absent,
    Present,
}

impl UpperDirectory {
    pub(super) fn new(descriptor: OwnedFd, impure: bool, redirect: Option<Vec<u8>>) -> Self {
        Self {
            descriptor: Arc::new(descriptor),
            impure: AtomicBool::new(impure),
            redirect: Mutex::new(redirect),
            default_acl: AtomicU8::new(DefaultAcl::Unknown as u8),
        }
    }

    pub(super) fn is_impure(&self) -> bool {
        self.impure.load(Ordering::Acquire)
    }

    pub(super) fn default_acl(&self) -> DefaultAcl {
        match self.default_acl.load(Ordering::Acquire) {
            value if value == DefaultAcl::Present as u8 => DefaultAcl::Present,
            value if value == DefaultAcl::Absent as u8 => DefaultAcl::Absent,
            _ => DefaultAcl::Unknown,
        }
    }

    pub(super) fn set_default_acl(&self, state: DefaultAcl) {
        self.default_acl.store(state as u8, Ordering::Release);
    }
}

impl Node {
    pub(super) fn new(ino: Ino, generation: u64, made: NewEntry) -> Self {
        Self {
            ino,
            generation,
            kind: made.kind,
            lowers: made.lowers.into_boxed_slice(),
            upper: made.upper.map_or_else(OnceLock::new, OnceLock::from),
            flight: Mutex::default(),
            listing: Mutex::default(),
            links: AtomicU32::new(made.links.unwrap_or(NO_LINKS)),
            changed: Mutex::new(made.changed),
            is_read: AtomicBool::new(false),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    pub(super) fn upper(&self) -> Option<&Upper> {
        self.upper.get()
    }

    /// Returns its directory in the upper; `None` if it has none.
    pub(super) fn upper_directory(&self) -> Option<&UpperDirectory> {
        match self.upper.get() {
            Some(Upper::Directory(directory)) => Some(directory),
            _ => None,
        }
    }

    /// Returns its file in the upper; `None` if it has none.
    pub(super) fn upper_file(&self) -> Option<&UpperFile> {
        match self.upper.get() {
            Some(Upper::File(file)) => Some(file),
            _ => None,
        }
    }

    /// Records that it is in the upper from now on.
    pub(super) fn set_upper(&self, upper: Upper) -> Result<(), Errno> {
        self.upper.set(upper).map_err(|_| Errno::EXIST)
    }

    /// Returns the number of links to show; `None` if the inode's own is right.
    pub(super) fn links(&self) -> Option<u32> {
        Some(self.links.load(Ordering::Acquire)).filter(|&links| links != NO_LINKS)
    }

    pub(super) fn set_links(&self, links: Option<u32>) {
        self.links.store(links.unwrap_or(NO_LINKS), Ordering::Release);
    }

    /// Returns when its inode was changed, if its layer does not know that.
    pub(super) fn changed(&self) -> Option<Timestamp> {
        *lock(&self.changed)
    }

    pub(super) fn set_changed(&self, time: Timestamp) {
        *lock(&self.changed) = Some(time);
    }

    /// Waits until no other thread copies it up, and keeps others from doing so.
    pub(super) fn fly(&self) -> MutexGuard<'_, ()> {
        lock(&self.flight)
    }

    /// Locks its listing, which may not exist yet.
    pub(super) fn listing(&self) -> MutexGuard<'_, Option<Box<Listing>>> {
        lock(&self.listing)
    }

    /// Returns whether a directory that names it has to be [`super::mark::IMPURE`].
    pub(super) fn needs_impure_parent(&self) -> bool {
        !self.ino.is_of_upper() || self.upper_file().is_some_and(|file| file.is_zero_device)
    }
}

/// The initial state of a new [`Node`].
#[derive(Debug)]
pub(super) struct NewEntry {
    pub(super) kind: FileKind,
    pub(super) lowers: Vec<LowerRef>,
    pub(super) upper: Option<Upper>,
    pub(super) links: Option<u32>,
    /// The time of a change of the inode that its layer does not know.
    pub(super) changed: Option<Timestamp>,
}
