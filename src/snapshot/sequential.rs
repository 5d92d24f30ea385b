//! Reads the snapshot once, in order, for writing an image. Members in the backing store are read from there; the
//! others are inflated and not kept, since no later read is expected.

use super::SnapshotError;
use super::format::Member;
use super::member_id::MemberId;
use super::reader::Snapshot;
use crate::overlay::layer::{ContentReader, LayerResult, NodeId};

/// A reader that keeps in memory the one member that it read last.
#[derive(Debug)]
pub(super) struct Sequential<'a> {
    snapshot: &'a Snapshot,
    current: Option<(Member, Vec<u8>)>,
}

impl<'a> Sequential<'a> {
    /// Makes a reader of `snapshot` without a member in memory.
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            current: None,
        }
    }

    fn read_stream(&mut self, mut position: u64, mut buffer: &mut [u8]) -> Result<(), SnapshotError> {
        while !buffer.is_empty() {
            let (member, bytes) = self.member_at(position)?;
            let there = bytes.get((position - member.tar_offset) as usize..).unwrap_or_default();
            let length = there.len().min(buffer.len());
            if length == 0 {
                let member = *member;
                return Err(self.snapshot.tarball.damage(&member, "a member has another length"));
            }
            let (part, rest) = buffer.split_at_mut(length);
            part.copy_from_slice(&there[..length]);
            position += length as u64;
            buffer = rest;
        }
        Ok(())
    }

    fn member_at(&mut self, position: u64) -> Result<&(Member, Vec<u8>), SnapshotError> {
        let is_current = |(member, _): &(Member, Vec<u8>)| {
            (member.tar_offset..member.tar_offset + u64::from(member.tar_bytes)).contains(&position)
        };
        match self.current.take_if(|current| is_current(current)) {
            Some(current) => Ok(self.current.insert(current)),
            None => {
                let (id, member): (MemberId, Member) = self.snapshot.index.member_at(position)?;
                let bytes = self.snapshot.member_bytes(id, &member)?;
                Ok(self.current.insert((member, bytes)))
            }
        }
    }
}

impl ContentReader for Sequential<'_> {
    fn read_at(&mut self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let snapshot = self.snapshot;
        snapshot.read_file(node, offset, buffer, &mut |start, part| self.read_stream(start, part))
    }
}
