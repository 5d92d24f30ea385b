//! The work directory beside the upper: unfinished nodes, and the index of hard links.
//!
//! Nothing in `oic-tmp` matters after a crash. `oic-index` has a name for every file of a layer with several names
//! that was copied up: the inode number it has in the overlay, in decimal. It is a further hard link of the copy, so
//! that all names of the layer find it; or a stub that only records how many of these names are left.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, fgetxattr, flock, linkat, mkdirat, mknodat,
    open, openat, renameat_with, unlinkat,
};

use super::OverlayError;
use super::ino::Ino;
use super::layer::{Errno, FileKind, Timestamp};
use super::mark::{Note, OPAQUE};
use super::place::Place;
use super::stat::changed;
use super::unnoted::open_unnoted;
use crate::durable::PathError;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};

const TEMPORARY: &str = "oic-tmp";
const INDEX: &str = "oic-index";
/// A whiteout in [`TEMPORARY`]. Others are hard links of it, which are cheaper than new inodes.
const WHITEOUT: &str = "whiteout";

/// The open work directory; locked against other overlays.
#[derive(Debug)]
pub(super) struct Work {
    /// The descriptor that holds the lock.
    _directory: OwnedFd,
    temporary: Arc<OwnedFd>,
    index: Arc<OwnedFd>,
    has_index: AtomicBool,
    names: AtomicU64,
}

/// A name in the directory for unfinished nodes. Dropping it deletes the node with that name.
#[derive(Debug)]
pub(super) struct Temporary<'a> {
    work: &'a Work,
    name: OsString,
    is_gone: Cell<bool>,
}

/// The number of attempts to take the lock, with pauses: half a second in all.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

impl Work {
    pub(super) fn open(path: &Path) -> Result<Self, OverlayError> {
        let on = |action| move |errno: Errno| PathError::on(action, path)(errno.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(on("open the work directory"))?;
        // A child that another thread has just forked holds the inherited descriptors until it executes its program.
        let mut patience = LOCK_ATTEMPTS;
        loop {
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if patience > 0 => patience -= 1,
                Err(Errno::WOULDBLOCK) => return Err(OverlayError::Busy(path.to_owned())),
                Err(errno) => return Err(on("lock the work directory")(errno).into()),
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        remove_tree(&directory, OsStr::new(TEMPORARY)).map_err(on("clean up the work directory"))?;
        let make = |name| {
            match mkdirat(&directory, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            open_directory(&directory, OsStr::new(name))
        };
        let temporary = make(TEMPORARY).map_err(on("set up the work directory"))?;
        let index = make(INDEX).map_err(on("set up the work directory"))?;
        let has_index = names_in(&index)
            .map_err(on("read the work directory"))?
            .next()
            .is_some();
        Ok(Self {
            _directory: directory,
            temporary: Arc::new(temporary),
            index: Arc::new(index),
            has_index: AtomicBool::new(has_index),
            names: AtomicU64::new(0),
        })
    }

    /// Returns an unused name.
    pub(super) fn temporary(&self) -> Temporary<'_> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        Temporary {
            work: self,
            name: number.to_string().into(),
            is_gone: Cell::new(false),
        }
    }

    /// Makes `name` in `directory`, where it must not exist, a whiteout.
    pub(super) fn put_whiteout(&self, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        for _ in 0..2 {
            match linkat(&self.temporary, WHITEOUT, directory, name, AtFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => {}
                // It has as many links as the file system allows: continue with a new one.
                Err(Errno::MLINK) => unlinkat(&self.temporary, WHITEOUT, AtFlags::empty())?,
                Err(Errno::EXIST) => return Err(Errno::EXIST),
                Err(_) => break,
            }
            make_whiteout(&self.temporary, OsStr::new(WHITEOUT))?;
        }
        // The file system has no hard links of devices, or another thread was quicker.
        make_whiteout(directory, name)
    }

    /// Replaces the node that `name` in `directory` names by a whiteout.
    pub(super) fn replace_by_whiteout(&self, directory: &OwnedFd, name: &OsStr, kind: FileKind) -> Result<(), Errno> {
        let temporary = self.temporary();
        self.put_whiteout(&self.temporary, &temporary.name)?;
        match kind {
            FileKind::Directory => temporary.exchange(directory, name),
            _ => temporary.commit(directory, name),
        }
    }

    /// Returns the place of the file with this number in the index, which may not exist.
    pub(super) fn indexed(&self, ino: Ino) -> Place {
        Place::named(&self.index, &index_name(ino))
    }

    /// Returns metadata and note of the file with this number in the index.
    pub(super) fn look_up(&self, ino: Ino) -> Result<Option<(rustix::fs::Stat, Note)>, Errno> {
        if !self.has_index.load(Ordering::Acquire) {
            return Ok(None);
        }
        let place = self.indexed(ino);
        match place.stat() {
            Ok(stat) => Ok(Some((stat, place.note()?.unwrap_or_default()))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Adds the node that `made` names to the index as well, replacing a stub.
    pub(super) fn add_to_index(&self, ino: Ino, made: &Temporary<'_>) -> Result<(), Errno> {
        let link = self.temporary();
        made.place().link_to(&self.temporary, &link.name)?;
        link.commit(&self.index, &index_name(ino))?;
        self.has_index.store(true, Ordering::Release);
        Ok(())
    }

    /// Records that only `links` of the names of a file that is not copied up are left; returns the time of that
    /// change.
    pub(super) fn put_stub(&self, ino: Ino, links: u32) -> Result<Timestamp, Errno> {
        let note = Note {
            ino: ino.0,
            links: Some(links),
            stub: true,
            ..Note::default()
        };
        let stub = self.temporary();
        mknodat(&self.temporary, &stub.name, FileType::RegularFile, Mode::RUSR, 0)?;
        stub.place().set_note(note)?;
        stub.commit(&self.index, &index_name(ino))?;
        self.has_index.store(true, Ordering::Release);
        Ok(changed(&self.indexed(ino).stat()?))
    }

    pub(super) fn remove_from_index(&self, ino: Ino) -> Result<(), Errno> {
        match unlinkat(&self.index, index_name(ino), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }
}

impl Temporary<'_> {
    pub(super) fn directory(&self) -> &Arc<OwnedFd> {
        &self.work.temporary
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn place(&self) -> Place {
        Place::named(&self.work.temporary, &self.name)
    }

    /// Moves it to `name` in `directory`, over an existing non-directory.
    pub(super) fn commit(&self, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        renameat_with(self.directory(), &self.name, directory, name, RenameFlags::empty())?;
        self.is_gone.set(true);
        Ok(())
    }

    /// Moves it to `name` in `directory`, where nothing may exist.
    pub(super) fn commit_new(&self, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        renameat_with(self.directory(), &self.name, directory, name, RenameFlags::NOREPLACE)?;
        self.is_gone.set(true);
        Ok(())
    }

    /// Exchanges it with the node at `name` in `directory`.
    pub(super) fn exchange(&self, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        renameat_with(self.directory(), &self.name, directory, name, RenameFlags::EXCHANGE)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if self.is_gone.get() {
            return;
        }
        if let Err(errno) = remove_tree(self.directory(), &self.name) {
            tracing::warn!("cannot delete a temporary file of the overlay: {errno}");
        }
    }
}

fn index_name(ino: Ino) -> OsString {
    ino.0.to_string().into()
}

/// Returns whether `stat` is that of a whiteout (overlayfs.rst, "whiteouts and opaque directories").
pub(super) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn make_whiteout(directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Opens a directory for reading.
pub(super) fn open_directory(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Returns the entries of a directory without `.` and `..`: name, type (which can be unknown) and inode number.
pub(super) fn names_in(
    directory: &OwnedFd,
) -> Result<impl Iterator<Item = Result<(OsString, FileType, u64), Errno>> + use<>, Errno> {
    // Its own position in the directory.
    let entries = Dir::new(open_unnoted(
        directory,
        OsStr::new("."),
        OFlags::RDONLY | OFlags::DIRECTORY,
    )?)?;
    Ok(entries.filter_map(|entry| match entry {
        Ok(entry) => {
            let name = entry.file_name().to_bytes();
            (name != b"." && name != b"..")
                .then(|| Ok((OsString::from_vec(name.to_vec()), entry.file_type(), entry.ino())))
        }
        Err(errno) => Some(Err(errno)),
    }))
}

/// Deletes the whiteouts in a directory that shows nothing. Until the end the directory is opaque: names hidden by
/// the whiteouts stay hidden if this process is killed.
pub(super) fn clear_whiteouts(directory: &Arc<OwnedFd>) -> Result<(), Errno> {
    let mut is_opaque = match fgetxattr(directory, OPAQUE, &mut [0_u8; 1][..]) {
        Ok(_) => true,
        // A longer value is no mark of overlayfs.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => false,
        Err(errno) => return Err(errno),
    };
    for entry in names_in(directory)? {
        let (name, _, _) = entry?;
        let stat = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_whiteout(&stat) {
            return Err(Errno::NOTEMPTY);
        }
        if !is_opaque {
            Place::File(Arc::clone(directory)).set_xattr(
                OsStr::new(OPAQUE),
                super::mark::YES,
                rustix::fs::XattrFlags::empty(),
            )?;
            is_opaque = true;
        }
        unlinkat(directory, &name, AtFlags::empty())?;
    }
    Ok(())
}

/// Deletes `name` in `directory` with all below it, if it exists. Only for our own temporary files.
fn remove_tree(directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    // Directories yet to be emptied, the innermost last; each is read again after its subdirectories are gone.
    let mut open = vec![(open_directory(directory, name)?, name.to_owned())];
    while let Some((current, _)) = open.last() {
        let mut inner = None;
        for entry in names_in(current)? {
            let (name, ..) = entry?;
            match unlinkat(current, &name, AtFlags::empty()) {
                Ok(()) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    inner = Some((open_directory(current, &name)?, name));
                    break;
                }
                Err(errno) => return Err(errno),
            }
        }
        if let Some(inner) = inner {
            open.push(inner);
            continue;
        }
        let Some((_, name)) = open.pop() else { break };
        let parent = open.last().map_or(directory, |(parent, _)| parent);
        unlinkat(parent, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}
