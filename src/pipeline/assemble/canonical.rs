//! One form for the layer of a step, whichever engine merged the layers below it.
//!
//! The kernel's overlayfs copies a file up when a program opens it for writing, our own engine when the program writes.
//! The kernel marks new directories as opaque to save look-ups in the layers below. Neither changes the merged tree,
//! but both change the layer. So copies that equal what is below are removed, and opaque marks that hide nothing.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;

use crate::durable::{self, PathError};
use crate::image::merged::Merged;
use crate::overlay::layer::{FileKind, LayerError};
use crate::overlay::{Ino, Stat};
use crate::pipeline::error::BuildError;

/// The mark of a directory that hides those below it, and that of one which was renamed (overlayfs.rst of Linux).
const OPAQUE: &str = "trusted.overlay.opaque";
const REDIRECT: &str = "trusted.overlay.redirect";
/// The bytes of a file that are compared at once.
const CHUNK_BYTES: usize = 128 << 10;

/// Removes from `tree`, an upper that is not mounted, what says nothing over `below`, the merged layers under it.
///
/// # Errors
/// If an entry cannot be read, or not be removed.
pub fn make(tree: &Path, below: &Merged) -> Result<(), BuildError> {
    let metadata = fs::symlink_metadata(tree).map_err(PathError::on("look at", tree))?;
    directory(tree, Some(Ino::ROOT), below)?;
    Ok(restore_time(tree, &metadata)?)
}

/// Does so in the directory `path`, with which the directory `lower` merges.
fn directory(path: &Path, lower: Option<Ino>, below: &Merged) -> Result<(), BuildError> {
    let on = |action| PathError::on(action, path);
    for entry in fs::read_dir(path).map_err(on("list"))? {
        let entry = entry.map_err(on("list"))?;
        let (path, name) = (entry.path(), entry.file_name());
        let metadata = fs::symlink_metadata(&path).map_err(PathError::on("look at", &path))?;
        let under = match lower {
            Some(lower) => below.overlay().lookup(lower, &name).map_err(unreadable(&path))?,
            None => None,
        };
        if metadata.is_dir() {
            subdirectory(&path, &metadata, under, below)?;
        } else if let Some(under) = under.filter(|under| is_copy(&metadata, under))
            && same_attributes(&path, &under, below)?
            && same_content(&path, &under, below)?
        {
            fs::remove_file(&path).map_err(PathError::on("remove", &path))?;
        }
    }
    Ok(())
}

/// Does so in the directory `path`, under whose name the layers below have `under`; removes it if nothing is left.
fn subdirectory(path: &Path, metadata: &Metadata, under: Option<Stat>, below: &Merged) -> Result<(), BuildError> {
    if attribute(path, REDIRECT)?.is_some() {
        return Ok(());
    }
    let mut is_opaque = attribute(path, OPAQUE)?.is_some_and(|value| value == b"y");
    if is_opaque && under.is_none() {
        let removed = rustix::fs::lremovexattr(path, OPAQUE);
        removed.map_err(|errno| PathError::on("remove a mark of", path)(errno.into()))?;
        is_opaque = false;
    }
    let merged = under.filter(|under| under.kind == FileKind::Directory && !is_opaque);
    directory(path, merged.as_ref().map(|under| under.ino), below)?;
    if let Some(under) = merged.filter(|under| same_metadata(metadata, under))
        && same_attributes(path, &under, below)?
        && fs::read_dir(path)
            .map_err(PathError::on("list", path))?
            .next()
            .is_none()
    {
        return Ok(fs::remove_dir(path).map_err(PathError::on("remove", path))?);
    }
    Ok(restore_time(path, metadata)?)
}

/// Gives a directory in which something was removed the time that it had.
fn restore_time(path: &Path, metadata: &Metadata) -> Result<(), PathError> {
    let restore = || {
        let (before, now) = (metadata.modified()?, fs::symlink_metadata(path)?.modified()?);
        match before == now {
            true => Ok(()),
            false => File::open(path)?.set_modified(before),
        }
    };
    restore().map_err(PathError::on("set the time of", path))
}

/// Says whether a regular file can be a copy of that below; one with several names is left alone.
fn is_copy(metadata: &Metadata, under: &Stat) -> bool {
    let has_one_name = metadata.nlink() == 1 && under.links == 1;
    let is_regular = metadata.is_file() && under.kind == FileKind::Regular;
    is_regular && has_one_name && metadata.size() == under.size_bytes && same_metadata(metadata, under)
}

fn same_metadata(metadata: &Metadata, under: &Stat) -> bool {
    let time = (metadata.mtime(), metadata.mtime_nsec());
    metadata.mode() & 0o7777 == under.permissions
        && (metadata.uid(), metadata.gid()) == (under.uid, under.gid)
        && time == (under.modified.seconds, i64::from(under.modified.nanoseconds))
}

/// Compares the extended attributes that belong to an image.
fn same_attributes(path: &Path, under: &Stat, below: &Merged) -> Result<bool, BuildError> {
    let overlay = below.overlay();
    let mut lower = Vec::new();
    for name in overlay.xattr_names(under.ino).map_err(unreadable(path))? {
        let value = overlay.xattr(under.ino, &name).map_err(unreadable(path))?;
        lower.extend(value.map(|value| (name, value)));
    }
    let mut upper = crate::diff::attributes(path)?;
    for all in [&mut lower, &mut upper] {
        all.retain(|(name, _)| durable::is_of_image(name.as_bytes()));
        all.sort();
    }
    Ok(lower == upper)
}

/// Compares the bytes of two files of the same size.
fn same_content(path: &Path, under: &Stat, below: &Merged) -> Result<bool, BuildError> {
    let overlay = below.overlay();
    let (layer, node) = overlay.origin(under.ino).map_err(unreadable(path))?;
    let mut file = File::open(path).map_err(PathError::on("open", path))?;
    let (mut bytes, mut others) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut offset = 0;
    while offset < under.size_bytes {
        let length = CHUNK_BYTES.min(usize::try_from(under.size_bytes - offset).unwrap_or(CHUNK_BYTES));
        let (bytes, others) = (&mut bytes[..length], &mut others[..length]);
        file.read_exact(bytes).map_err(PathError::on("read", path))?;
        let read = overlay.layers()[layer].read_at(node, offset, others);
        if read.map_err(unreadable(path))? != length || bytes != others {
            return Ok(false);
        }
        offset += length as u64;
    }
    Ok(true)
}

/// Reads the mark `name` of the overlay from the directory `path`.
fn attribute(path: &Path, name: &str) -> Result<Option<Vec<u8>>, PathError> {
    let mut value = vec![0; 4096];
    match rustix::fs::lgetxattr(path, OsStr::new(name), &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(PathError::on("read a mark of", path)(errno.into())),
    }
}

/// Makes the error of a file whose counterpart in the layers below cannot be read.
fn unreadable(path: &Path) -> impl FnOnce(LayerError) -> PathError {
    let path = path.to_owned();
    move |error| PathError::on("compare with the layers below", path)(std::io::Error::other(error.message))
}
