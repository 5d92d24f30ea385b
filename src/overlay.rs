//! The copy-on-write file system over an upper, step layers, the base and the
//! package pool. No FUSE types here: it works without a mount.
//!
//! What is read comes from the topmost layer that has it; what is written goes to the **upper**, a
//! directory in the format of the Linux overlayfs. Nothing else is ever written: layers have no
//! way to be changed.
//!
//! - A [`Node`] stands for an inode that somebody refers to. It goes from *in a layer* to *in the
//!   upper* once ([`copy_up`]) and never back. Nobody holds an open lower file: whoever reads asks the
//!   node where its content is now, so there is no way to write to, or go on reading from, the
//!   wrong file.
//! - The **namespace lock** (`names`) is shared by all who look at names and exclusive for all
//!   who change them. Content is copied without it, to a temporary file; only putting it into place
//!   takes the lock. Order of locks: flight of a node, namespace, listing of a node, table.
//! - Permissions are not checked here: the kernel does that (`default_permissions`), and the
//!   library's own callers may do everything.

mod attributes;
mod copy_up;
mod create;
pub mod directory;
mod ino;
mod io;
pub mod layer;
mod link;
mod listing;
mod lookup;
mod mark;
mod merge;
mod node;
mod place;
mod read_dir;
mod remove;
mod rename;
mod stat;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod work;
mod xattr;

use std::ffi::OsStr;
use std::path::PathBuf;

pub use ino::{Ino, MAX_LAYERS};
use layer::{Errno, FileKind, Layer, LayerResult, NodeId};
use node::{LowerRef, NewEntry, Node, Upper, UpperDirectory};
pub use read_dir::Listed;
use rustix::fs::{Mode, OFlags};
pub use stat::{Caller, Change, NewMode, NewNode, RenameMode, SetTime, Space, Stat};
use table::Table;
use work::Work;

use crate::durable::PathError;
use crate::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Where changes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpperDirs {
    /// What was added, changed and removed, in the Linux overlayfs format. Its owner, mode and times are those
    /// of the root directory.
    pub directory: PathBuf,
    /// For things in the making and the hard-link index; on the same file system.
    pub work: PathBuf,
}

/// Why an overlay could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A directory could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Another overlay uses the upper.
    #[error("the writable layer with work directory {} is in use", .0.display())]
    Busy(PathBuf),
    /// There are more than [`MAX_LAYERS`], or none.
    #[error("an overlay has 1 to {MAX_LAYERS} layers, not {0}")]
    Layers(usize),
}

/// Proof that the namespace lock is held.
#[derive(Debug)]
struct Names;

/// The overlay. All methods may be called from many threads at once.
#[derive(Debug)]
pub struct Overlay {
    layers: Vec<Arc<dyn Layer>>,
    work: Option<Work>,
    table: Table,
    names: RwLock<Names>,
    open_files: io::OpenFiles,
}

impl Overlay {
    /// Sets up an overlay of `layers`, the topmost first. Without an upper it is read-only.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn new(layers: Vec<Arc<dyn Layer>>, upper: Option<&UpperDirs>) -> Result<Self, OverlayError> {
        if layers.is_empty() || layers.len() > MAX_LAYERS {
            return Err(OverlayError::Layers(layers.len()));
        }
        let mut work = None;
        let mut directory = None;
        if let Some(upper) = upper {
            work = Some(Work::open(&upper.work)?);
            directory = Some(Upper::Directory(open_root(&upper.directory)?));
        }
        let lowers = layers.iter().enumerate().map(|(layer, tree)| LowerRef {
            layer,
            node: tree.root(),
        });
        let table = Table::default();
        table.set_root(NewEntry {
            kind: FileKind::Directory,
            lowers: lowers.collect(),
            upper: directory,
            links: None,
        });
        Ok(Self {
            layers,
            work,
            table,
            names: RwLock::new(Names),
            open_files: io::OpenFiles::default(),
        })
    }

    /// The layers, the topmost first.
    pub fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    /// Where the content of `ino` is: the number of its layer in [`Self::layers`], and its node there.
    ///
    /// # Errors
    /// `ESTALE`, or `EXDEV` if it is in the upper.
    pub fn origin(&self, ino: Ino) -> LayerResult<(usize, NodeId)> {
        let node = self.table.get(ino)?;
        match (node.upper(), node.lowers.first()) {
            (None, Some(lower)) => Ok((lower.layer, lower.node)),
            _ => Err(Errno::XDEV.into()),
        }
    }

    /// Whether nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        self.work.is_none()
    }

    /// `false` only if no node can have an extended attribute.
    pub fn has_xattrs(&self) -> bool {
        !self.is_read_only() || self.layers.iter().any(|layer| layer.summary().has_xattrs)
    }

    /// How many nodes are in memory.
    pub fn nodes_in_memory(&self) -> usize {
        self.table.len()
    }

    fn read_names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_names(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work directory; `EROFS` without an upper.
    fn work(&self) -> LayerResult<&Work> {
        self.work.as_ref().ok_or_else(|| Errno::ROFS.into())
    }

    /// The directory with this number; `ENOTDIR` if it is something else.
    fn directory(&self, ino: Ino) -> LayerResult<Arc<Node>> {
        let node = self.table.get(ino)?;
        if node.is_directory() {
            Ok(node)
        } else {
            Err(Errno::NOTDIR.into())
        }
    }
}

/// The longest name (NAME_MAX of every file system of Linux that can be an upper).
const NAME_MAX: usize = 255;

/// Refuses names that no directory can have.
fn check_name(name: &OsStr) -> Result<(), Errno> {
    match name.as_encoded_bytes() {
        [] => Err(Errno::NOENT),
        bytes if bytes.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
        b"." | b".." => Err(Errno::INVAL),
        bytes if bytes.contains(&b'/') || bytes.contains(&0) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

fn open_root(path: &std::path::Path) -> Result<UpperDirectory, OverlayError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let on = |errno: Errno| PathError::on("open the writable layer", path)(errno.into());
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(on)?;
    lookup::open_upper_directory(descriptor)
        .map_err(on)
        .map_err(OverlayError::from)
}
