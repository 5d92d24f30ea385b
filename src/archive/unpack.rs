//! Unpacks a tar stream into a directory: all kinds of members, owners, exact modes,
//! times and extended attributes, and never a byte outside the directory.

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::ArchiveError;
use super::stream::{Member, Rules, Stream};
use crate::cancel::Cancel;

#[cfg(test)]
mod tests;
pub(super) mod tree;

/// Bounds for unpacking.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Largest content of an archive, in bytes.
    pub content_bytes_max: u64,
    /// Largest number of members of an archive.
    pub members_max: u64,
    /// Largest length of the names of all members together, in bytes: they are kept in memory.
    pub names_bytes_max: u64,
    /// The flag that stops the work between two members.
    pub cancel: Cancel,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            content_bytes_max: 64 << 30,
            members_max: 4_000_000,
            names_bytes_max: 256 << 20,
            cancel: Cancel::default(),
        }
    }
}

/// The result of unpacking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The members in archive order, relative to the root (which is the empty path).
    pub paths: Vec<PathBuf>,
    /// Bytes of all regular files.
    pub content_bytes: u64,
    /// Number of members so far, and bytes of their names.
    members: u64,
    names_bytes: u64,
}

impl Unpacked {
    /// Counts `member` before it is created; refuses it if it exceeds the bounds of `options`.
    pub(super) fn count(
        &mut self,
        member: &Member,
        archive: &Path,
        options: &UnpackOptions,
    ) -> Result<(), ArchiveError> {
        self.count_name(member, archive, options)?;
        self.content_bytes = self.content_bytes.saturating_add(member.size_bytes);
        if self.content_bytes > options.content_bytes_max {
            let problem = format!("more than {} bytes in one archive", options.content_bytes_max);
            return Err(ArchiveError::refused(archive, &member.name, problem));
        }
        Ok(())
    }

    /// Counts `member` and its name alone.
    pub(super) fn count_name(
        &mut self,
        member: &Member,
        archive: &Path,
        options: &UnpackOptions,
    ) -> Result<(), ArchiveError> {
        self.members += 1;
        self.names_bytes = self.names_bytes.saturating_add(member.name.as_os_str().len() as u64);
        let problem = if self.members > options.members_max {
            format!("more than {} members in one archive", options.members_max)
        } else if self.names_bytes > options.names_bytes_max {
            format!("more than {} bytes of names in one archive", options.names_bytes_max)
        } else {
            return Ok(());
        };
        Err(ArchiveError::refused(archive, &member.name, problem))
    }
}

/// Unpacks the tar stream `reader` below the directory `root`, as `dpkg` does: symbolic links to directories are
/// followed inside the root, and an existing directory (or link to one) is kept when a directory member comes. Anything
/// else in the way is replaced, except a directory that is not empty. `archive` names the stream in messages.
///
/// # Errors
/// If the stream is damaged or ends early; if a member is absolute, holds `..`, is a sparse file or of an unknown type,
/// or carries overlay attributes; if it exceeds the bounds of `options`; or if creating fails. Members unpacked before
/// the error stay.
pub fn unpack_tar(
    reader: impl Read,
    root: BorrowedFd<'_>,
    archive: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked, ArchiveError> {
    let mut stream = Stream::new(reader, archive, Rules::Package);
    let mut tree = tree::Tree::new(root);
    let mut unpacked = Unpacked::default();
    let place = |member: &Path, (action, source): tree::Failure| ArchiveError::Place {
        archive: archive.to_owned(),
        member: member.to_owned(),
        action,
        source,
    };
    while let Some(member) = stream.next_member()? {
        options.cancel.check()?;
        if member.sparse.is_some() {
            let problem = "it is stored as a sparse file";
            return Err(ArchiveError::refused(archive, &member.name, problem));
        }
        unpacked.count(&member, archive, options)?;
        tree.place(&member, &mut stream)
            .map_err(|failure| place(&member.name, failure))?;
        unpacked.paths.push(member.path);
    }
    tree.finish().map_err(|(path, failure)| place(&path, failure))?;
    Ok(unpacked)
}
