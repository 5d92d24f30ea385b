//! A directory of the host as a layer: a frozen upper, or a tree that another program unpacked.
//!
//! Nodes are numbered as its file system numbers them, and remembered by one of their names once they were looked up
//! or listed. Mount points below it are not crossed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lru::LruCache;
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, Stat, fstat, major, minor, open, openat, seek, statat};
use rustix::io::pread;

use super::layer::{Attributes, Entry, Errno, FileKind, Layer, LayerError, LayerResult, NodeId, Summary, Timestamp};
use super::mark::split_names;
use super::place::Place;
use super::stat::Access;
use super::work::{names_in, open_directory};
use crate::durable::{self, PathError};
use crate::sync::{Arc, Mutex, lock};

/// A directory of the host; its content must not change meanwhile.
#[derive(Debug)]
pub struct DirectoryLayer {
    root: Arc<OwnedFd>,
    root_id: NodeId,
    device: u64,
    /// A directory and a name in it by which a node can be found.
    names: Mutex<HashMap<NodeId, (NodeId, OsString)>>,
    /// The directories used last.
    opened: Mutex<LruCache<NodeId, Arc<OwnedFd>>>,
    /// The metadata read last: a lookup is followed by requests for metadata and attributes of the same node.
    stats: Mutex<LruCache<NodeId, Stat>>,
    xattrs: Mutex<LruCache<NodeId, Arc<[u8]>>>,
}

/// The number of directories that are kept open.
const OPEN_DIRECTORIES: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// The number of nodes whose metadata and attributes are kept.
const RECENT_NODES: NonZeroUsize = NonZeroUsize::new(256).unwrap();

impl DirectoryLayer {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, PathError> {
        let on = |errno: Errno| PathError::on("open the layer", path)(errno.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty()).map_err(on)?;
        let stat = fstat(&root).map_err(on)?;
        Ok(Self {
            root: Arc::new(root),
            root_id: NodeId(stat.st_ino),
            device: stat.st_dev,
            names: Mutex::default(),
            opened: Mutex::new(LruCache::new(OPEN_DIRECTORIES)),
            stats: Mutex::new(LruCache::new(RECENT_NODES)),
            xattrs: Mutex::new(LruCache::new(RECENT_NODES)),
        })
    }

    /// Returns a node's name in its directory, or the root itself.
    fn place(&self, node: NodeId) -> LayerResult<Place> {
        if node == self.root_id {
            return Ok(Place::Open(Arc::clone(&self.root)));
        }
        let (parent, name) = lock(&self.names).get(&node).cloned().ok_or(Errno::STALE)?;
        Ok(Place::Named(self.directory(parent)?, name))
    }

    /// Returns a directory, open for access to its entries.
    fn directory(&self, node: NodeId) -> LayerResult<Arc<OwnedFd>> {
        // From the nearest directory that is open, name by name.
        let mut missing = Vec::new();
        let mut at = node;
        let mut opened = loop {
            if at == self.root_id {
                break Arc::clone(&self.root);
            }
            if let Some(opened) = lock(&self.opened).get(&at) {
                break Arc::clone(opened);
            }
            let (parent, name) = lock(&self.names).get(&at).cloned().ok_or(Errno::STALE)?;
            missing.push((at, name));
            at = parent;
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for (node, name) in missing.into_iter().rev() {
            opened = Arc::new(openat(&opened, &name, flags, Mode::empty())?);
            lock(&self.opened).put(node, Arc::clone(&opened));
        }
        Ok(opened)
    }

    fn stat(&self, node: NodeId) -> LayerResult<Stat> {
        if let Some(stat) = lock(&self.stats).get(&node) {
            return Ok(*stat);
        }
        let stat = self.place(node)?.stat()?;
        lock(&self.stats).put(node, stat);
        Ok(stat)
    }

    /// Returns the names of a node's attributes, each ended by a NUL.
    fn xattr_list(&self, node: NodeId) -> LayerResult<Arc<[u8]>> {
        if let Some(list) = lock(&self.xattrs).get(&node) {
            return Ok(Arc::clone(list));
        }
        let list: Arc<[u8]> = self.place(node)?.xattr_names()?.into();
        lock(&self.xattrs).put(node, Arc::clone(&list));
        Ok(list)
    }

    /// Opens a regular file for reading, which does not change its time of last access.
    fn open_content(&self, node: NodeId) -> LayerResult<OwnedFd> {
        let place = self.place(node)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        Ok(match place.open(flags | OFlags::NOATIME) {
            // The tree belongs to another user.
            Err(Errno::PERM) => place.open(flags)?,
            opened => opened?,
        })
    }

    fn remember(&self, parent: NodeId, name: &OsStr, node: NodeId) {
        let mut names = lock(&self.names);
        names.entry(node).or_insert_with(|| (parent, name.to_owned()));
    }
}

fn kind_of(stat: &Stat) -> LayerResult<FileKind> {
    FileKind::from_mode(stat.st_mode).ok_or_else(|| LayerError::from(Errno::IO))
}

impl Layer for DirectoryLayer {
    fn root(&self) -> NodeId {
        self.root_id
    }

    fn summary(&self) -> Summary {
        Summary::default()
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        match statat(self.directory(directory)?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_dev != self.device => Ok(None),
            Ok(stat) => {
                let node = NodeId(stat.st_ino);
                self.remember(directory, name, node);
                lock(&self.stats).put(node, stat);
                Ok(Some(node))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        let stat = self.stat(node)?;
        let kind = kind_of(&stat)?;
        let mut links = u32::try_from(stat.st_nlink).unwrap_or(u32::MAX);
        if kind != FileKind::Directory && links > 1 {
            // Without the name that the index of an upper had for it.
            links = self.place(node)?.note()?.and_then(|note| note.links).unwrap_or(links);
        }
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        Ok(Attributes {
            kind,
            permissions: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Timestamp {
                seconds: stat.st_mtime,
                nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
            links,
            device: if is_device {
                (major(stat.st_rdev), minor(stat.st_rdev))
            } else {
                (0, 0)
            },
        })
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let opened = open_directory(&*self.directory(directory)?, OsStr::new("."))?;
        // Sorted: the file system's own order can differ from time to time.
        let mut entries = names_in(&opened)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        for (position, (name, file_type, number)) in (1..).zip(&entries) {
            if position <= after {
                continue;
            }
            let (kind, number) = match FileKind::from_mode(file_type.as_raw_mode()) {
                Some(kind) => (kind, *number),
                None => {
                    let stat = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    (kind_of(&stat)?, stat.st_ino)
                }
            };
            let node = NodeId(number);
            self.remember(directory, name, node);
            let entry = Entry {
                name,
                node,
                kind,
                cookie: position,
            };
            if !visit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        Ok(self.place(node)?.read_link(Access::Noted)?)
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        let list = self.xattr_list(node)?;
        match split_names(&list).any(|known| known == name) {
            true => Ok(self.place(node)?.xattr(name)?),
            false => Ok(None),
        }
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        let list = self.xattr_list(node)?;
        let kept = |name: &&OsStr| !durable::is_of_file_system(name.as_bytes());
        Ok(split_names(&list).filter(kept).map(OsStr::to_owned).collect())
    }

    fn next_data(&self, node: NodeId, offset: u64) -> LayerResult<u64> {
        let file = self.open_content(node)?;
        match seek(&file, SeekFrom::Data(offset)) {
            Ok(position) => Ok(position),
            // Only a hole is left.
            Err(Errno::NXIO) => Ok(u64::MAX),
            // A file system without holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(offset),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_ready(&self, _node: NodeId, _offset: u64, _length: usize) -> bool {
        true
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let file = self.open_content(node)?;
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match pread(&file, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(filled)
    }
}
