//! The changes that an upper and the step layers below it make to the base below them all.
//!
//! An upper is read in the format of Linux overlayfs (Documentation/filesystems/overlayfs.rst,
//! "whiteouts and opaque directories"), which both engines of oic write.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::Digest as _;

use crate::cancel::{Cancel, Cancelled};
use crate::durable::{self, PathError};
use crate::overlay::layer::{Attributes, FileKind, Layer as _, LayerError, NodeId, Timestamp};
use crate::package::Sha256;
use crate::snapshot::Snapshot;

mod stack;
mod xattr;

use stack::{Shown, Stack};
pub use xattr::all as attributes;

/// The reason why two trees could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A file of the upper could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The base could not be read.
    #[error("the base cannot be read: {0}")]
    Base(#[from] LayerError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// The kind of a change to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is not in the base.
    Added,
    /// It is in the base, but not the same.
    Changed,
    /// It is in the base, and hidden; of a directory, all that was below it as well.
    Removed,
}

/// A property in which a changed path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// The kind of file.
    Kind,
    /// A file's bytes, a symbolic link's target, a device's numbers.
    Content,
    /// Permission bits.
    Mode,
    /// User or group.
    Owner,
    /// Extended attributes, ACLs and capabilities among them.
    Xattrs,
    /// The time of last modification; directories excepted.
    Time,
}

/// A path that differs from the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path from the root of the tree, which is `/`.
    pub path: PathBuf,
    /// The kind of the change.
    pub action: Action,
    /// The kind of file that it is or, if removed, was.
    pub kind: FileKind,
    /// The size in bytes of a regular file that is not removed.
    pub size_bytes: Option<u64>,
    /// The properties in which a changed path differs.
    pub aspects: BTreeSet<Aspect>,
    /// The directory of the base that an added directory shows, if that has another path.
    pub moved_from: Option<PathBuf>,
}

/// The differences between two trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// The changes, sorted by path.
    pub changes: Vec<Change>,
    /// Number of entries of the upper that equal the base's, directories not counted: copied up for nothing.
    pub unchanged: u64,
}

/// Compares `base` with the tree that `uppers` (the topmost first) over it show, and returns the changes. Reading the
/// attributes of an upper needs root.
///
/// # Errors
/// [`DiffError`] if one of them cannot be read, or `cancel` is set.
pub fn diff(base: &Snapshot, uppers: &[PathBuf], cancel: &Cancel) -> Result<Difference, DiffError> {
    let mut comparison = Comparison {
        base,
        stack: Stack(uppers),
        cancel,
        found: Difference::default(),
    };
    let root = Pair {
        path: PathBuf::from("/"),
        shown: comparison.stack.root()?,
    };
    comparison.directory(root, Some(base.root()))?;
    comparison.found.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(comparison.found)
}

struct Comparison<'a> {
    base: &'a Snapshot,
    stack: Stack<'a>,
    cancel: &'a Cancel,
    found: Difference,
}

/// A path of the tree and the entry that the uppers show there.
struct Pair {
    path: PathBuf,
    shown: Shown,
}

impl Comparison<'_> {
    /// Compares a directory of the uppers and all below it; `base` is the directory of the base that it covers, if any.
    /// It keeps a stack instead of recursing, since trees may be arbitrarily deep.
    fn directory(&mut self, root: Pair, base: Option<NodeId>) -> Result<(), DiffError> {
        let mut pending = vec![(root, base, false)];
        while let Some((directory, base, is_closed)) = pending.pop() {
            self.cancel.check()?;
            // Below an opaque directory, nothing is merged with the base.
            let is_closed = is_closed || directory.shown.is_closed;
            let mut seen = BTreeSet::new();
            for (name, shown) in self.stack.entries(&directory.path, &directory.shown)? {
                let path = directory.path.join(&name);
                let below = match base {
                    Some(base) => self.base.lookup(base, &name)?,
                    None => None,
                };
                seen.insert(name);
                let Some(shown) = shown else {
                    self.removed(path, below)?;
                    continue;
                };
                let child = Pair { path, shown };
                let origin = child.shown.origin.clone();
                let covered = self.entry(&child, below, origin.as_deref())?;
                match (covered, origin) {
                    (None, _) => {}
                    (Some(_), Some(origin)) => pending.push((child, self.find(&origin)?, false)),
                    (Some(covered), None) => pending.push((child, covered, is_closed)),
                }
            }
            if let Some(base) = base.filter(|_| is_closed) {
                self.hidden(&directory.path, base, &seen)?;
            }
        }
        Ok(())
    }

    /// Returns the node of the base at `path`; `None` if the base has no such path.
    fn find(&self, path: &Path) -> Result<Option<NodeId>, DiffError> {
        let mut node = self.base.root();
        for name in path.iter().skip(1) {
            match self.base.lookup(node, name)? {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Compares one entry with `below`. Returns, for a directory alone, the directory of the base to compare its
    /// contents with (`None` inside: the base has none).
    fn entry(
        &mut self,
        entry: &Pair,
        below: Option<NodeId>,
        origin: Option<&Path>,
    ) -> Result<Option<Option<NodeId>>, DiffError> {
        let kind = kind_of(&entry.shown.metadata);
        let is_directory = kind == FileKind::Directory;
        let Some(node) = below else {
            self.report(entry, Action::Added, BTreeSet::new());
            if let Some(change) = self.found.changes.last_mut() {
                change.moved_from = origin.map(Path::to_owned);
            }
            return Ok(is_directory.then_some(None));
        };
        let before = self.base.attributes(node)?;
        if before.kind != kind {
            self.report(entry, Action::Changed, BTreeSet::from([Aspect::Kind]));
            return Ok(is_directory.then_some(None));
        }
        let aspects = self.aspects(entry, node, &before)?;
        if !aspects.is_empty() {
            self.report(entry, Action::Changed, aspects);
        } else if !is_directory {
            self.found.unchanged += 1;
        }
        Ok(is_directory.then_some(Some(node)))
    }

    fn aspects(&self, entry: &Pair, node: NodeId, before: &Attributes) -> Result<BTreeSet<Aspect>, DiffError> {
        let now = &entry.shown.metadata;
        let mut aspects = BTreeSet::new();
        let mut note = |aspect, differs: bool| differs.then(|| aspects.insert(aspect));
        note(Aspect::Mode, now.mode() & 0o7777 != before.permissions);
        note(Aspect::Owner, (now.uid(), now.gid()) != (before.uid, before.gid));
        note(Aspect::Xattrs, xattr::all(&entry.shown.path)? != self.xattrs(node)?);
        note(Aspect::Content, self.content_differs(entry, node, before)?);
        let modified = Timestamp {
            seconds: now.mtime(),
            nanoseconds: u32::try_from(now.mtime_nsec()).unwrap_or_default(),
        };
        note(
            Aspect::Time,
            before.kind != FileKind::Directory && modified != before.modified,
        );
        Ok(aspects)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<(OsString, Vec<u8>)>, DiffError> {
        let mut set = Vec::new();
        for name in self.base.xattr_names(node)? {
            if let Some(value) = self.base.xattr(node, &name)? {
                set.push((name, value));
            }
        }
        set.sort();
        Ok(set)
    }

    fn content_differs(&self, entry: &Pair, node: NodeId, before: &Attributes) -> Result<bool, DiffError> {
        let path = &entry.shown.path;
        match before.kind {
            FileKind::Regular if entry.shown.metadata.len() != before.size_bytes => Ok(true),
            FileKind::Regular => match self.base.digest(node)? {
                Some(digest) => Ok(digest != self.digest(path)?),
                None => self.bytes_differ(path, node),
            },
            FileKind::Symlink => {
                let target = fs::read_link(path).map_err(PathError::on("read", path))?;
                Ok(target.into_os_string().into_vec() != self.base.read_link(node)?)
            }
            FileKind::CharDevice | FileKind::BlockDevice => {
                let device = entry.shown.metadata.rdev();
                Ok((rustix::fs::major(device), rustix::fs::minor(device)) != before.device)
            }
            FileKind::Directory | FileKind::Fifo | FileKind::Socket => Ok(false),
        }
    }

    /// Says whether the bytes of the file `path` differ from those of `node`, a file of the same size in the base
    /// without a digest.
    fn bytes_differ(&self, path: &Path, node: NodeId) -> Result<bool, DiffError> {
        let file = File::open(path).map_err(PathError::on("open", path))?;
        let (mut now, mut before) = (vec![0; 1 << 18], vec![0; 1 << 18]);
        let mut offset = 0;
        loop {
            self.cancel.check()?;
            let count = self.base.read_at(node, offset, &mut before)?;
            let (now, before) = (now.get_mut(..count), before.get(..count));
            let (Some(now), Some(before)) = (now, before.filter(|before| !before.is_empty())) else {
                return Ok(false);
            };
            file.read_exact_at(now, offset).map_err(PathError::on("read", path))?;
            if now != before {
                return Ok(true);
            }
            offset = offset.saturating_add(count as u64);
        }
    }

    fn digest(&self, path: &Path) -> Result<Sha256, DiffError> {
        let file = File::open(path).map_err(PathError::on("open", path))?;
        let mut hasher = sha2::Sha256::new();
        durable::each_piece::<DiffError>(file, path, &[self.cancel], |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok(Sha256(hasher.finalize().into()))
    }

    fn report(&mut self, entry: &Pair, action: Action, aspects: BTreeSet<Aspect>) {
        self.found.changes.push(Change {
            path: entry.path.clone(),
            action,
            kind: kind_of(&entry.shown.metadata),
            size_bytes: entry.shown.metadata.is_file().then_some(entry.shown.metadata.len()),
            aspects,
            moved_from: None,
        });
    }

    /// Reports that `path` was removed, if the base has it as `below`; a whiteout can also be left of a file that was
    /// added and removed again.
    fn removed(&mut self, path: PathBuf, below: Option<NodeId>) -> Result<(), DiffError> {
        let Some(node) = below else { return Ok(()) };
        self.found.changes.push(Change {
            path,
            action: Action::Removed,
            kind: self.base.attributes(node)?.kind,
            size_bytes: None,
            aspects: BTreeSet::new(),
            moved_from: None,
        });
        Ok(())
    }

    /// Reports as removed the entries of the base's directory `base`, which is opaque at `path`, whose names are not
    /// among `seen`.
    fn hidden(&mut self, path: &Path, base: NodeId, seen: &BTreeSet<OsString>) -> Result<(), DiffError> {
        let mut hidden = Vec::new();
        self.base.entries(base, 0, &mut |entry| {
            if !seen.contains(entry.name) {
                hidden.push((path.join(entry.name), entry.node));
            }
            true
        })?;
        hidden
            .into_iter()
            .try_for_each(|(path, node)| self.removed(path, Some(node)))
    }
}

fn kind_of(metadata: &Metadata) -> FileKind {
    // Linux knows no other kinds.
    FileKind::from_mode(metadata.mode()).unwrap_or(FileKind::Regular)
}
