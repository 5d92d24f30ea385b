//! A node of the overlay, in memory while somebody refers to it.

use std::os::fd::OwnedFd;

use super::ino::Ino;
use super::layer::{Errno, FileKind, NodeId};
use super::listing::Listing;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU32, Mutex, MutexGuard, OnceLock, Ordering, PoisonError};

/// A node of one of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LowerRef {
    /// Position of the layer, 0 for the topmost.
    pub(super) layer: usize,
    pub(super) node: NodeId,
}

/// No number of links is remembered; see [`Node::links`].
const NO_LINKS: u32 = u32::MAX;

/// A node. Once it is in the upper it stays there.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ino: Ino,
    pub(super) generation: u64,
    pub(super) kind: FileKind,
    /// Where it comes from: of a directory all that are merged, the topmost first; else at most one.
    pub(super) lowers: Box<[LowerRef]>,
    upper: OnceLock<Upper>,
    /// Held by the one thread that copies it up.
    flight: Mutex<()>,
    /// What a merged directory lists, once somebody asked.
    listing: Mutex<Option<Box<Listing>>>,
    links: AtomicU32,
}

/// What a node has in the upper.
#[derive(Debug)]
pub(super) enum Upper {
    Directory(UpperDirectory),
    File(UpperFile),
}

/// A directory of the upper.
#[derive(Debug)]
pub(super) struct UpperDirectory {
    /// Open for reading.
    pub(super) descriptor: Arc<OwnedFd>,
    /// [`super::mark::IMPURE`].
    pub(super) impure: AtomicBool,
    /// [`super::mark::REDIRECT`].
    pub(super) redirect: Mutex<Option<Vec<u8>>>,
    default_acl: AtomicU8,
}

/// Anything else in the upper.
#[derive(Debug, Default)]
pub(super) struct UpperFile {
    /// The index has a name for it that no user can take away.
    pub(super) is_indexed: bool,
    /// It is a [`super::mark::Note::zero_device`].
    pub(super) is_zero_device: bool,
    /// Itself, once its last known name is gone.
    pub(super) pinned: OnceLock<Arc<OwnedFd>>,
    /// Of a regular file, while it is being read or written.
    pub(super) io: Mutex<Option<Arc<OwnedFd>>>,
}

/// Whether a directory has a default ACL.
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
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    pub(super) fn upper(&self) -> Option<&Upper> {
        self.upper.get()
    }

    /// Its directory in the upper, if it has one.
    pub(super) fn upper_directory(&self) -> Option<&UpperDirectory> {
        match self.upper.get() {
            Some(Upper::Directory(directory)) => Some(directory),
            _ => None,
        }
    }

    /// Its file in the upper, if it has one.
    pub(super) fn upper_file(&self) -> Option<&UpperFile> {
        match self.upper.get() {
            Some(Upper::File(file)) => Some(file),
            _ => None,
        }
    }

    /// From now on it is in the upper.
    pub(super) fn set_upper(&self, upper: Upper) -> Result<(), Errno> {
        self.upper.set(upper).map_err(|_| Errno::EXIST)
    }

    /// Number of links to show, if its inode does not tell.
    pub(super) fn links(&self) -> Option<u32> {
        Some(self.links.load(Ordering::Acquire)).filter(|&links| links != NO_LINKS)
    }

    pub(super) fn set_links(&self, links: Option<u32>) {
        self.links.store(links.unwrap_or(NO_LINKS), Ordering::Release);
    }

    /// Waits until nobody else copies it up.
    pub(super) fn fly(&self) -> MutexGuard<'_, ()> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its listing, if there is one; locked.
    pub(super) fn listing(&self) -> MutexGuard<'_, Option<Box<Listing>>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a directory that names it has to be [`super::mark::IMPURE`].
    pub(super) fn needs_impure_parent(&self) -> bool {
        !self.ino.is_of_upper() || self.upper_file().is_some_and(|file| file.is_zero_device)
    }
}

/// What a new [`Node`] is made of.
#[derive(Debug)]
pub(super) struct NewEntry {
    pub(super) kind: FileKind,
    pub(super) lowers: Vec<LowerRef>,
    pub(super) upper: Option<Upper>,
    pub(super) links: Option<u32>,
}

/// Locks even if a thread panicked meanwhile: all our data is consistent between statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
