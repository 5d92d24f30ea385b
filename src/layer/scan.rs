//! Two digests of a tree: a cheap one that shows any write to it, and one of its content.

use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::cancel::{Cancel, Cancelled};
use crate::durable::{self, PathError};
use crate::package::Sha256;

use super::content_error::ContentError;
use super::sums::Sums;

/// The largest value of an extended attribute and of a list of names (xattr(7)).
const XATTR_MAX_BYTES: usize = 65536;

/// The state of the entries of a tree, without their content.
///
/// Every change of an entry, attributes included, gives it another `st_ctime`, which no program can set (inode(7)).
/// So one look per entry shows that nothing was changed; a copy of the tree has another digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// Digest over name, kind, mode, owner, size, inode number and times of every entry.
    pub digest: Sha256,
    /// Number of entries without the root.
    pub entries: u64,
    /// Size of all regular files, in bytes.
    pub size_bytes: u64,
}

/// Digests the metadata of every entry below `root`.
///
/// # Errors
/// If an entry cannot be examined.
pub fn glance(root: &Path) -> Result<Scan, PathError> {
    let mut hasher = sha2::Sha256::new();
    let (mut entries, mut size_bytes) = (0, 0_u64);
    walk(root, &mut |_, relative, metadata| {
        hasher.update(relative.as_os_str().as_bytes());
        hasher.update([0]);
        for number in [
            u64::from(metadata.mode()),
            u64::from(metadata.uid()),
            u64::from(metadata.gid()),
            metadata.size(),
            metadata.ino(),
            metadata.rdev(),
            metadata.mtime().cast_unsigned(),
            metadata.mtime_nsec().cast_unsigned(),
            metadata.ctime().cast_unsigned(),
            metadata.ctime_nsec().cast_unsigned(),
        ] {
            hasher.update(number.to_le_bytes());
        }
        entries += 1;
        if metadata.is_file() {
            size_bytes = size_bytes.saturating_add(metadata.size());
        }
        Ok::<_, PathError>(())
    })?;
    Ok(Scan {
        digest: Sha256(hasher.finalize().into()),
        entries,
        size_bytes,
    })
}

/// Digests names, kinds, modes, owners, times, attributes and bytes of every entry below `root`; gives the checksums of its files
/// as well. Bytes go into the digest by their checksums.
///
/// # Errors
/// If an entry cannot be read, or `cancel` is set.
pub fn content(root: &Path, cancel: &Cancel) -> Result<(Sha256, Sums), ContentError> {
    let mut hasher = sha2::Sha256::new();
    let mut sums = Sums::default();
    walk(root, &mut |path, relative, metadata| {
        cancel.check()?;
        hasher.update(relative.as_os_str().as_bytes());
        hasher.update([0]);
        for number in [metadata.mode(), metadata.uid(), metadata.gid()] {
            hasher.update(number.to_le_bytes());
        }
        hasher.update(metadata.rdev().to_le_bytes());
        hasher.update(metadata.mtime().to_le_bytes());
        hasher.update(metadata.mtime_nsec().to_le_bytes());
        attributes(path, &mut hasher).map_err(|errno| PathError::on("read attributes of", path)(errno.into()))?;
        if metadata.is_file() {
            let (inode, size_bytes) = (metadata.ino(), metadata.size());
            hasher.update(size_bytes.to_le_bytes());
            // Of hard links, the first is read.
            if sums.of(inode, size_bytes).is_none() {
                let file = File::open(path).map_err(PathError::on("open", path))?;
                sums.add(inode, file, path, cancel)?;
            }
            for sum in sums.of(inode, size_bytes).unwrap_or_default() {
                hasher.update(sum.to_le_bytes());
            }
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(PathError::on("read", path))?;
            hasher.update(target.as_os_str().as_bytes());
            hasher.update([0]);
        }
        Ok::<_, ContentError>(())
    })?;
    Ok((Sha256(hasher.finalize().into()), sums))
}

/// Returns the paths below `root` of regular files whose bytes differ from `sums`, and of those that cannot be read.
///
/// # Errors
/// If an entry cannot be examined, or `cancel` is set.
pub(super) fn damaged_files(root: &Path, sums: &Sums, cancel: &Cancel) -> Result<Vec<PathBuf>, ContentError> {
    let mut damaged = Vec::new();
    walk(root, &mut |path, relative, metadata| {
        if !metadata.is_file() {
            return Ok(());
        }
        let (inode, size_bytes) = (metadata.ino(), metadata.size());
        let mut found = Sums::default();
        let read = File::open(path).map_err(PathError::on("open", path));
        let read = read
            .map_err(ContentError::from)
            .and_then(|file| found.add(inode, file, path, cancel));
        if let Err(ContentError::Cancelled(error)) = read {
            return Err(error.into());
        }
        if read.is_err() || found.of(inode, size_bytes) != sums.of(inode, size_bytes) {
            damaged.push(relative.to_owned());
        }
        Ok::<_, ContentError>(())
    })?;
    Ok(damaged)
}

/// Attributes of overlayfs itself that are content; its others record where a file came from.
const OVERLAY_CONTENT: [&str; 3] = ["opaque", "redirect", "metacopy"];

/// Digests names and values of the extended attributes of `path` (xattr(7)), sorted.
fn attributes(path: &Path, hasher: &mut sha2::Sha256) -> rustix::io::Result<()> {
    // Most entries have none.
    match rustix::fs::llistxattr_query(path) {
        Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        found => found?,
    };
    let mut names = vec![0; XATTR_MAX_BYTES];
    let length = rustix::fs::llistxattr(path, &mut names[..])?;
    let names = names.get(..length).unwrap_or_default();
    let is_content = |name: &&[u8]| match name.strip_prefix(b"trusted.overlay.") {
        Some(own) if !own.starts_with(b"overlay.") => OVERLAY_CONTENT.iter().any(|known| known.as_bytes() == own),
        _ => durable::is_of_image(name),
    };
    let mut names: Vec<&[u8]> = names.split(|byte| *byte == 0).filter(is_content).collect();
    names.sort_unstable();
    for name in names {
        let mut value = vec![0; XATTR_MAX_BYTES];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        hasher.update(name);
        hasher.update((length as u64).to_le_bytes());
        hasher.update(value.get(..length).unwrap_or_default());
    }
    Ok(())
}

/// Calls `work` for every regular file below `root` that is not empty.
pub(super) fn each_file(root: &Path, work: &dyn Fn(&File) -> Result<(), Cancelled>) -> Result<(), ContentError> {
    walk(root, &mut |path, _, metadata| {
        if metadata.is_file() && metadata.size() > 0 {
            work(&File::open(path).map_err(PathError::on("open", path))?)?;
        }
        Ok(())
    })
}

/// Calls `visit` for every entry below `root`, with its path and that from the root: a directory before its entries,
/// names in order.
pub(super) fn walk<E: From<PathError>>(
    root: &Path,
    visit: &mut dyn FnMut(&Path, &Path, &Metadata) -> Result<(), E>,
) -> Result<(), E> {
    let mut pending: Vec<PathBuf> = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let path = root.join(&relative);
        let metadata = fs::symlink_metadata(&path).map_err(PathError::on("look at", &path))?;
        if !relative.as_os_str().is_empty() {
            visit(&path, &relative, &metadata)?;
        }
        if !metadata.is_dir() {
            continue;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(PathError::on("list", &path))? {
            names.push(entry.map_err(PathError::on("list", &path))?.file_name());
        }
        names.sort_unstable();
        pending.extend(names.iter().rev().map(|name| relative.join(name)));
    }
    Ok(())
}
