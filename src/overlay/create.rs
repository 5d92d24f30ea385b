//! New nodes.
//!
//! Where the layers have nothing, a node is made in place, so that the upper's file system hands down default ACLs
//! and set-group-id as on any file system. Where something was deleted, the node is made in the work directory and
//! replaces the whiteout in one step: killed at any time, what was deleted stays deleted.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, fgetxattr, fsetxattr, fstat, makedev, mkdirat, mknodat, openat,
    statat, symlinkat, unlinkat,
};

use super::copy_up::mark_impure;
use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerResult};
use super::lookup::{Found, Metadata};
use super::mark::{Note, OPAQUE, YES};
use super::node::{DefaultAcl, NewEntry, Node, Upper, UpperDirectory, UpperFile};
use super::place::Place;
use super::stat::{Caller, NewMode, NewNode, Stat};
use super::work::{is_whiteout, open_directory};
use super::{Names, Overlay, check_name};
use crate::sync::{Arc, lock};

const DEFAULT_ACL: &str = "system.posix_acl_default";
const SET_GROUP_ID: u32 = libc::S_ISGID;
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// The state of a free name in the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vacancy {
    Free,
    Whiteout,
}

/// A request for a new node.
#[derive(Debug, Clone, Copy)]
struct Wish<'a> {
    node: NewNode<'a>,
    mode: NewMode,
    caller: Caller,
    /// Whether the directory's default ACL decides the permissions.
    has_acl: bool,
}

impl Overlay {
    /// Makes a node named `name` in the directory `parent` and takes a reference to it.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` (the directory was deleted), `EROFS`, or what the upper's file system says.
    pub fn create(
        &self,
        caller: Caller,
        parent: Ino,
        name: &OsStr,
        node: NewNode<'_>,
        mode: NewMode,
    ) -> LayerResult<Stat> {
        check_name(name)?;
        let parent = self.directory(parent)?;
        self.copy_up(&parent, u64::MAX)?;
        let names = self.write_names();
        let upper = parent.upper_directory().ok_or(Errno::STALE)?;
        if is_zero_device(node) {
            mark_impure(&parent)?;
        }
        let wish = Wish {
            node,
            mode,
            caller,
            has_acl: has_default_acl(upper)?,
        };
        let (io, stat) = match self.vacancy_unless_free(&names, &parent, name)? {
            None => match make(&upper.descriptor, name, wish, upper, true) {
                Err(Errno::EXIST) if self.vacancy(&names, &parent, name)? == Vacancy::Whiteout => {
                    self.make_over_whiteout(upper, name, wish)?
                }
                result => result?,
            },
            Some(_) => self.make_over_whiteout(upper, name, wish)?,
        };
        let found = found(upper, name, node, stat)?;
        let ino = found.ino;
        let (made, stat) = self.enter(&names, &parent, name, found)?;
        if let Some(listing) = parent.listing().as_deref_mut() {
            listing.insert(name, node.kind(), ino);
        }
        if let (Some(io), Some(file), FileKind::Regular) = (io, made.upper_file(), made.kind) {
            *lock(&file.io) = Some(Arc::new(io));
            self.open_files.add(&made);
        }
        Ok(stat)
    }

    /// Checks that `name` is not visible in `directory`, and returns what the upper has there; `EEXIST` if it is
    /// visible.
    pub(super) fn vacancy(&self, _: &Names, directory: &Node, name: &OsStr) -> LayerResult<Vacancy> {
        let upper = directory.upper_directory().ok_or(Errno::STALE)?;
        match statat(&upper.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_whiteout(&stat) => Ok(Vacancy::Whiteout),
            Ok(_) => Err(Errno::EXIST.into()),
            Err(Errno::NOENT) if self.is_covering(directory, name)? => Err(Errno::EXIST.into()),
            Err(Errno::NOENT) => Ok(Vacancy::Free),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Checks as [`Self::vacancy`] does; returns `None`, without looking at the upper, if no layer has the name.
    fn vacancy_unless_free(&self, names: &Names, directory: &Node, name: &OsStr) -> LayerResult<Option<Vacancy>> {
        if self.is_covering(directory, name)? {
            self.vacancy(names, directory, name).map(Some)
        } else {
            Ok(None)
        }
    }

    fn make_over_whiteout(
        &self,
        upper: &UpperDirectory,
        name: &OsStr,
        wish: Wish<'_>,
    ) -> LayerResult<(Option<OwnedFd>, rustix::fs::Stat)> {
        let directory = &upper.descriptor;
        if wish.has_acl {
            // Only the directory itself hands its ACL down. (This case takes two steps.)
            unlinkat(directory, name, AtFlags::empty())?;
            let made = make(directory, name, wish, upper, true)?;
            if wish.node == NewNode::Directory {
                set_opaque(&open_directory(directory, name)?)?;
            }
            return Ok(made);
        }
        let temporary = self.work()?.temporary();
        let made = make(temporary.directory(), temporary.name(), wish, upper, false)?;
        if wish.node == NewNode::Directory {
            set_opaque(&open_directory(temporary.directory(), temporary.name())?)?;
            temporary.exchange(directory, name)?;
        } else {
            temporary.commit(directory, name)?;
        }
        Ok(made)
    }

    /// Makes a character device 0:0 as users see it, in the work directory, for [`Self::rename`].
    pub(super) fn make_zero_device(&self, caller: Caller) -> LayerResult<super::work::Temporary<'_>> {
        let temporary = self.work()?.temporary();
        let (directory, name) = (temporary.directory(), temporary.name());
        let wish = Wish {
            node: NewNode::CharDevice(0, 0),
            mode: NewMode {
                permissions: 0,
                umask: 0,
            },
            caller,
            has_acl: false,
        };
        make_bare(directory, name, wish)?;
        let place = temporary.place();
        place.set_note(zero_device_note())?;
        place.set_owner(Some(caller.uid), Some(caller.gid))?;
        Ok(temporary)
    }
}

/// Makes a node with its metadata. With `in_place`, `directory` is its directory in the upper; otherwise this
/// function does what that directory (`parent`) would do.
fn make(
    directory: &Arc<OwnedFd>,
    name: &OsStr,
    wish: Wish<'_>,
    parent: &UpperDirectory,
    in_place: bool,
) -> Result<(Option<OwnedFd>, rustix::fs::Stat), Errno> {
    let io = make_bare(directory, name, wish)?;
    let place = Place::named(directory, name);
    match dress(&place, io.as_ref(), wish, parent, in_place) {
        Ok(stat) => Ok((io, stat)),
        Err(errno) => {
            let flags = if wish.node == NewNode::Directory {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            let _ = unlinkat(directory, name, flags);
            Err(errno)
        }
    }
}

fn make_bare(directory: &Arc<OwnedFd>, name: &OsStr, wish: Wish<'_>) -> Result<Option<OwnedFd>, Errno> {
    let umask = if wish.has_acl { 0 } else { wish.mode.umask };
    let mode = Mode::from_raw_mode(wish.mode.permissions & !umask & 0o7777);
    let special = |kind, device| mknodat(directory, name, kind, mode, device);
    match wish.node {
        node if node == NewNode::Regular || is_zero_device(node) => {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return openat(directory, name, flags, mode).map(Some);
        }
        NewNode::Regular => {}
        NewNode::Directory => mkdirat(directory, name, mode)?,
        NewNode::Symlink(target) => symlinkat(target, directory, name)?,
        NewNode::Fifo => special(FileType::Fifo, 0)?,
        NewNode::Socket => special(FileType::Socket, 0)?,
        NewNode::CharDevice(major, minor) => special(FileType::CharacterDevice, makedev(major, minor))?,
        NewNode::BlockDevice(major, minor) => special(FileType::BlockDevice, makedev(major, minor))?,
    }
    Ok(None)
}

/// Sets owner, mode and note where they differ from `wish`.
fn dress(
    place: &Place,
    io: Option<&OwnedFd>,
    wish: Wish<'_>,
    parent: &UpperDirectory,
    in_place: bool,
) -> Result<rustix::fs::Stat, Errno> {
    let look = || io.map_or_else(|| place.stat(), fstat);
    let stat = look()?;
    let is_directory = wish.node == NewNode::Directory;
    let mut gid = wish.caller.gid;
    let mut set_group_id = if is_directory { stat.st_mode & SET_GROUP_ID } else { 0 };
    if !in_place || gid != stat.st_gid {
        let parent = fstat(&parent.descriptor)?;
        if parent.st_mode & SET_GROUP_ID != 0 {
            gid = parent.st_gid;
            set_group_id = if is_directory { SET_GROUP_ID } else { 0 };
        }
    }
    let mut is_changed = false;
    if is_zero_device(wish.node) {
        place.set_note(zero_device_note())?;
    }
    if (stat.st_uid, stat.st_gid) != (wish.caller.uid, gid) {
        place.set_owner(Some(wish.caller.uid), Some(gid))?;
        is_changed = true;
    }
    if !matches!(wish.node, NewNode::Symlink(_)) {
        let wanted = if wish.has_acl {
            (stat.st_mode & 0o7777) | (wish.mode.permissions & SET_ID)
        } else {
            (wish.mode.permissions & !wish.mode.umask & 0o7777) | set_group_id
        };
        if stat.st_mode & 0o7777 != wanted || (is_changed && wanted & SET_ID != 0) {
            place.set_permissions(wanted)?;
            is_changed = true;
        }
    }
    if is_changed { look() } else { Ok(stat) }
}

fn is_zero_device(node: NewNode<'_>) -> bool {
    node == NewNode::CharDevice(0, 0)
}

pub(super) fn zero_device_note() -> Note {
    Note {
        zero_device: true,
        ..Note::default()
    }
}

/// Returns the new node of the upper, with its metadata `stat`.
fn found(parent: &UpperDirectory, name: &OsStr, node: NewNode<'_>, stat: rustix::fs::Stat) -> LayerResult<Found> {
    let upper = if node == NewNode::Directory {
        Upper::Directory(UpperDirectory::new(
            open_directory(&parent.descriptor, name)?,
            false,
            None,
        ))
    } else {
        Upper::File(UpperFile {
            is_zero_device: is_zero_device(node),
            ..UpperFile::default()
        })
    };
    Ok(Found {
        ino: Ino::of_upper(stat.st_ino)?,
        entry: NewEntry {
            kind: node.kind(),
            lowers: Vec::new(),
            upper: Some(upper),
            links: None,
            changed: None,
        },
        metadata: Metadata::Upper(Box::new(stat)),
        is_in_upper: true,
    })
}

/// Makes a directory of the upper hide those below it.
pub(super) fn set_opaque(directory: &OwnedFd) -> Result<(), Errno> {
    fsetxattr(directory, OPAQUE, YES, XattrFlags::empty())
}

fn has_default_acl(directory: &UpperDirectory) -> Result<bool, Errno> {
    if directory.default_acl() == DefaultAcl::Unknown {
        let state = match fgetxattr(&directory.descriptor, DEFAULT_ACL, &mut [0_u8; 0][..]) {
            Ok(_) => DefaultAcl::Present,
            Err(Errno::NODATA | Errno::OPNOTSUPP) => DefaultAcl::Absent,
            Err(errno) => return Err(errno),
        };
        directory.set_default_acl(state);
    }
    Ok(directory.default_acl() == DefaultAcl::Present)
}
