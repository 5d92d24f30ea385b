//! Verifies every byte of a snapshot, to find damage before a build does.

use std::path::PathBuf;

use crate::cancel::{Cancel, Cancelled};
use crate::overlay::layer::FileKind;

use super::SnapshotError;
use super::format::{Member, Packing};
use super::member_id::MemberId;
use super::reader::Snapshot;

/// Upper limit for the files named for one damaged member.
const NAMED_MAX: usize = 5;

/// The result of [`Snapshot::check`].
#[derive(Debug, Default)]
pub(super) struct Check {
    /// Members whose bytes were verified.
    pub members: u64,
    /// Compressed bytes read.
    pub bytes: u64,
    /// Damaged members of the tarball: what is wrong, and some of the lost files.
    pub damaged: Vec<(String, Vec<PathBuf>)>,
    /// Members with a damaged copy in the backing store.
    pub damaged_copies: Vec<MemberId>,
}

impl Snapshot {
    /// Reads and verifies all members and their copies in the backing store; `advance` gets the number of compressed
    /// bytes as they are read.
    ///
    /// # Errors
    /// If the index is damaged, or `cancel` is set.
    pub(super) fn check(&self, advance: &dyn Fn(u64), cancel: &Cancel) -> Result<Check, SnapshotError> {
        let mut check = Check::default();
        for number in 0..self.index.members() {
            cancel
                .check()
                .map_err(|Cancelled| SnapshotError::Cancelled(Cancelled))?;
            let id = MemberId(number);
            let member = self.index.member(id)?;
            if let Err(error) = self.unpacking(id, member).bytes() {
                check.damaged.push((error.to_string(), self.files_in(&member)?));
            }
            let copied = member.packing != Packing::Stored && self.store.is_marked(id);
            if copied && self.store.verified(&member).is_none() {
                check.damaged_copies.push(id);
            }
            check.members += 1;
            check.bytes += u64::from(member.compressed_bytes);
            advance(member.compressed_bytes.into());
        }
        self.index.check()?;
        Ok(check)
    }

    /// Makes the next reader unpack `members` again.
    ///
    /// # Errors
    /// If the backing store cannot be written.
    pub(super) fn forget_copies(&self, members: &[MemberId]) -> Result<(), SnapshotError> {
        members.iter().try_for_each(|id| Ok(self.store.unmark(*id)?))
    }

    /// Finds up to [`NAMED_MAX`] files with content in `member`.
    fn files_in(&self, member: &Member) -> Result<Vec<PathBuf>, SnapshotError> {
        let end = member.tar_offset.saturating_add(member.tar_bytes.into());
        let mut files = Vec::new();
        for number in 0..self.index.nodes() {
            let node = self.index.node(number)?;
            if node.kind() != Some(FileKind::Regular) || node.size_bytes == 0 {
                continue;
            }
            let mut lies_here = false;
            self.pieces(&node, 0, node.size_bytes, &mut |start, length| {
                let start = start.unwrap_or(end);
                lies_here |= start < end && start.saturating_add(length) > member.tar_offset;
                Ok(())
            })?;
            if lies_here {
                files.push(self.index.path_of(&node)?);
                if files.len() == NAMED_MAX {
                    break;
                }
            }
        }
        Ok(files)
    }
}
