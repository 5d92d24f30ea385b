//! rpm's own database `ndb`: pages of slots, each of which points to a header (rpm's `lib/backend/ndb/rpmpkg.c`).

use super::{BLOB_BYTES_MAX, DatabaseError, PACKAGES_MAX, number};

const MAGIC: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT_MAGIC: u32 = u32::from_le_bytes(*b"Slot");
const BLOB_MAGIC: u32 = u32::from_le_bytes(*b"BlbS");
const PAGE_BYTES: usize = 4096;
/// A slot's length in bytes, and the unit of places and lengths.
const SLOT_BYTES: usize = 16;
/// The slots that the header takes.
const HEADER_SLOTS: usize = 2;

/// Returns all headers.
///
/// # Errors
/// [`DatabaseError`].
pub(super) fn blobs(file: &[u8]) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let word = |at: usize| number(file, at, u32::from_le_bytes);
    let malformed = |structure, at: usize, reason| DatabaseError::new(structure, at as u64, reason);
    if word(0) != Some(MAGIC) {
        return Err(malformed("the header", 0, "is not that of ndb"));
    }
    if word(4) != Some(0) {
        return Err(malformed("the header", 4, "is of a version that is not known"));
    }
    let pages = word(12).unwrap_or_default() as usize;
    let slots = pages.saturating_mul(PAGE_BYTES / SLOT_BYTES);
    if slots.saturating_mul(SLOT_BYTES) > file.len() {
        return Err(malformed("the header", 12, "claims more slots than there are"));
    }
    let (mut found, mut left_bytes) = (Vec::new(), BLOB_BYTES_MAX);
    for slot in HEADER_SLOTS..slots {
        let at = slot * SLOT_BYTES;
        if word(at) != Some(SLOT_MAGIC) {
            return Err(malformed("a slot", at, "has another magic number"));
        }
        let (index, block) = (word(at + 4).unwrap_or_default(), word(at + 8).unwrap_or_default());
        if index == 0 {
            continue;
        }
        let start = (block as usize).saturating_mul(SLOT_BYTES);
        if word(start) != Some(BLOB_MAGIC) || word(start.saturating_add(4)) != Some(index) {
            return Err(malformed("a slot", at, "points to no header of its package"));
        }
        let length = word(start + 12).unwrap_or_default() as usize;
        let blob = file.get(start + SLOT_BYTES..).and_then(|rest| rest.get(..length));
        let blob = blob.ok_or(malformed("a header", start, "is cut off"))?;
        left_bytes = left_bytes
            .checked_sub(length as u64)
            .ok_or(malformed("a slot", at, "holds too much"))?;
        found.push(blob.to_vec());
        if found.len() > PACKAGES_MAX {
            return Err(malformed("a slot", at, "is one too many"));
        }
    }
    Ok(found)
}
