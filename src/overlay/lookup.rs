//! From a name to a node and its metadata.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, fgetxattr, statat};

use super::ino::Ino;
use super::layer::{Attributes, Errno, FileKind, LayerResult};
use super::mark::{IMPURE, OPAQUE, REDIRECT, YES};
use super::node::{LowerRef, NewEntry, Node, Upper, UpperDirectory, UpperFile};
use super::place::Place;
use super::stat::{Access, Stat, changed};
use super::work::{is_whiteout, open_directory};
use super::{Names, Overlay, check_name};
use crate::sync::{Arc, lock};

/// The result of looking up a name.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ino: Ino,
    pub(super) entry: NewEntry,
    pub(super) metadata: Metadata,
    /// Whether the upper has it under this very name.
    pub(super) is_in_upper: bool,
}

#[derive(Debug)]
pub(super) enum Metadata {
    Layer(Attributes),
    Upper(Box<rustix::fs::Stat>),
}

impl Overlay {
    /// Finds `name` in the directory `parent` and takes a reference to it, to be given back by [`Self::forget`].
    ///
    /// # Errors
    /// `ESTALE`, `ENOTDIR`, `ENAMETOOLONG`, or the error of a layer or the upper.
    pub fn lookup(&self, parent: Ino, name: &OsStr) -> LayerResult<Option<Stat>> {
        check_name(name)?;
        let parent = self.directory(parent)?;
        let names = self.read_names();
        let Some(found) = self.resolve(&names, &parent, name)? else {
            return Ok(None);
        };
        self.enter(&names, &parent, name, found).map(|(_, stat)| Some(stat))
    }

    /// Gives back `count` references to `ino`.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.table.forget(ino, count);
    }

    /// Returns the metadata of a node.
    ///
    /// # Errors
    /// `ESTALE`, or the error of a layer or the upper.
    pub fn getattr(&self, ino: Ino) -> LayerResult<Stat> {
        let names = self.read_names();
        let node = self.table.get(ino)?;
        self.stat(&names, &node)
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` if it is not one, or the error of a layer or the upper.
    pub fn read_link(&self, ino: Ino, access: Access) -> LayerResult<Vec<u8>> {
        let node = self.table.get(ino)?;
        if node.kind != FileKind::Symlink {
            return Err(Errno::INVAL.into());
        }
        match (node.upper(), node.lowers.first()) {
            (None, Some(&lower)) => {
                let (layer, lower) = self.layer_of(lower).ok_or(Errno::STALE)?;
                layer.read_link(lower)
            }
            _ => {
                let names = self.read_names();
                Ok(self.place(&names, &node)?.read_link(access)?)
            }
        }
    }

    /// Takes a reference to the node of `found`, and returns the node with its metadata.
    pub(super) fn enter(
        &self,
        names: &Names,
        parent: &Node,
        name: &OsStr,
        found: Found,
    ) -> LayerResult<(Arc<Node>, Stat)> {
        let node = self.table.enter(found.ino, parent.ino, name, found.entry);
        match self.shown(names, &node, &found.metadata) {
            Ok(stat) => Ok((node, stat)),
            Err(error) => {
                self.table.forget(found.ino, 1);
                Err(error)
            }
        }
    }

    pub(super) fn stat(&self, names: &Names, node: &Node) -> LayerResult<Stat> {
        let metadata = match node.upper() {
            Some(Upper::Directory(directory)) => Metadata::Upper(Box::new(rustix::fs::fstat(&directory.descriptor)?)),
            Some(Upper::File(_)) => Metadata::Upper(Box::new(self.place(names, node)?.stat()?)),
            None => {
                let lower = node.lowers.first().ok_or(Errno::STALE)?;
                Metadata::Layer(self.lower_attributes(*lower)?)
            }
        };
        self.shown(names, node, &metadata)
    }

    /// Returns `metadata` as it is shown for `node`.
    fn shown(&self, names: &Names, node: &Node, metadata: &Metadata) -> LayerResult<Stat> {
        let mut stat = match metadata {
            Metadata::Layer(attributes) => {
                let stat = Stat::of_layer(node.ino, node.generation, attributes);
                let changed = node.changed().unwrap_or(stat.changed);
                Stat { changed, ..stat }
            }
            Metadata::Upper(stat) => Stat::of_upper(node.ino, node.generation, node.kind, stat),
        };
        if node.is_directory() {
            let is_merged = !node.lowers.is_empty() && (node.upper().is_some() || node.lowers.len() > 1);
            if is_merged && stat.links != 0 {
                let directories = self.with_listing(names, node, |listing| listing.directories())?;
                stat.links = directories.saturating_add(2);
            }
        }
        if let Some(links) = node.links() {
            stat.links = links;
        }
        Ok(stat)
    }

    /// Returns the place of `node` in the upper; `EROFS` if it is not there.
    pub(super) fn place(&self, _: &Names, node: &Node) -> LayerResult<Place> {
        let file = match node.upper() {
            Some(Upper::Directory(directory)) => return Ok(Place::File(Arc::clone(&directory.descriptor))),
            Some(Upper::File(file)) => file,
            None => return Err(Errno::ROFS.into()),
        };
        if let Some(io) = &*lock(&file.io) {
            return Ok(Place::File(Arc::clone(io)));
        }
        if let Some(pinned) = file.pinned.get() {
            return Ok(Place::Open(Arc::clone(pinned)));
        }
        if file.is_indexed {
            return Ok(self.work()?.indexed(node.ino));
        }
        let (parent, name) = self.table.first_link(node.ino).ok_or(Errno::STALE)?;
        let directory = parent.upper_directory().ok_or(Errno::STALE)?;
        Ok(Place::named(&directory.descriptor, &name))
    }

    /// Finds the node that `name` in `parent` names; `None` if there is no such name.
    pub(super) fn resolve(&self, _: &Names, parent: &Node, name: &OsStr) -> LayerResult<Option<Found>> {
        if let Some(directory) = parent.upper_directory() {
            match statat(&directory.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_whiteout(&stat) => return Ok(None),
                Ok(stat) if FileKind::from_mode(stat.st_mode) == Some(FileKind::Directory) => {
                    return self.upper_directory_found(parent, directory, name, stat).map(Some);
                }
                Ok(stat) => return upper_file_found(directory, name, stat).map(Some),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        match self.lower_child(&parent.lowers, name)? {
            None => Ok(None),
            Some(found) => self.lower_found(found.refs, found.attributes).map(Some),
        }
    }

    fn upper_directory_found(
        &self,
        parent: &Node,
        directory: &UpperDirectory,
        name: &OsStr,
        stat: rustix::fs::Stat,
    ) -> LayerResult<Found> {
        let upper = open_upper_directory(open_directory(&directory.descriptor, name)?)?;
        let redirect = lock(&upper.redirect).clone();
        let lowers = match redirect {
            Some(path) if path.starts_with(b"/") => self.lower_directory(0, &path)?,
            // The kernel writes a bare name for a rename within one directory.
            Some(name) => {
                self.lower_directory_in(&parent.lowers, std::os::unix::ffi::OsStrExt::from_bytes(&name[..]))?
            }
            None if parent.lowers.is_empty() => Vec::new(),
            None => {
                let lowers = self.lower_directory_in(&parent.lowers, name)?;
                if !lowers.is_empty() && has_mark(&upper.descriptor, OPAQUE)? {
                    Vec::new()
                } else {
                    lowers
                }
            }
        };
        let ino = match lowers.first() {
            Some(&lower) => self.lower_ino(lower)?,
            None => Ino::of_upper(stat.st_ino)?,
        };
        Ok(Found {
            ino,
            entry: NewEntry {
                kind: FileKind::Directory,
                lowers,
                upper: Some(Upper::Directory(upper)),
                links: None,
                changed: None,
            },
            metadata: Metadata::Upper(Box::new(stat)),
            is_in_upper: true,
        })
    }

    /// Returns the parts of the directory `name` in the directory merged of `parents`; empty if it is absent.
    fn lower_directory_in(&self, parents: &[LowerRef], name: &OsStr) -> LayerResult<Vec<LowerRef>> {
        let found = self.lower_child(parents, name)?;
        Ok(found
            .filter(|found| found.attributes.kind == FileKind::Directory)
            .map(|found| found.refs)
            .unwrap_or_default())
    }

    fn lower_found(&self, refs: Vec<LowerRef>, attributes: Attributes) -> LayerResult<Found> {
        let first = *refs.first().ok_or(Errno::STALE)?;
        let mut found = Found {
            ino: self.lower_ino(first)?,
            entry: NewEntry {
                kind: attributes.kind,
                lowers: refs,
                upper: None,
                links: None,
                changed: None,
            },
            metadata: Metadata::Layer(attributes),
            is_in_upper: false,
        };
        if attributes.kind == FileKind::Directory || attributes.links < 2 {
            return Ok(found);
        }
        let Some(work) = &self.work else {
            return Ok(found);
        };
        // Another of its names may have been copied up or deleted.
        if let Some((stat, note)) = work.look_up(found.ino)? {
            found.entry.links = note.links;
            found.entry.changed = Some(changed(&stat));
            if !note.stub {
                found.entry.upper = Some(Upper::File(UpperFile {
                    is_indexed: true,
                    ..UpperFile::default()
                }));
                found.metadata = Metadata::Upper(Box::new(stat));
            }
        }
        Ok(found)
    }
}

fn upper_file_found(directory: &UpperDirectory, name: &OsStr, stat: rustix::fs::Stat) -> LayerResult<Found> {
    let note = if directory.is_impure() {
        Place::named(&directory.descriptor, name).note()?.unwrap_or_default()
    } else {
        Default::default()
    };
    let kind = if note.zero_device {
        FileKind::CharDevice
    } else {
        FileKind::from_mode(stat.st_mode).ok_or(Errno::IO)?
    };
    Ok(Found {
        ino: if note.ino == 0 {
            Ino::of_upper(stat.st_ino)?
        } else {
            Ino(note.ino)
        },
        entry: NewEntry {
            kind,
            lowers: Vec::new(),
            upper: Some(Upper::File(UpperFile {
                is_indexed: note.links.is_some(),
                is_zero_device: note.zero_device,
                ..UpperFile::default()
            })),
            links: note.links,
            changed: None,
        },
        metadata: Metadata::Upper(Box::new(stat)),
        is_in_upper: true,
    })
}

/// Reads the marks of a directory of the upper, and returns it with them.
pub(super) fn open_upper_directory(descriptor: OwnedFd) -> Result<UpperDirectory, Errno> {
    let impure = has_mark(&descriptor, IMPURE)?;
    // Long paths are rare, and a directory without a redirect needs no second call.
    let redirect = match fgetxattr(&descriptor, REDIRECT, &mut [0_u8; 0][..]) {
        Ok(_) => {
            Place::File(Arc::new(descriptor.try_clone().map_err(|_| Errno::MFILE)?)).xattr(OsStr::new(REDIRECT))?
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => None,
        Err(errno) => return Err(errno),
    };
    Ok(UpperDirectory::new(descriptor, impure, redirect))
}

/// Returns whether a directory has the mark `name`.
fn has_mark(directory: &OwnedFd, name: &str) -> Result<bool, Errno> {
    let mut value = [0_u8; 1];
    match fgetxattr(directory, name, &mut value[..]) {
        Ok(_) => Ok(value == YES),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}
