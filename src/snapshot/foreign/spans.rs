//! The members of a tarball from elsewhere, noted one after the other as the stream goes by.

use std::io;

use super::super::format::{Member, Packing};
use crate::package::Sha256;

/// A member ends at the first place that allows it once it has this many bytes, packed or not.
pub(super) const SPAN_BYTES: u64 = 1 << 20;
/// No member may be longer: it has to be unpacked at once. Compressors end deflate blocks after 8 MiB at most.
const SPAN_BYTES_MAX: u64 = 64 << 20;

/// Members up to here, and the one under way.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) members: Vec<Member>,
    /// Where the one under way starts in the tarball, and how it is packed.
    offset: u64,
    packing: Packing,
    tar_offset: u64,
    crc: crc32fast::Hasher,
    /// Offset in the tar stream of the next byte, and the largest that is taken.
    position: u64,
    limit: u64,
}

impl Spans {
    /// The first member starts at the tarball's first byte; a tar stream of more than `limit` bytes is refused.
    pub(super) fn new(packing: Packing, limit: u64) -> Self {
        Self {
            members: Vec::new(),
            offset: 0,
            packing,
            tar_offset: 0,
            crc: crc32fast::Hasher::new(),
            position: 0,
            limit,
        }
    }

    /// These bytes of the tar stream come next.
    pub(super) fn produced(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.position += bytes.len() as u64;
        if self.position > self.limit {
            return Err(invalid(format!("its tar stream has more than {} bytes", self.limit)));
        }
        Ok(())
    }

    pub(super) fn packing(&self) -> Packing {
        self.packing
    }

    pub(super) fn tar_offset(&self) -> u64 {
        self.tar_offset
    }

    /// Where the member under way starts in the tarball.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the tar stream in the member under way.
    pub(super) fn tar_bytes(&self) -> u64 {
        self.position - self.tar_offset
    }

    /// Whether the member under way, which has reached byte `end` of the tarball, is long enough.
    pub(super) fn is_long(&self, end: u64) -> bool {
        self.tar_bytes() >= SPAN_BYTES || end - self.offset >= SPAN_BYTES
    }

    /// Refuses a member that has become too long.
    pub(super) fn check(&self, end: u64) -> io::Result<()> {
        if self.tar_bytes() > SPAN_BYTES_MAX || end - self.offset > SPAN_BYTES_MAX {
            let place = format!("behind byte {}, ", self.offset);
            return Err(invalid(format!(
                "{place}no deflate block ends within {SPAN_BYTES_MAX} bytes: it cannot be read in parts"
            )));
        }
        Ok(())
    }

    /// Ends the member before byte `end` of the tarball; the next one starts at `next`. One without bytes is dropped.
    pub(super) fn cut(&mut self, digest: Sha256, end: u64, next: u64, packing: Packing) -> io::Result<()> {
        let number = |bytes: u64| u32::try_from(bytes).map_err(|_| invalid("a part of it is too long"));
        let tar_bytes = number(self.tar_bytes())?;
        if tar_bytes > 0 {
            self.members.push(Member {
                offset: self.offset,
                tar_offset: self.tar_offset,
                compressed_bytes: number(end - self.offset)?,
                tar_bytes,
                crc: self.crc.clone().finalize(),
                packing: self.packing,
                digest,
            });
        }
        self.restart(next, packing);
        Ok(())
    }

    /// Ends the member under way as `members` instead of one.
    pub(super) fn replace(&mut self, members: Vec<Member>, next: u64) {
        self.members.extend(members);
        self.restart(next, self.packing);
    }

    fn restart(&mut self, offset: u64, packing: Packing) {
        (self.offset, self.packing, self.tar_offset) = (offset, packing, self.position);
        self.crc.reset();
    }
}

/// The tarball is at fault, not the system.
pub(super) fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}
