//! Checksums of verified bytes, so that every later read of them is checked as well: a disk can lose bytes, and other
//! programs can write to the backing store.

use std::sync::OnceLock;

use super::member_id::MemberId;

/// Length of the bytes that one checksum covers.
const BLOCK_BYTES: usize = 4 << 10;

/// CRC-32 of the blocks of each member that this process has verified: a thousandth of its size.
#[derive(Debug)]
pub(super) struct Checksums {
    members: Vec<OnceLock<Member>>,
}

#[derive(Debug)]
struct Member {
    bytes: u64,
    blocks: Box<[u32]>,
}

impl Checksums {
    /// Makes empty checksums for members 0 to `members`.
    pub(super) fn new(members: u32) -> Self {
        Self {
            members: (0..members).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Records the checksums of `bytes`, the verified content of member `id`.
    pub(super) fn learn(&self, id: MemberId, bytes: &[u8]) {
        if let Some(sums) = self.members.get(id.0 as usize) {
            sums.get_or_init(|| Member {
                bytes: bytes.len() as u64,
                blocks: bytes.chunks(BLOCK_BYTES).map(crc32fast::hash).collect(),
            });
        }
    }

    /// Fills `buffer` with bytes of member `id` from `within` on; `read` fills a buffer from an offset in the member.
    /// Returns `Ok(false)` if the bytes have changed or were never learned.
    pub(super) fn read<E>(
        &self,
        id: MemberId,
        within: u64,
        buffer: &mut [u8],
        read: impl FnOnce(&mut [u8], u64) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(member) = self.members.get(id.0 as usize).and_then(OnceLock::get) else {
            return Ok(false);
        };
        let block_bytes = BLOCK_BYTES as u64;
        let start = within - within % block_bytes;
        let end = (within + buffer.len() as u64)
            .next_multiple_of(block_bytes)
            .min(member.bytes);
        // No longer than a member.
        let mut blocks = vec![0; end.saturating_sub(start) as usize];
        read(&mut blocks, start)?;
        let sums = member.blocks.get((start / block_bytes) as usize..).unwrap_or_default();
        let right = |(block, sum): (&[u8], &u32)| crc32fast::hash(block) == *sum;
        let checked = blocks
            .chunks(BLOCK_BYTES)
            .zip(sums)
            .take_while(|pair| right(*pair))
            .count();
        let skip = (within - start) as usize;
        let part = blocks.get(skip..).and_then(|rest| rest.get(..buffer.len()));
        match part {
            Some(part) if checked == blocks.len().div_ceil(BLOCK_BYTES) => buffer.copy_from_slice(part),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn any_range_is_checked() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let sums = Checksums::new(1);
        let read = |from: &[u8], within: u64, length: usize| {
            let mut buffer = vec![0; length];
            let source = |buffer: &mut [u8], offset: u64| -> Result<(), Infallible> {
                let length = buffer.len();
                buffer.copy_from_slice(&from[offset as usize..][..length]);
                Ok(())
            };
            let right = sums.read(MemberId(0), within, &mut buffer, source).unwrap();
            right.then_some(buffer)
        };
        assert_eq!(read(&bytes, 0, 10), None, "nothing is known yet");
        sums.learn(MemberId(0), &bytes);
        for (within, length) in [(0, 10_000), (4095, 2), (4096, 4096), (9999, 1), (8191, 1809)] {
            assert_eq!(
                read(&bytes, within, length).unwrap(),
                bytes[within as usize..][..length]
            );
        }
        let mut flipped = bytes.clone();
        flipped[5000] ^= 1;
        assert_eq!(read(&flipped, 4999, 3), None);
        assert!(read(&flipped, 0, 4096).is_some());
    }
}
