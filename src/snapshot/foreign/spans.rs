//! Collects the members of a tarball from elsewhere, one after the other as the stream goes by.

use std::io;

use sha2::Digest as _;

use super::super::format::{Member, Packing};
use crate::package::Sha256;

/// Size in bytes, packed or not, from which a member ends at the next place that allows it.
pub(super) const SPAN_BYTES: u64 = 1 << 20;
/// Largest size of a member, in bytes: it has to be unpacked at once.
const SPAN_BYTES_MAX: u64 = 64 << 20;

/// The finished members, and the open one.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) members: Vec<Member>,
    /// Start of the open member in the tarball; `packing` says how it is packed.
    offset: u64,
    packing: Packing,
    tar_offset: u64,
    crc: crc32fast::Hasher,
    /// Digest of the open member's bytes, if it continues another one.
    hasher: sha2::Sha256,
    /// Offset in the tar stream of the next byte; `limit` is the largest allowed one.
    position: u64,
    limit: u64,
}

impl Spans {
    /// Starts the first member at the tarball's first byte; a tar stream of more than `limit` bytes is refused.
    pub(super) fn new(packing: Packing, limit: u64) -> Self {
        Self {
            members: Vec::new(),
            offset: 0,
            packing,
            tar_offset: 0,
            crc: crc32fast::Hasher::new(),
            hasher: sha2::Sha256::new(),
            position: 0,
            limit,
        }
    }

    /// Adds the next bytes of the tar stream to the open member.
    pub(super) fn produced(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        if let Packing::Continued { .. } = self.packing {
            self.hasher.update(bytes);
        }
        self.position += bytes.len() as u64;
        if self.position > self.limit {
            return Err(invalid(format!("its tar stream has more than {} bytes", self.limit)));
        }
        Ok(())
    }

    /// Returns how the open member is packed.
    pub(super) fn packing(&self) -> Packing {
        self.packing
    }

    /// Returns the start of the open member in the tar stream.
    pub(super) fn tar_offset(&self) -> u64 {
        self.tar_offset
    }

    /// Returns the start of the open member in the tarball.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the size of the open member, in bytes of the tar stream.
    pub(super) fn tar_bytes(&self) -> u64 {
        self.position - self.tar_offset
    }

    /// Returns whether the open member is long enough, if it ends at byte `end` of the tarball.
    pub(super) fn is_long(&self, end: u64) -> bool {
        self.tar_bytes() >= SPAN_BYTES || end - self.offset >= SPAN_BYTES
    }

    /// Refuses an open member that has become too long at byte `end` of the tarball.
    pub(super) fn check(&self, end: u64) -> io::Result<()> {
        let is_part = matches!(self.packing, Packing::Continued { .. });
        if !is_part && end - self.offset > SPAN_BYTES_MAX {
            return Err(invalid(format!("what starts at byte {} is too long", self.offset)));
        }
        Ok(())
    }

    /// Ends a member of at least `limit` bytes within a block, before byte `end` of the tarball: the next members
    /// continue it, and have the usual size. `digest` returns that of its bytes in the tarball.
    pub(super) fn cut_within(&mut self, limit: u64, end: u64, digest: impl FnOnce() -> Sha256) -> io::Result<()> {
        match self.packing {
            Packing::Continued { .. } if self.tar_bytes() >= SPAN_BYTES => {
                self.cut(Sha256([0; 32]), end, self.offset, self.packing)
            }
            Packing::Continued { .. } => Ok(()),
            _ if self.tar_bytes() >= limit => {
                let first = u32::try_from(self.members.len()).map_err(|_| invalid("it has too many parts"))?;
                self.cut(digest(), end, self.offset, Packing::Continued { first })
            }
            _ => self.check(end),
        }
    }

    /// Ends the open member before byte `end` of the tarball; the next one starts at `next`. Drops an empty member.
    pub(super) fn cut(&mut self, digest: Sha256, end: u64, next: u64, packing: Packing) -> io::Result<()> {
        let number = |bytes: u64| u32::try_from(bytes).map_err(|_| invalid("a part of it is too long"));
        let tar_bytes = number(self.tar_bytes())?;
        let (compressed_bytes, digest) = match self.packing {
            Packing::Continued { .. } => (0, Sha256(self.hasher.finalize_reset().into())),
            _ => (end - self.offset, digest),
        };
        if tar_bytes > 0 {
            self.members.push(Member {
                offset: self.offset,
                tar_offset: self.tar_offset,
                compressed_bytes: number(compressed_bytes)?,
                tar_bytes,
                crc: self.crc.clone().finalize(),
                packing: self.packing,
                digest,
            });
        }
        self.restart(next, packing);
        Ok(())
    }

    /// Ends the open member as `members` instead of one.
    pub(super) fn replace(&mut self, members: Vec<Member>, next: u64) {
        self.members.extend(members);
        self.restart(next, self.packing);
    }

    fn restart(&mut self, offset: u64, packing: Packing) {
        (self.offset, self.packing, self.tar_offset) = (offset, packing, self.position);
        self.crc.reset();
    }
}

/// Makes an error that blames the tarball, not the system.
pub(super) fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}
