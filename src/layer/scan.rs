//! Two digests of a tree: a cheap one that sees that anything was written to it, and one of its content.

use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::cancel::{Cancel, Cancelled};
use crate::durable::PathError;
use crate::package::Sha256;

/// How the entries of a tree are, without their content.
///
/// Whatever changes an entry, attributes included, gives it another `st_ctime`, which nobody can set (inode(7)). So
/// one look per entry is enough to see that nothing was changed; a copy of the tree has another digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// Digest over name, kind, mode, owner, size, inode number and times of every entry.
    pub digest: Sha256,
    /// Entries, the root not among them.
    pub entries: u64,
    /// Bytes of regular files.
    pub size_bytes: u64,
}

/// Looks at every entry below `root`.
///
/// # Errors
/// If one cannot be looked at.
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

/// Why content could not be digested.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// An entry cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// The digest of names, kinds, modes, owners and bytes of every entry below `root`.
///
/// # Errors
/// If one cannot be read, or `cancel` is set.
pub fn content(root: &Path, cancel: &Cancel) -> Result<Sha256, ContentError> {
    let mut hasher = sha2::Sha256::new();
    walk(root, &mut |path, relative, metadata| {
        cancel.check()?;
        hasher.update(relative.as_os_str().as_bytes());
        hasher.update([0]);
        for number in [metadata.mode(), metadata.uid(), metadata.gid()] {
            hasher.update(number.to_le_bytes());
        }
        hasher.update(metadata.rdev().to_le_bytes());
        if metadata.is_file() {
            let file = File::open(path).map_err(PathError::on("open", path))?;
            let (digest, _) = Sha256::of_reader(file).map_err(PathError::on("read", path))?;
            hasher.update(digest.0);
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(PathError::on("read", path))?;
            hasher.update(target.as_os_str().as_bytes());
            hasher.update([0]);
        }
        Ok::<_, ContentError>(())
    })?;
    Ok(Sha256(hasher.finalize().into()))
}

/// Does `work` with every regular file below `root` that is not empty.
pub(super) fn each_file(root: &Path, work: &dyn Fn(&File) -> Result<(), Cancelled>) -> Result<(), ContentError> {
    walk(root, &mut |path, _, metadata| {
        if metadata.is_file() && metadata.size() > 0 {
            work(&File::open(path).map_err(PathError::on("open", path))?)?;
        }
        Ok(())
    })
}

/// Calls `visit` for every entry below `root`, with its path and that from the root: a directory before what is in
/// it, names in order.
fn walk<E: From<PathError>>(
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
