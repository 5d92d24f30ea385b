//! The table of Berkeley DB in which older versions of rpm keep headers: hash pages with large values on pages of their own
//! (Berkeley DB's `dbinc/db_page.h`).

use super::{BLOB_BYTES_MAX, DatabaseError, PACKAGES_MAX, number};

const HASH_MAGIC: u32 = 0x0006_1561;
/// The kinds of pages.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH: u8 = 13;
/// The header of a page in bytes.
const PAGE_HEADER_BYTES: usize = 26;
/// The kinds of values: on the page, and on pages of their own.
const ON_PAGE: u8 = 1;
const OFF_PAGE: u8 = 3;
/// The length of a record's number, which is the key; the value of record 0 is a number, too.
const NUMBER_BYTES: usize = 4;

struct Database<'a> {
    file: &'a [u8],
    page_bytes: usize,
    is_big_endian: bool,
}

/// Returns all headers.
///
/// # Errors
/// [`DatabaseError`].
pub(super) fn blobs(file: &[u8]) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let database = Database::open(file)?;
    let (mut found, mut left_bytes) = (Vec::new(), BLOB_BYTES_MAX);
    for page in file.chunks_exact(database.page_bytes).skip(1) {
        if !matches!(page.get(25), Some(&(HASH | HASH_UNSORTED))) {
            continue;
        }
        let number = database.word(page, 8);
        let malformed = |reason| DatabaseError::new("a page", database.offset(number), reason);
        // Keys and values take turns.
        let entries = usize::from(database.half(page, 20));
        for entry in (1..entries).step_by(2) {
            let at = usize::from(database.half(page, PAGE_HEADER_BYTES + 2 * entry));
            let before = usize::from(database.half(page, PAGE_HEADER_BYTES + 2 * (entry - 1)));
            let value = match page.get(at) {
                Some(&OFF_PAGE) => database.large(database.word(page, at + 4), database.word(page, at + 8))?,
                // Values lie from the end of the page to its start.
                Some(&ON_PAGE) => page
                    .get(at + 1..before)
                    .ok_or(malformed("has a value that is cut off"))?
                    .to_vec(),
                _ => return Err(malformed("has a value of an unknown kind")),
            };
            left_bytes = left_bytes
                .checked_sub(value.len() as u64)
                .ok_or(malformed("holds too much"))?;
            if value.len() > NUMBER_BYTES {
                found.push(value);
            }
        }
        if found.len() > PACKAGES_MAX {
            return Err(malformed("has one package too many"));
        }
    }
    Ok(found)
}

impl<'a> Database<'a> {
    fn open(file: &'a [u8]) -> Result<Self, DatabaseError> {
        let malformed = |reason| DatabaseError::new("the header", 0, reason);
        let is_big_endian = match (
            number(file, 12, u32::from_le_bytes),
            number(file, 12, u32::from_be_bytes),
        ) {
            (Some(HASH_MAGIC), _) => false,
            (_, Some(HASH_MAGIC)) => true,
            _ => return Err(malformed("is not that of a hash table of Berkeley DB")),
        };
        let mut database = Self {
            file,
            page_bytes: 0,
            is_big_endian,
        };
        if file.get(24) != Some(&0) {
            return Err(malformed("says that it is encrypted"));
        }
        database.page_bytes = database.word(file, 20) as usize;
        match database.page_bytes.is_power_of_two() && (512..=65536).contains(&database.page_bytes) {
            true => Ok(database),
            false => Err(malformed("has an impossible size of pages")),
        }
    }

    /// Returns the number of four bytes at `at`; 0 beyond the end.
    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let of = if self.is_big_endian {
            u32::from_be_bytes
        } else {
            u32::from_le_bytes
        };
        number(bytes, at, of).unwrap_or_default()
    }

    /// Returns the number of two bytes at `at`; 0 beyond the end.
    fn half(&self, bytes: &[u8], at: usize) -> u16 {
        let of = if self.is_big_endian {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        number(bytes, at, of).unwrap_or_default()
    }

    fn offset(&self, page: u32) -> u64 {
        u64::from(page) * self.page_bytes as u64
    }

    /// Returns the value of `length` bytes that begins on page `first`.
    fn large(&self, first: u32, length: u32) -> Result<Vec<u8>, DatabaseError> {
        let (mut value, mut next) = (Vec::new(), first);
        while value.len() < length as usize {
            let malformed = |reason| DatabaseError::new("a page", self.offset(next), reason);
            let start = (next as usize).checked_mul(self.page_bytes);
            let page = start.and_then(|start| self.file.get(start..start.checked_add(self.page_bytes)?));
            let page = page.ok_or(malformed("lies beyond the end"))?;
            let count = usize::from(self.half(page, 22));
            let part = page.get(PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + count);
            let part = part.filter(|part| !part.is_empty() && page.get(25) == Some(&OVERFLOW));
            // Each page adds bytes, so a circle ends too.
            value.extend(part.ok_or(malformed("holds no part of a value"))?);
            next = self.word(page, 16);
        }
        value.truncate(length as usize);
        Ok(value)
    }
}
