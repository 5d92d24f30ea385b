//! From an offset in a file to its bytes.

use super::super::DiskError;
use super::Erofs;
use super::inode::Inode;
use crate::image::erofs::disk::{CHUNK_BITS_MASK, CHUNK_INDEXES, HOLE, Layout};

const CONTENTS: &str = "the contents of a file";
const CHUNKS: &str = "the table of chunks of a file";
/// Bytes of a record in a table of chunks that has more than addresses.
const CHUNK_RECORD_BYTES: u64 = 8;

/// A part of a file that lies in one place: how many bytes from an offset on, and where; `None` in a hole.
struct Run {
    length: u64,
    place: Option<u64>,
}

impl Erofs {
    /// Fills `buffer` with the data of `inode` from `offset` on; they lie within its size.
    pub(super) fn read_content(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        if offset.saturating_add(buffer.len() as u64) > inode.size_bytes {
            return Err(self.wrong(inode, "its contents end before"));
        }
        if inode.layout.is_packed() {
            return self.unpack(inode, offset, buffer);
        }
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let run = self.run(inode, at)?;
            let length = run.length.min(rest.len() as u64) as usize;
            let (part, behind) = rest.split_at_mut(length);
            match run.place {
                Some(place) => self.area.read(CONTENTS, place, part)?,
                None => part.fill(0),
            }
            (at, rest) = (at + length as u64, behind);
        }
        Ok(())
    }

    /// Returns the offset of the first byte of `inode` at or behind `offset` that is not in a hole.
    pub(super) fn data_from(&self, inode: &Inode, offset: u64) -> Result<u64, DiskError> {
        let mut at = offset;
        while inode.layout == Layout::Chunks && at < inode.size_bytes {
            let run = self.run(inode, at)?;
            if run.place.is_some() {
                break;
            }
            at = at.saturating_add(run.length);
        }
        Ok(at)
    }

    /// Finds the byte `at` of `inode`, which is within its size.
    fn run(&self, inode: &Inode, at: u64) -> Result<Run, DiskError> {
        let left = inode.size_bytes - at;
        let first = self.offset(inode.data.into());
        match inode.layout {
            Layout::Chunks => self.chunk(inode, at),
            Layout::Inline => {
                let tail = inode.size_bytes / self.block_bytes() * self.block_bytes();
                Ok(match at < tail {
                    true => Run {
                        length: tail - at,
                        place: Some(first.saturating_add(at)),
                    },
                    false => Run {
                        length: left,
                        place: Some(inode.end.saturating_add(at - tail)),
                    },
                })
            }
            _ => Ok(Run {
                length: left,
                place: Some(first.saturating_add(at)),
            }),
        }
    }

    fn chunk(&self, inode: &Inode, at: u64) -> Result<Run, DiskError> {
        let bits = u32::from(self.block_bits) + (inode.data & CHUNK_BITS_MASK);
        let (number, within) = (at >> bits, at & ((1 << bits) - 1));
        let length = ((1 << bits) - within).min(inode.size_bytes - at);
        let has_records = inode.data & CHUNK_INDEXES != 0;
        let unit = if has_records { CHUNK_RECORD_BYTES } else { 4 };
        let place = inode
            .end
            .next_multiple_of(unit)
            .saturating_add(number.saturating_mul(unit));
        let address: [u8; 4] = match has_records {
            false => self.area.record(CHUNKS, place)?,
            true => {
                let [_, _, low, high]: [[u8; 2]; 4] = self.area.record(CHUNKS, place)?;
                [low[0], low[1], high[0], high[1]]
            }
        };
        let address = u32::from_le_bytes(address);
        Ok(Run {
            length,
            place: (address != HOLE).then(|| self.offset(address.into()).saturating_add(within)),
        })
    }
}
