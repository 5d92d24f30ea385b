//! Looks at every byte of a snapshot, to find damage before a build does.

use std::path::PathBuf;

use crate::cancel::{Cancel, Cancelled};
use crate::overlay::layer::FileKind;

use super::SnapshotError;
use super::format::{Member, MemberId, NONE, Packing};
use super::reader::Snapshot;
use super::unpacking::Unpacking;

/// Files named for one damaged member.
const NAMED_MAX: usize = 5;

/// What [`Snapshot::check`] found.
#[derive(Debug, Default)]
pub struct Check {
    /// Members whose bytes were verified.
    pub members: u64,
    /// Compressed bytes that were read.
    pub bytes: u64,
    /// Damaged members of the tarball: what is wrong, and some files that are lost with it.
    pub damaged: Vec<(String, Vec<PathBuf>)>,
    /// Members whose copy in the backing store is not what it should be.
    pub damaged_copies: Vec<MemberId>,
}

impl Snapshot {
    /// Reads and verifies all members, and what the backing store keeps of them; `advance` is told
    /// of the compressed bytes as they are read.
    ///
    /// # Errors
    /// If the index is damaged, or `cancel` is set.
    pub fn check(&self, advance: &dyn Fn(u64), cancel: &Cancel) -> Result<Check, SnapshotError> {
        let mut check = Check::default();
        for number in 0..self.index.members() {
            cancel
                .check()
                .map_err(|Cancelled| SnapshotError::Cancelled(Cancelled))?;
            let id = MemberId(number);
            let member = self.index.member(id)?;
            if let Err(error) = Unpacking::new(self, id, member).bytes() {
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
        // Every record once: the checksums of all blocks of the index are compared.
        for number in 0..self.index.nodes() {
            let node = self.index.node(number)?;
            self.index.path_of(&node)?;
            self.index.xattrs(&node)?;
            for number in 0..if node.kind() == Some(FileKind::Regular) {
                node.entries
            } else {
                0
            } {
                self.index.extent(&node, number)?;
            }
            if node.digest != NONE {
                self.index.digest(node.digest)?;
            }
        }
        Ok(check)
    }

    /// Makes the next reader unpack `members` again.
    ///
    /// # Errors
    /// If the backing store cannot be written.
    pub fn forget_copies(&self, members: &[MemberId]) -> Result<(), SnapshotError> {
        members.iter().try_for_each(|id| Ok(self.store.unmark(*id)?))
    }

    /// Some of the files whose content lies in `member`.
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
