//! The same operations on an overlay without a mount and on a directory of any file system.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags, chmodat, chownat, linkat, makedev,
    mkdirat, mknodat, openat, renameat_with, statat, symlinkat, unlinkat,
};

use crate::overlay::layer::{Errno, FileKind};
use crate::overlay::{Access, Caller, Change, Ino, NewMode, NewNode, Overlay, RenameMode};

/// A node as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: FileKind,
    pub(crate) permissions: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) links: u32,
    pub(crate) device: (u32, u32),
    /// Content or target.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<OsString, Vec<u8>>,
    /// The first path with the same inode.
    pub(crate) same_as: PathBuf,
}

pub(crate) type View = BTreeMap<PathBuf, Seen>;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create(PathBuf, u32),
    MakeDirectory(PathBuf, u32),
    Symlink(PathBuf, Vec<u8>),
    Special(PathBuf, FileKind, (u32, u32)),
    Link(PathBuf, PathBuf),
    Unlink(PathBuf),
    RemoveDirectory(PathBuf),
    Rename(PathBuf, PathBuf, RenameMode),
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    Permissions(PathBuf, u32),
    Owner(PathBuf, u32, u32),
    SetXattr(PathBuf, OsString, Vec<u8>),
    RemoveXattr(PathBuf, OsString),
    /// Keeps a file open, whatever happens to its name.
    Hold(PathBuf),
    WriteHeld(usize, u64, Vec<u8>),
    ReadHeld(usize),
}

/// The outcome of an operation.
pub(crate) type Outcome = Result<Vec<u8>, Errno>;

pub(crate) trait Target {
    fn apply(&mut self, op: &Op) -> Outcome;
    fn view(&self) -> View;
}

/// The longest content compared.
const LIMIT: usize = 1 << 20;

/// A plain directory, or a mount point.
pub(crate) struct Plain {
    root: PathBuf,
    held: Vec<Option<File>>,
}

impl Plain {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            held: Vec::new(),
        }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<File, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // Opening a FIFO or a device is not compared here.
        let stat = statat(CWD, self.at(path), AtFlags::SYMLINK_NOFOLLOW)?;
        match FileKind::from_mode(stat.st_mode) {
            Some(FileKind::Regular) => Ok(openat(CWD, self.at(path), flags, Mode::empty())?.into()),
            Some(FileKind::Directory) => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    /// Makes the tree that `view` shows.
    pub(crate) fn populate(&mut self, view: &View) {
        for (path, seen) in view {
            if *path == seen.same_as || seen.kind == FileKind::Directory {
                let path = path.clone();
                let op = match seen.kind {
                    FileKind::Directory if path.as_os_str().is_empty() => continue,
                    FileKind::Directory => Op::MakeDirectory(path.clone(), seen.permissions),
                    FileKind::Regular => Op::Create(path.clone(), seen.permissions),
                    FileKind::Symlink => Op::Symlink(path.clone(), seen.content.clone()),
                    kind => Op::Special(path.clone(), kind, seen.device),
                };
                self.apply(&op).unwrap();
                if seen.kind == FileKind::Regular {
                    self.apply(&Op::Write(path.clone(), 0, seen.content.clone())).unwrap();
                }
                self.apply(&Op::Owner(path.clone(), seen.owner.0, seen.owner.1))
                    .unwrap();
                if seen.kind != FileKind::Symlink {
                    self.apply(&Op::Permissions(path.clone(), seen.permissions)).unwrap();
                }
                for (name, value) in &seen.xattrs {
                    let op = Op::SetXattr(path.clone(), name.clone(), value.clone());
                    self.apply(&op).unwrap();
                }
            } else {
                self.apply(&Op::Link(seen.same_as.clone(), path.clone())).unwrap();
            }
        }
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

impl Target for Plain {
    fn apply(&mut self, op: &Op) -> Outcome {
        let nothing = |_| Vec::new();
        match op {
            Op::Create(path, bits) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                drop(openat(CWD, self.at(path), flags, mode(*bits))?);
                chmodat(CWD, self.at(path), mode(*bits), AtFlags::empty()).map(nothing)
            }
            Op::MakeDirectory(path, bits) => {
                mkdirat(CWD, self.at(path), mode(*bits))?;
                // Without umask, but with the bits that the directory hands down.
                let handed_down = statat(CWD, self.at(path), AtFlags::SYMLINK_NOFOLLOW)?.st_mode & libc::S_ISGID;
                chmodat(CWD, self.at(path), mode(*bits | handed_down), AtFlags::empty()).map(nothing)
            }
            Op::Symlink(path, target) => symlinkat(OsStr::from_bytes(target), CWD, self.at(path)).map(nothing),
            Op::Special(path, kind, (major, minor)) => {
                let kind = FileType::from_raw_mode(kind.mode_bits());
                mknodat(CWD, self.at(path), kind, mode(0o600), makedev(*major, *minor)).map(nothing)
            }
            Op::Link(old, new) => linkat(CWD, self.at(old), CWD, self.at(new), AtFlags::empty()).map(nothing),
            Op::Unlink(path) => unlinkat(CWD, self.at(path), AtFlags::empty()).map(nothing),
            Op::RemoveDirectory(path) => unlinkat(CWD, self.at(path), AtFlags::REMOVEDIR).map(nothing),
            Op::Rename(old, new, how) => {
                let flags = match how {
                    RenameMode::Replace => RenameFlags::empty(),
                    RenameMode::NoReplace => RenameFlags::NOREPLACE,
                    RenameMode::Exchange => RenameFlags::EXCHANGE,
                    RenameMode::Whiteout => RenameFlags::WHITEOUT,
                    RenameMode::NoReplaceWhiteout => RenameFlags::NOREPLACE | RenameFlags::WHITEOUT,
                };
                renameat_with(CWD, self.at(old), CWD, self.at(new), flags).map(nothing)
            }
            Op::Write(path, offset, data) => write_to(&self.open(path, OFlags::WRONLY)?, data, *offset),
            Op::Truncate(path, size) => {
                let file = self.open(path, OFlags::WRONLY)?;
                rustix::fs::ftruncate(&file, *size).map(nothing)
            }
            Op::Permissions(path, bits) => {
                let stat = statat(CWD, self.at(path), AtFlags::SYMLINK_NOFOLLOW)?;
                if FileKind::from_mode(stat.st_mode) == Some(FileKind::Symlink) {
                    return Err(Errno::OPNOTSUPP);
                }
                chmodat(CWD, self.at(path), mode(*bits), AtFlags::empty()).map(nothing)
            }
            Op::Owner(path, uid, gid) => {
                let (uid, gid) = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                chownat(CWD, self.at(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW).map(nothing)
            }
            Op::SetXattr(path, name, value) => {
                rustix::fs::lsetxattr(self.at(path), name.as_os_str(), value, XattrFlags::empty()).map(nothing)
            }
            Op::RemoveXattr(path, name) => rustix::fs::lremovexattr(self.at(path), name.as_os_str()).map(nothing),
            Op::Hold(path) => {
                let file = self.open(path, OFlags::RDWR);
                let outcome = file.as_ref().map(|_| Vec::new()).map_err(|errno| *errno);
                self.held.push(file.ok());
                outcome
            }
            Op::WriteHeld(index, offset, data) => match held(&self.held, *index) {
                Some(file) => write_to(file, data, *offset),
                None => Err(Errno::BADF),
            },
            Op::ReadHeld(index) => match held(&self.held, *index) {
                Some(file) => Ok(read_from(file)),
                None => Err(Errno::BADF),
            },
        }
    }

    fn view(&self) -> View {
        let mut view = View::new();
        let mut first: HashMap<u64, PathBuf> = HashMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let at = if path.as_os_str().is_empty() {
                self.root.clone()
            } else {
                self.at(&path)
            };
            let stat = statat(CWD, &at, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let kind = FileKind::from_mode(stat.st_mode).unwrap();
            let content = match kind {
                FileKind::Regular => read_from(&File::open(&at).unwrap()),
                FileKind::Symlink => std::fs::read_link(&at).unwrap().as_os_str().as_bytes().to_vec(),
                FileKind::Directory => {
                    let children = std::fs::read_dir(&at).unwrap();
                    todo.extend(children.map(|child| path.join(child.unwrap().file_name())));
                    Vec::new()
                }
                _ => Vec::new(),
            };
            let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
            let rdev = if is_device { stat.st_rdev } else { 0 };
            first
                .entry(stat.st_ino)
                .and_modify(|first| *first = first.clone().min(path.clone()))
                .or_insert_with(|| path.clone());
            view.insert(
                path,
                Seen {
                    kind,
                    permissions: stat.st_mode & 0o7777,
                    owner: (stat.st_uid, stat.st_gid),
                    links: stat.st_nlink as u32,
                    device: (rustix::fs::major(rdev), rustix::fs::minor(rdev)),
                    content,
                    xattrs: xattrs_of(&at),
                    same_as: PathBuf::from(stat.st_ino.to_string()),
                },
            );
        }
        for seen in view.values_mut() {
            let ino: u64 = seen.same_as.to_str().unwrap().parse().unwrap();
            seen.same_as = first[&ino].clone();
        }
        view
    }
}

fn xattrs_of(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut list = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (OsStr::from_bytes(name).to_owned(), value)
        })
        .collect()
}

fn held<T>(held: &[Option<T>], index: usize) -> Option<&T> {
    held.get(index % held.len().max(1))?.as_ref()
}

fn write_to(file: &File, data: &[u8], offset: u64) -> Outcome {
    file.write_all_at(data, offset)
        .map(|()| Vec::new())
        .map_err(|error| Errno::from_raw_os_error(error.raw_os_error().unwrap()))
}

fn read_from(file: &File) -> Vec<u8> {
    let mut content = vec![0; LIMIT];
    let mut length = 0;
    loop {
        match file.read_at(&mut content[length..], length as u64).unwrap() {
            0 => break,
            more => length += more,
        }
    }
    content.truncate(length);
    content
}

/// An overlay, called directly.
pub(crate) struct Direct {
    pub(crate) overlay: Overlay,
    held: Vec<Option<Ino>>,
}

impl Direct {
    pub(crate) fn new(overlay: Overlay) -> Self {
        Self {
            overlay,
            held: Vec::new(),
        }
    }

    /// Finds the node at `path`, with a reference for each node on the way that the test never gives back.
    pub(crate) fn find(&self, path: &Path) -> Result<Ino, Errno> {
        path.iter().try_fold(Ino::ROOT, |parent, name| {
            let found = self.overlay.lookup(parent, name).map_err(|error| error.errno)?;
            found.map(|stat| stat.ino).ok_or(Errno::NOENT)
        })
    }

    fn split<'a>(&self, path: &'a Path) -> Result<(Ino, &'a OsStr), Errno> {
        let parent = self.find(path.parent().unwrap())?;
        match self.overlay.getattr(parent).unwrap().kind {
            FileKind::Directory => Ok((parent, path.file_name().unwrap())),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn create(&self, path: &Path, node: NewNode<'_>, permissions: u32) -> Outcome {
        let (parent, name) = self.split(path)?;
        let mode = NewMode { permissions, umask: 0 };
        let made = self.overlay.create(Caller::ROOT, parent, name, node, mode);
        made.map(|_| Vec::new()).map_err(|error| error.errno)
    }

    fn change(&self, path: &Path, change: Change) -> Outcome {
        let ino = self.find(path)?;
        let changed = self.overlay.setattr(Caller::ROOT, ino, &change);
        changed.map(|_| Vec::new()).map_err(|error| error.errno)
    }

    pub(crate) fn read_all(&self, ino: Ino) -> Vec<u8> {
        let mut content = vec![0; LIMIT];
        let length = self.overlay.read(ino, 0, &mut content, Access::Noted).unwrap();
        content.truncate(length);
        content
    }

    fn look(&self, path: &Path) -> (Ino, Seen) {
        let ino = self.find(path).unwrap();
        let stat = self.overlay.getattr(ino).unwrap();
        let xattrs = self.overlay.xattr_names(ino).unwrap().into_iter().map(|name| {
            let value = self.overlay.xattr(ino, &name).unwrap().unwrap();
            (name, value)
        });
        let seen = Seen {
            kind: stat.kind,
            permissions: stat.permissions,
            owner: (stat.uid, stat.gid),
            links: stat.links,
            device: stat.device,
            content: match stat.kind {
                FileKind::Regular => self.read_all(ino),
                FileKind::Symlink => self.overlay.read_link(ino, Access::Noted).unwrap(),
                _ => Vec::new(),
            },
            xattrs: xattrs.collect(),
            same_as: PathBuf::new(),
        };
        (ino, seen)
    }

    /// Returns the inode numbers of all paths.
    pub(crate) fn numbers(&self) -> BTreeMap<PathBuf, Ino> {
        let mut numbers = BTreeMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let ino = self.find(&path).unwrap();
            if self.overlay.getattr(ino).unwrap().kind == FileKind::Directory {
                let mut listed = Vec::new();
                self.overlay
                    .read_dir(ino, 0, &mut |entry| {
                        listed.push((entry.name.to_owned(), entry.ino, entry.kind));
                        true
                    })
                    .unwrap();
                for (name, ino, kind) in listed {
                    let child = path.join(name);
                    assert_eq!(
                        self.find(&child),
                        Ok(ino),
                        "listed and found number of {}",
                        child.display()
                    );
                    assert_eq!(self.overlay.getattr(ino).unwrap().kind, kind);
                    todo.push(child);
                }
            }
            numbers.insert(path, ino);
        }
        numbers
    }
}

impl Target for Direct {
    fn apply(&mut self, op: &Op) -> Outcome {
        let done = |result: Result<(), crate::overlay::layer::LayerError>| {
            result.map(|()| Vec::new()).map_err(|error| error.errno)
        };
        match op {
            Op::Create(path, bits) => self.create(path, NewNode::Regular, *bits),
            Op::MakeDirectory(path, bits) => self.create(path, NewNode::Directory, *bits),
            Op::Symlink(path, target) => self.create(path, NewNode::Symlink(target), 0o777),
            Op::Special(path, kind, (major, minor)) => {
                let node = match kind {
                    FileKind::CharDevice => NewNode::CharDevice(*major, *minor),
                    FileKind::BlockDevice => NewNode::BlockDevice(*major, *minor),
                    FileKind::Socket => NewNode::Socket,
                    _ => NewNode::Fifo,
                };
                self.create(path, node, 0o600)
            }
            Op::Link(old, new) => {
                let ino = self.find(old)?;
                let (parent, name) = self.split(new)?;
                done(self.overlay.link(ino, parent, name).map(drop))
            }
            Op::Unlink(path) => {
                let (parent, name) = self.split(path)?;
                done(self.overlay.unlink(parent, name))
            }
            Op::RemoveDirectory(path) => {
                let (parent, name) = self.split(path)?;
                done(self.overlay.rmdir(parent, name))
            }
            Op::Rename(old, new, how) => {
                let (from, to) = (self.split(old)?, self.split(new)?);
                done(self.overlay.rename(Caller::ROOT, from, to, *how))
            }
            Op::Write(path, offset, data) => {
                let ino = self.find(path)?;
                done(self.overlay.write(ino, *offset, data, None).map(drop))
            }
            Op::Truncate(path, size) => self.change(
                path,
                Change {
                    size_bytes: Some(*size),
                    ..Change::default()
                },
            ),
            Op::Permissions(path, bits) => self.change(
                path,
                Change {
                    permissions: Some(*bits),
                    ..Change::default()
                },
            ),
            Op::Owner(path, uid, gid) => self.change(
                path,
                Change {
                    uid: Some(*uid),
                    gid: Some(*gid),
                    ..Change::default()
                },
            ),
            Op::SetXattr(path, name, value) => {
                let ino = self.find(path)?;
                done(self.overlay.set_xattr(ino, name, value, XattrFlags::empty()))
            }
            Op::RemoveXattr(path, name) => {
                let ino = self.find(path)?;
                done(self.overlay.remove_xattr(ino, name))
            }
            Op::Hold(path) => {
                let file = self
                    .find(path)
                    .and_then(|ino| match self.overlay.getattr(ino).unwrap().kind {
                        FileKind::Regular => Ok(ino),
                        FileKind::Directory => Err(Errno::ISDIR),
                        _ => Err(Errno::INVAL),
                    });
                self.held.push(file.ok());
                file.map(|_| Vec::new())
            }
            Op::WriteHeld(index, offset, data) => match held(&self.held, *index) {
                Some(&ino) => done(self.overlay.write(ino, *offset, data, None).map(drop)),
                None => Err(Errno::BADF),
            },
            Op::ReadHeld(index) => match held(&self.held, *index) {
                Some(&ino) => Ok(self.read_all(ino)),
                None => Err(Errno::BADF),
            },
        }
    }

    fn view(&self) -> View {
        let mut view = View::new();
        let mut first: HashMap<Ino, PathBuf> = HashMap::new();
        for path in self.numbers().into_keys() {
            let (ino, mut seen) = self.look(&path);
            seen.same_as = first.entry(ino).or_insert_with(|| path.clone()).clone();
            view.insert(path, seen);
        }
        view
    }
}
