//! The copy-on-write file system over an upper, step layers, the base and the
//! package pool. No FUSE types here: it works without a mount.
//!
//! Content is read from the topmost layer that has it; changes go to the **upper**, a directory in the format of the
//! Linux overlayfs. Nothing else is ever written: layers have no way to be changed.
//!
//! - A [`Node`] stands for an inode that is in use. It goes from *in a layer* to *in the upper* once ([`copy_up`])
//!   and never back. No caller holds an open lower file: each read asks the node where its content is now, so there
//!   is no way to write to, or go on reading from, the wrong file.
//! - The **namespace lock** (`names`) is shared by operations that look at names and exclusive for those that change
//!   them. Content is copied without it, to a temporary file; only putting it into place takes the lock. Order of
//!   locks: flight of a node, namespace, listing of a node, table.
//! - Permissions are not checked here: the kernel does that (`default_permissions`), and the
//!   library's own callers may do everything.

mod attributes;
mod copy_up;
mod create;
pub mod directory;
mod ino;
mod inode_flags;
mod io;
pub mod layer;
mod link;
mod listing;
mod lookup;
mod mark;
mod merge;
mod node;
mod place;
mod privileges;
mod read_dir;
mod remove;
mod rename;
mod stat;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod unnoted;
mod work;
mod xattr;

use std::ffi::OsStr;
use std::path::PathBuf;

pub use ino::{Ino, MAX_LAYERS};
use layer::{Errno, FileKind, Layer, LayerResult, NodeId};
use node::{LowerRef, NewEntry, Node, Upper, UpperDirectory};
pub use privileges::Credentials;
pub use read_dir::Listed;
use rustix::fs::{Mode, OFlags};
pub use stat::{Access, Caller, Change, NewMode, NewNode, RenameMode, SetTime, Space, Stat};
use table::Table;
use work::Work;

use crate::durable::PathError;
use crate::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, read, write};

/// The directories for changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpperDirs {
    /// The directory with everything added, changed and removed, in the Linux overlayfs format. Its owner, mode and
    /// times are those of the root directory.
    pub directory: PathBuf,
    /// The directory for unfinished nodes and the hard-link index; on the same file system.
    pub work: PathBuf,
}

/// A reason why an overlay could not be set up.
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
            changed: None,
        });
        Ok(Self {
            layers,
            work,
            table,
            names: RwLock::new(Names),
            open_files: io::OpenFiles::default(),
        })
    }

    /// Returns the layers, the topmost first.
    pub fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    /// Returns where the content of `ino` is: the number of its layer in [`Self::layers`], and its node there.
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

    /// Returns whether nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        self.work.is_none()
    }

    /// Returns `false` only if no node can have an extended attribute.
    pub fn has_xattrs(&self) -> bool {
        !self.is_read_only() || self.layers.iter().any(|layer| layer.summary().has_xattrs)
    }

    fn read_names(&self) -> RwLockReadGuard<'_, Names> {
        read(&self.names)
    }

    fn write_names(&self) -> RwLockWriteGuard<'_, Names> {
        write(&self.names)
    }

    /// Returns the work directory; `EROFS` without an upper.
    fn work(&self) -> LayerResult<&Work> {
        self.work.as_ref().ok_or_else(|| Errno::ROFS.into())
    }

    /// Returns the directory with this number; `ENOTDIR` if it is something else.
    fn directory(&self, ino: Ino) -> LayerResult<Arc<Node>> {
        let node = self.table.get(ino)?;
        if node.is_directory() {
            Ok(node)
        } else {
            Err(Errno::NOTDIR.into())
        }
    }
}

/// The longest name, in bytes (NAME_MAX of every file system of Linux that can be an upper).
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
