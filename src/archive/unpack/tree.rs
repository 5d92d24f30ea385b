//! Creates members below a root directory, and nothing outside it: the kernel resolves parents as if the root were `/`
//! (openat2(2) `RESOLVE_IN_ROOT`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::archive::stream::{Kind, Member, Xattrs, relative};

/// A failed action: the verb for the message, and the cause.
pub(in crate::archive) type Failure = (&'static str, io::Error);

fn on<E: Into<io::Error>>(action: &'static str) -> impl Fn(E) -> Failure {
    move |error| (action, error.into())
}

/// The directory in which members are created.
#[derive(Debug)]
pub(in crate::archive) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// The parent of the previous member: most members share it.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories created here. Their times are set at the end, when no more members are created in them.
    directories: Vec<(PathBuf, Timespec)>,
    buffer: Vec<u8>,
}

impl<'a> Tree<'a> {
    /// Starts creating members below `root`.
    pub(in crate::archive) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            parent: None,
            directories: Vec::new(),
            buffer: vec![0; 128 << 10],
        }
    }

    /// Creates `member`; a regular file gets its bytes from `content`.
    pub(in crate::archive) fn place(&mut self, member: &Member, content: &mut impl Read) -> Result<(), Failure> {
        let (Some(name), Some(parent)) = (member.path.file_name(), member.path.parent()) else {
            // The root itself belongs to the caller.
            return Ok(());
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self
            .parent(parent)
            .and_then(|fd| fd.try_clone_to_owned().map_err(on("open the directory of")));
        let result = result.and_then(|parent| match &member.kind {
            Kind::Directory => self.directory(&parent, name, member),
            Kind::HardLink(target) => self.hard_link(&parent, name, target),
            Kind::Regular => regular(&parent, name, member, content, &mut buffer),
            Kind::Symlink(target) => make_way(&parent, name)
                .and_then(|()| rustix::fs::symlinkat(&target[..], &parent, name).map_err(on("create")))
                .and_then(|()| metadata(&parent, name, member)),
            _ => special(&parent, name, member),
        });
        self.buffer = buffer;
        result
    }

    /// Sets the times of the created directories, in any order, since nothing is created any more.
    pub(in crate::archive) fn finish(self) -> Result<(), (PathBuf, Failure)> {
        for (path, modified) in self.directories {
            let set = || {
                let directory = resolve(self.root, &path)?;
                let times = timestamps(modified);
                rustix::fs::utimensat(&directory, "", &times, AtFlags::EMPTY_PATH).or_else(|_| {
                    rustix::fs::utimensat(CWD, proc_path(directory.as_fd(), None), &times, AtFlags::empty())
                })
            };
            set().map_err(|errno| (path, ("set the times of", errno.into())))?;
        }
        Ok(())
    }

    /// Opens the directory `path`, and creates (0755) what is missing of it.
    fn parent(&mut self, path: &Path) -> Result<BorrowedFd<'_>, Failure> {
        if self.parent.as_ref().is_none_or(|(cached, _)| cached != path) {
            let fd = match resolve(self.root, path) {
                Err(Errno::NOENT) => self.make_parents(path),
                other => other,
            };
            self.parent = Some((path.to_owned(), fd.map_err(on("open the directory of"))?));
        }
        match &self.parent {
            Some((_, fd)) => Ok(fd.as_fd()),
            None => Ok(self.root),
        }
    }

    fn make_parents(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let mut directory = resolve(self.root, Path::new(""))?;
        let mut walked = PathBuf::new();
        for part in path {
            walked.push(part);
            directory = match resolve(self.root, &walked) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&directory, part, Mode::from_raw_mode(0o755))?;
                    rustix::fs::chmodat(&directory, part, Mode::from_raw_mode(0o755), AtFlags::empty())?;
                    resolve(self.root, &walked)?
                }
                other => other?,
            };
        }
        Ok(directory)
    }

    fn directory(&mut self, parent: &OwnedFd, name: &OsStr, member: &Member) -> Result<(), Failure> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            // As dpkg does: a directory, or a symbolic link to one inside the root, stays as it is.
            Err(Errno::EXIST) if resolve(self.root, &member.path).is_ok() => return Ok(()),
            Err(Errno::EXIST) => {
                make_way(parent, name)?;
                rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(on("create"))?;
            }
            Err(errno) => return Err(on("create")(errno)),
        }
        self.directories.push((member.path.clone(), member.modified));
        metadata(parent, name, member)
    }

    fn hard_link(&mut self, parent: &OwnedFd, name: &OsStr, target: &[u8]) -> Result<(), Failure> {
        let bad = |problem: &'static str| ("link", io::Error::new(io::ErrorKind::InvalidData, problem));
        let target = relative(Path::new(OsStr::from_bytes(target))).map_err(bad)?;
        let (Some(target_name), Some(target_parent)) = (target.file_name(), target.parent()) else {
            return Err(bad("it links to the root directory"));
        };
        let directory = resolve(self.root, target_parent).map_err(on("find the link target of"))?;
        let wanted = rustix::fs::statat(&directory, target_name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(on("find the link target of"))?;
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino) => return Ok(()),
            _ => make_way(parent, name)?,
        }
        rustix::fs::linkat(&directory, target_name, parent, name, AtFlags::empty()).map_err(on("link"))
    }
}

/// Opens the directory `path` below `root`; the kernel follows symbolic links inside the root.
fn resolve(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    loop {
        match rustix::fs::openat2(
            root,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        ) {
            // openat2(2): a rename raced with the resolution; try again.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Removes the file at `name`, unless it is a directory that is not empty.
fn make_way(parent: &OwnedFd, name: &OsStr) -> Result<(), Failure> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(on("replace the directory at"))
        }
        Err(errno) => Err(on("replace")(errno)),
    }
}

fn regular(
    parent: &OwnedFd,
    name: &OsStr,
    member: &Member,
    content: &mut impl Read,
    buffer: &mut [u8],
) -> Result<(), Failure> {
    make_way(parent, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(on("create"))?;
    let mut file = File::from(file);
    let mut missing = member.size_bytes;
    while missing > 0 {
        let count = match content.read(buffer) {
            Ok(0) => return Err(("read", io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(("read", error)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        file.write_all(bytes).map_err(on("write"))?;
        missing = missing.saturating_sub(count as u64);
    }
    // The owner first: changing it clears set-id bits and capabilities (chown(2)).
    rustix::fs::fchown(&file, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid)))
        .map_err(on("set the owner of"))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(member.permissions)).map_err(on("set the mode of"))?;
    for (name, value) in allowed_xattrs(member)? {
        rustix::fs::fsetxattr(&file, &name[..], value, XattrFlags::empty())
            .map_err(on("set an extended attribute of"))?;
    }
    rustix::fs::futimens(&file, &timestamps(member.modified)).map_err(on("set the times of"))
}

fn special(parent: &OwnedFd, name: &OsStr, member: &Member) -> Result<(), Failure> {
    let (kind, device) = match member.kind {
        Kind::CharDevice(major, minor) => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
        Kind::BlockDevice(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        _ => (FileType::Fifo, 0),
    };
    make_way(parent, name)?;
    rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device).map_err(on("create"))?;
    metadata(parent, name, member)
}

/// Sets owner, mode, extended attributes and time of the file at `name`; does not follow a link.
fn metadata(parent: &OwnedFd, name: &OsStr, member: &Member) -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(on("set the owner of"))?;
    if !matches!(member.kind, Kind::Symlink(_)) {
        // Just created here, so it is no link; fchmodat(2) has no flag to say so.
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(member.permissions), AtFlags::empty())
            .map_err(on("set the mode of"))?;
    }
    let xattrs = allowed_xattrs(member)?;
    if !xattrs.is_empty() {
        let path = proc_path(parent.as_fd(), Some(name));
        for (name, value) in xattrs {
            rustix::fs::lsetxattr(&path, &name[..], value, XattrFlags::empty())
                .map_err(on("set an extended attribute of"))?;
        }
    }
    let times = timestamps(member.modified);
    rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(on("set the times of"))
}

/// Returns the attributes to set. Refuses those by which an overlay marks its own files: with them, a package could
/// make other packages' files disappear.
fn allowed_xattrs(member: &Member) -> Result<&Xattrs, Failure> {
    let reserved = |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    if member.xattrs.iter().any(|(name, _)| reserved(name)) {
        let problem = "it carries attributes that are reserved for overlay file systems";
        return Err(("create", io::Error::new(io::ErrorKind::InvalidData, problem)));
    }
    if !member.acl_texts.is_empty() {
        let problem = "its access control list is malformed, or names an account without its number";
        return Err(("create", io::Error::new(io::ErrorKind::InvalidData, problem)));
    }
    Ok(&member.xattrs)
}

fn timestamps(modified: Timespec) -> Timestamps {
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}

/// Makes a path for system calls that take no directory descriptor.
fn proc_path(directory: BorrowedFd<'_>, name: Option<&OsStr>) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    path.extend(name);
    path
}
