//! Reading the snapshot once, in order: for writing an image. What the backing store has comes from there; the
//! rest is inflated and not kept, since nobody is going to ask again.

use super::SnapshotError;
use super::format::{Member, MemberId};
use super::reader::Snapshot;
use crate::overlay::layer::{ContentReader, LayerResult, NodeId};

/// A reader with the one member in memory that it read from last.
#[derive(Debug)]
pub(super) struct Sequential<'a> {
    snapshot: &'a Snapshot,
    current: Option<(Member, Vec<u8>)>,
}

impl<'a> Sequential<'a> {
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
                let bytes = self.snapshot.member_once(id, &member)?;
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
