//! Walks a tree in name order, and writes a tar stream and an index at once.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use sha2::Digest as _;

use super::SnapshotError;
use super::builder::{Builder, Child, TooLarge};
use super::entry::{TarEntry, pad};
use super::format::{NONE, Node};
use super::options::WriteOptions;
use super::pack::{CHUNK_BYTES, Cutter, Stopped};
use crate::archive::stream::Xattrs;
use crate::overlay::layer::Timestamp;
use crate::package::Sha256;

/// The reason why a walk ended early.
#[derive(Debug)]
pub(super) enum WalkError {
    /// An error in the tree, or a cancellation.
    Snapshot(SnapshotError),
    /// The writing thread failed; its result has the reason.
    Stopped,
}

impl From<Stopped> for WalkError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<SnapshotError> for WalkError {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(error)
    }
}

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    options: &'a WriteOptions,
    cutter: Cutter,
    builder: Builder,
    /// Nodes with several names: device and inode, with node number and first name.
    linked: HashMap<(u64, u64), (u32, Vec<u8>)>,
    /// The tar name of the current entry: `./etc/passwd`.
    name: Vec<u8>,
    skipped: Vec<PathBuf>,
}

/// The result of a walk.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) builder: Builder,
    /// Sockets, which a tar stream cannot hold.
    pub(super) skipped: Vec<PathBuf>,
}

/// Walks the tree at `root` into `cutter`.
pub(super) fn walk(root: &OwnedFd, options: &WriteOptions, cutter: Cutter) -> Result<Walked, WalkError> {
    let mut walk = Walk {
        options,
        cutter,
        builder: Builder::new(),
        linked: HashMap::new(),
        name: b"./".to_vec(),
        skipped: Vec::new(),
    };
    let stat = rustix::fs::fstat(root).map_err(|errno| walk.error(errno))?;
    let xattrs = walk.xattrs(root.as_fd(), None)?;
    let id = walk.inode(&stat, &[], xattrs)?;
    walk.directory(root, id)?;
    let Walk {
        cutter,
        builder,
        skipped,
        ..
    } = walk;
    cutter.finish()?;
    Ok(Walked { builder, skipped })
}

impl Walk<'_> {
    fn directory(&mut self, directory: &OwnedFd, id: u32) -> Result<(), WalkError> {
        let length = self.name.len();
        let mut children = Vec::new();
        let emptied = self.options.exclude_contents.iter().any(|path| path == self.path());
        let names = if emptied { Vec::new() } else { self.names(directory)? };
        for name in names {
            self.name.extend(name.as_bytes());
            if !self.options.exclude.iter().any(|path| path == self.path())
                && let Some(node) = self.child(directory, &name)?
            {
                self.builder.link(node);
                children.push(Child {
                    name: name.into_vec(),
                    node,
                });
            }
            self.name.truncate(length);
        }
        let added = self.builder.directory(id, children);
        Ok(added.map_err(|TooLarge| self.too_large())?)
    }

    /// Writes one name: its headers, content and everything below it. Returns `None` if the name is skipped.
    fn child(&mut self, parent: &OwnedFd, name: &OsStr) -> Result<Option<u32>, WalkError> {
        self.options.cancel.check().map_err(SnapshotError::from)?;
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| self.error(errno))?;
        let kind = stat.st_mode & libc::S_IFMT;
        if kind == libc::S_IFSOCK {
            self.skipped.push(self.path().to_owned());
            return Ok(None);
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some((node, first)) = self.linked.get(&key) {
            let (node, first) = (*node, first.clone());
            self.header(&stat, tar::EntryType::Link, &first, &[])?;
            return Ok(Some(node));
        }
        let xattrs = self.xattrs(parent.as_fd(), Some(name))?;
        let node = match kind {
            libc::S_IFDIR => {
                let child = self.open(parent, name, OFlags::DIRECTORY)?;
                self.name.push(b'/');
                let node = self.inode(&stat, &[], xattrs)?;
                self.directory(&child, node)?;
                return Ok(Some(node));
            }
            libc::S_IFLNK => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new()).map_err(|errno| self.error(errno))?;
                self.inode(&stat, target.as_bytes(), xattrs)?
            }
            libc::S_IFREG => self.regular(parent, name, &stat, xattrs)?,
            _ => {
                // Opened to learn whether something is mounted over it.
                self.open(parent, name, OFlags::PATH)?;
                self.inode(&stat, &[], xattrs)?
            }
        };
        if stat.st_nlink > 1 {
            self.linked.insert(key, (node, self.name.clone()));
        }
        Ok(Some(node))
    }

    fn regular(&mut self, parent: &OwnedFd, name: &OsStr, stat: &Stat, xattrs: Xattrs) -> Result<u32, WalkError> {
        let mut file = File::from(self.open(parent, name, OFlags::NONBLOCK)?);
        let node = self.inode(stat, &[], xattrs)?;
        let position = self.cutter.position();
        let mut hasher = sha2::Sha256::new();
        let mut left = size(stat);
        while left > 0 {
            let chunk = left.min(CHUNK_BYTES);
            let start = self.cutter.open.len();
            let read = (&mut file).take(chunk).read_to_end(&mut self.cutter.open);
            let read = read.map_err(|error| self.problem(format!("cannot read it: {error}")))?;
            if read as u64 != chunk {
                return Err(self.problem("it shrank while it was read").into());
            }
            hasher.update(self.cutter.open.get(start..).unwrap_or_default());
            left -= chunk;
            if left > 0 {
                self.cutter.cut()?;
            }
        }
        pad(&mut self.cutter.open);
        let after = rustix::fs::fstat(&file).map_err(|errno| self.error(errno))?;
        let version = |stat: &Stat| (stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if version(&after) != version(stat) {
            return Err(self.problem("it changed while it was read").into());
        }
        self.builder.content(node, position, Sha256(hasher.finalize().into()));
        Ok(node)
    }

    /// Writes the headers of a new inode and adds its node.
    fn inode(&mut self, stat: &Stat, target: &[u8], xattrs: Xattrs) -> Result<u32, WalkError> {
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => tar::EntryType::Regular,
            libc::S_IFDIR => tar::EntryType::Directory,
            libc::S_IFLNK => tar::EntryType::Symlink,
            libc::S_IFCHR => tar::EntryType::Char,
            libc::S_IFBLK => tar::EntryType::Block,
            libc::S_IFIFO => tar::EntryType::Fifo,
            other => return Err(self.problem(format!("unknown file type {other:o}")).into()),
        };
        self.header(stat, kind, target, &xattrs)?;
        let node = Node {
            mode: stat.st_mode & (libc::S_IFMT | 0o7777),
            uid: stat.st_uid,
            gid: stat.st_gid,
            links: 0,
            size_bytes: match kind {
                tar::EntryType::Regular => size(stat),
                _ => target.len() as u64,
            },
            modified: self.modified(stat),
            device: device(stat),
            data: 0,
            entries: 0,
            digest: NONE,
            xattrs: 0,
            dirent: NONE,
        };
        let added = if kind.is_symlink() {
            self.builder.add_symlink(node, target, xattrs)
        } else {
            self.builder.add(node, xattrs)
        };
        Ok(added.map_err(|TooLarge| self.too_large())?)
    }

    fn header(
        &mut self,
        stat: &Stat,
        kind: tar::EntryType,
        link: &[u8],
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), WalkError> {
        let size_bytes = if kind.is_file() { size(stat) } else { 0 };
        let entry = TarEntry {
            name: &self.name,
            kind,
            link,
            permissions: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size_bytes,
            modified: self.modified(stat),
            device: device(stat),
            xattrs,
        };
        let headers = entry.encode().map_err(|problem| self.problem(problem))?;
        self.cutter.begin_entry(size_bytes)?;
        self.cutter.open.extend(headers);
        Ok(())
    }

    /// Lists the names in `directory`, sorted by their bytes.
    fn names(&self, directory: &OwnedFd) -> Result<Vec<OsString>, WalkError> {
        let entries = rustix::fs::Dir::read_from(directory).map_err(|errno| self.error(errno))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|errno| self.error(errno))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, parent: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, SnapshotError> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), stay) {
            Ok(fd) => Ok(fd),
            Err(Errno::XDEV) => Err(self.problem("something is mounted there; unmount it first")),
            Err(errno) => Err(self.error(errno)),
        }
    }

    /// Reads the attributes that the snapshot is to keep.
    fn xattrs(&self, directory: BorrowedFd<'_>, name: Option<&OsStr>) -> Result<Xattrs, SnapshotError> {
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        // Without a name, "." makes the kernel follow the link to the directory itself.
        path.push(name.unwrap_or(OsStr::new(".")));
        let length = match rustix::fs::llistxattr_query(&path) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Ok(length) => length,
            Err(errno) => return Err(self.error(errno)),
        };
        let mut list = vec![0; length];
        let length = rustix::fs::llistxattr(&path, &mut list[..]).map_err(|errno| self.error(errno))?;
        let mut xattrs = Vec::new();
        let names = list.get(..length).unwrap_or_default().split(|byte| *byte == 0);
        for name in names.filter(|name| (self.options.keep_attribute)(name)) {
            let length = rustix::fs::lgetxattr_query(&path, name).map_err(|errno| self.error(errno))?;
            let mut value = vec![0; length];
            let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).map_err(|errno| self.error(errno))?;
            value.truncate(length);
            xattrs.push((name.to_vec(), value));
        }
        xattrs.sort_unstable();
        Ok(xattrs)
    }

    /// Returns the time that a node gets.
    fn modified(&self, stat: &Stat) -> Timestamp {
        let found = Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        };
        let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        match self.options.times {
            Some(times) if is_directory || times.is_late(found.seconds, found.nanoseconds) => Timestamp {
                seconds: times.epoch_seconds(),
                nanoseconds: 0,
            },
            _ => found,
        }
    }

    /// Returns the path of the current entry, relative to the tree.
    fn path(&self) -> &Path {
        let bytes = self.name.strip_prefix(b"./").unwrap_or(&self.name);
        Path::new(OsStr::from_bytes(bytes.strip_suffix(b"/").unwrap_or(bytes)))
    }

    fn problem(&self, problem: impl Into<String>) -> SnapshotError {
        SnapshotError::Tree {
            path: self.path().to_owned(),
            problem: problem.into(),
        }
    }

    fn error(&self, errno: Errno) -> SnapshotError {
        self.problem(errno.to_string())
    }

    fn too_large(&self) -> SnapshotError {
        self.problem("the tree has more files than a snapshot can number")
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn device(stat: &Stat) -> (u32, u32) {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFCHR | libc::S_IFBLK => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        _ => (0, 0),
    }
}
