//! A header: an index of tags over a store of values.

use std::io::Read;

use super::{RpmFileError, Tag};

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// Magic, number of entries, length of the store.
const INTRO_BYTES: usize = 16;
const ENTRY_BYTES: usize = 16;
/// Upper limit, that of rpm.
const ENTRIES_LIMIT: u32 = 0xffff;
/// Upper limit for the values of one tag: as many files as a package may have when it is unpacked.
const VALUES_LIMIT: u32 = 4_000_000;

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Binary,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: Tag,
    kind: u32,
    offset: u32,
    count: u32,
}

/// A header as it was read, byte for byte.
#[derive(Debug, Clone)]
pub struct Header {
    part: &'static str,
    bytes: Vec<u8>,
    /// Sorted by tag.
    entries: Vec<Entry>,
    /// Offset of the store in `bytes`.
    store: usize,
}

impl Header {
    /// Reads a header whose store has at most `limit_bytes`; `part` is its name in messages.
    ///
    /// # Errors
    /// [`RpmFileError`] if it is cut off or its index is malformed. Values are checked when they are read.
    pub fn read(reader: &mut impl Read, part: &'static str, limit_bytes: u32) -> Result<Self, RpmFileError> {
        let malformed = |reason: &str| RpmFileError::malformed(part, reason);
        let mut bytes = vec![0; INTRO_BYTES];
        reader.read_exact(&mut bytes)?;
        if bytes[..8] != MAGIC {
            return Err(malformed("has another magic number"));
        }
        let (entries, store_bytes) = (be32(&bytes, 8), be32(&bytes, 12));
        if entries > ENTRIES_LIMIT {
            return Err(malformed(&format!("claims {entries} entries")));
        }
        if store_bytes > limit_bytes {
            return Err(malformed(&format!("claims {store_bytes} bytes of values")));
        }
        let index_bytes = entries as usize * ENTRY_BYTES;
        let length = index_bytes + store_bytes as usize;
        // The buffer grows with the bytes that come, not with the claimed length.
        let read = reader.take(length as u64).read_to_end(&mut bytes)?;
        if read < length {
            return Err(malformed("ends too early"));
        }
        let mut index = Vec::with_capacity(entries as usize);
        for at in (INTRO_BYTES..INTRO_BYTES + index_bytes).step_by(ENTRY_BYTES) {
            index.push(Entry {
                tag: Tag(be32(&bytes, at)),
                kind: be32(&bytes, at + 4),
                offset: be32(&bytes, at + 8),
                count: be32(&bytes, at + 12),
            });
        }
        index.sort_by_key(|entry| entry.tag);
        Ok(Self {
            part,
            bytes,
            entries: index,
            store: INTRO_BYTES + index_bytes,
        })
    }

    /// Reads the header `blob` of the database of installed packages, which lacks the magic number.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn of_database(blob: &[u8]) -> Result<Self, RpmFileError> {
        let limit = u32::try_from(blob.len()).unwrap_or(u32::MAX);
        Self::read(&mut MAGIC.as_slice().chain(blob), "header", limit)
    }

    /// Returns the paths of the package's files; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// [`RpmFileError`] if a file has no directory, or a value is malformed.
    pub fn paths(&self) -> Result<Vec<String>, RpmFileError> {
        let directories = self.byte_strings(Tag::DIR_NAMES)?;
        let (indexes, names) = (self.numbers(Tag::DIR_INDEXES)?, self.byte_strings(Tag::BASE_NAMES)?);
        let path = |(name, index): (&&[u8], u64)| {
            let directory = usize::try_from(index).ok().and_then(|index| directories.get(index));
            let directory =
                directory.ok_or_else(|| RpmFileError::malformed(self.part, "has a file without a directory"));
            directory.map(|directory| String::from_utf8_lossy(&[directory, *name].concat()).into_owned())
        };
        names.iter().zip(indexes).map(path).collect()
    }

    /// Returns `[epoch:]version-release`, without an epoch of 0 and without absent parts.
    pub fn evr(&self) -> String {
        let text = |tag| self.string(tag).ok().flatten().unwrap_or_default();
        let epoch = self.numbers(Tag::EPOCH).ok().and_then(|all| all.first().copied());
        let epoch = epoch.filter(|epoch| *epoch != 0).map(|epoch| format!("{epoch}:"));
        format!(
            "{}{}-{}",
            epoch.unwrap_or_default(),
            text(Tag::VERSION),
            text(Tag::RELEASE)
        )
    }

    /// Returns the whole header as it lies in the file, magic included: the bytes that its digest and signatures cover.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks that all of the header lies in the region `tag`, which is its first entry: no value outside of the signed
    /// bytes can then be read.
    pub(super) fn check_region(&self, tag: Tag) -> Result<(), RpmFileError> {
        let malformed = |reason: &str| Err(RpmFileError::malformed(self.part, reason));
        let count = be32(&self.bytes, 8);
        if count == 0 || be32(&self.bytes, INTRO_BYTES) != tag.0 {
            return malformed("has no immutable region");
        }
        // The region's trailer: an entry at the end of the store that points back to the start.
        let offset = be32(&self.bytes, INTRO_BYTES + 8) as usize;
        let store = self.store();
        let trailer = store.get(offset..).filter(|trailer| trailer.len() == ENTRY_BYTES);
        let Some(trailer) = trailer else {
            return malformed("has values outside of its immutable region");
        };
        let back = be32(trailer, 8).wrapping_neg();
        if be32(trailer, 0) != tag.0 || u64::from(back) != u64::from(count) * ENTRY_BYTES as u64 {
            return malformed("has entries outside of its immutable region");
        }
        Ok(())
    }

    fn store(&self) -> &[u8] {
        self.bytes.get(self.store..).unwrap_or_default()
    }

    /// Returns whether it has a value for `tag`.
    pub fn has(&self, tag: Tag) -> bool {
        self.find(tag).is_some()
    }

    fn find(&self, tag: Tag) -> Option<Entry> {
        let at = self.entries.partition_point(|entry| entry.tag < tag);
        self.entries.get(at).copied().filter(|entry| entry.tag == tag)
    }

    fn bad(&self, tag: Tag, reason: &str) -> RpmFileError {
        RpmFileError::malformed(self.part, format!("has a value {} {reason}", tag.0))
    }

    /// Returns the store from the start of the value; `wanted` checks the value's kind.
    fn value(&self, entry: Entry, wanted: fn(Kind) -> bool) -> Result<&[u8], RpmFileError> {
        let kind = match entry.kind {
            1..=5 => Kind::Number,
            6 | 8 | 9 => Kind::Text,
            7 => Kind::Binary,
            _ => return Err(self.bad(entry.tag, "of an unknown kind")),
        };
        if !wanted(kind) {
            return Err(self.bad(entry.tag, "of another kind than it should be"));
        }
        let value = self.store().get(entry.offset as usize..);
        value.ok_or_else(|| self.bad(entry.tag, "beyond its end"))
    }

    /// Returns `count`, the number of values to take of `entry`, unless it is too large.
    fn count(&self, entry: Entry, count: u32) -> Result<usize, RpmFileError> {
        match count > VALUES_LIMIT {
            true => Err(self.bad(entry.tag, "with more values than are taken")),
            false => Ok(count as usize),
        }
    }

    /// Returns the string, or the first of the strings, of `tag`; `None` if it has no value.
    ///
    /// # Errors
    /// If the value is of another kind, cut off or not UTF-8.
    pub fn string(&self, tag: Tag) -> Result<Option<&str>, RpmFileError> {
        match self.bytes_list(tag, 1)?.first() {
            None => Ok(None),
            Some(bytes) => match str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(self.bad(tag, "that is not UTF-8")),
            },
        }
    }

    /// Returns the strings of `tag`; none if it has no value.
    ///
    /// # Errors
    /// If the value is of another kind, cut off or not UTF-8.
    pub fn strings(&self, tag: Tag) -> Result<Vec<&str>, RpmFileError> {
        let texts = self.byte_strings(tag)?.into_iter().map(str::from_utf8);
        texts
            .collect::<Result<_, _>>()
            .map_err(|_| self.bad(tag, "that is not UTF-8"))
    }

    /// Returns the strings of `tag` as bytes, such as file names; none if it has no value.
    ///
    /// # Errors
    /// If the value is of another kind or cut off.
    pub fn byte_strings(&self, tag: Tag) -> Result<Vec<&[u8]>, RpmFileError> {
        self.bytes_list(tag, u32::MAX)
    }

    fn bytes_list(&self, tag: Tag, limit: u32) -> Result<Vec<&[u8]>, RpmFileError> {
        let Some(entry) = self.find(tag) else {
            return Ok(Vec::new());
        };
        let value = self.value(entry, |kind| kind == Kind::Text)?;
        let count = self.count(entry, entry.count.min(limit))?;
        let mut strings = Vec::new();
        let mut rest = value;
        while strings.len() < count {
            let end = rest.iter().position(|byte| *byte == 0);
            let end = end.ok_or_else(|| self.bad(tag, "with a string that does not end"))?;
            let (string, tail) = rest.split_at(end);
            strings.push(string);
            rest = &tail[1..];
        }
        Ok(strings)
    }

    /// Returns the numbers of `tag`, of any width; none if it has no value.
    ///
    /// # Errors
    /// If the value is of another kind or cut off.
    pub fn numbers(&self, tag: Tag) -> Result<Vec<u64>, RpmFileError> {
        let Some(entry) = self.find(tag) else {
            return Ok(Vec::new());
        };
        let value = self.value(entry, |kind| kind == Kind::Number)?;
        let bytes = match entry.kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        let length = self.count(entry, entry.count)?.checked_mul(bytes);
        let value = length.and_then(|length| value.get(..length));
        let value = value.ok_or_else(|| self.bad(tag, "that is cut off"))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(value.chunks_exact(bytes).map(number).collect())
    }

    /// Returns the bytes of `tag`; `None` if it has no value.
    ///
    /// # Errors
    /// If the value is of another kind or cut off.
    pub fn binary(&self, tag: Tag) -> Result<Option<&[u8]>, RpmFileError> {
        let Some(entry) = self.find(tag) else {
            return Ok(None);
        };
        let value = self.value(entry, |kind| kind == Kind::Binary)?;
        let value = value.get(..entry.count as usize);
        value.map(Some).ok_or_else(|| self.bad(tag, "that is cut off"))
    }
}

/// Returns the big-endian number at `at`; 0 beyond the end, where no caller looks.
fn be32(bytes: &[u8], at: usize) -> u32 {
    let number = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    number.map_or(0, u32::from_be_bytes)
}
