//! Reads a tar stream member by member: the formats before POSIX, ustar, PAX and GNU.
//!
//! Invariant: nothing a header says is trusted. Numbers are checked, lengths are bounded before memory is allocated,
//! and the path of a member stays below the root.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ArchiveError;

pub mod acl;
mod field;
mod member;
mod pax;
mod sparse;

pub use field::Xattrs;
use field::{BLOCK_BYTES, Header};
pub(super) use member::name_of;
pub use member::{Kind, Member, PATH_BYTES_MAX, Rules, relative};
pub use sparse::Extent;

/// Upper limit for long names, in bytes.
const LONG_NAME_BYTES_MAX: u64 = 64 << 10;
/// Upper limit for PAX extended headers, in bytes.
const EXTENDED_HEADER_BYTES_MAX: u64 = 4 << 20;
/// Upper limit for global ones: each member behind them has a copy of their values.
const GLOBAL_HEADER_BYTES_MAX: u64 = 8 << 10;

/// Size of a tar header in bytes.
pub const HEADER_BYTES: usize = BLOCK_BYTES;

/// Returns whether `bytes` start with a tar header.
pub fn starts_with_header(bytes: &[u8]) -> bool {
    bytes
        .first_chunk()
        .is_some_and(|block| *block != [0; BLOCK_BYTES] && Header::new(*block).is_some())
}

/// A tar stream that is being read. Its `Read` returns the stored bytes of the current member.
#[derive(Debug)]
pub struct Stream<R> {
    reader: R,
    archive: PathBuf,
    /// Offset of the next byte of `reader`.
    position: u64,
    /// Unread stored bytes of the current member; the padding behind them is counted apart.
    left: u64,
    padding: u64,
    /// The records of all global extended headers so far.
    global: pax::Records,
    found_end: bool,
    rules: Rules,
}

/// The values that the headers before a member set for it.
#[derive(Debug, Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Option<pax::Records>,
}

impl<R: Read> Stream<R> {
    /// Starts reading the tar stream in `reader` by `rules`; `archive` names it in messages.
    pub fn new(reader: R, archive: &Path, rules: Rules) -> Self {
        Self {
            reader,
            archive: archive.to_owned(),
            position: 0,
            left: 0,
            padding: 0,
            global: pax::Records::default(),
            found_end: false,
            rules,
        }
    }

    /// Reads the headers of the next member, or returns `None` at the end. Skips unread content of the member before.
    ///
    /// # Errors
    /// [`ArchiveError::Read`] if the stream fails; [`ArchiveError::Malformed`] if it ends early or has no header
    /// where one should be; [`ArchiveError::Refused`] if a member's name leads out of the root, its type is unknown
    /// (both by the [`Rules`]), or its values are impossible.
    pub fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut pending = Pending::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.size();
            let size = size.ok_or_else(|| self.refused(&header.name(), "its header has a bad size"))?;
            match header.kind() {
                b'L' => pending.long_name = Some(self.long_name(&header, size)?),
                b'K' => pending.long_link = Some(self.long_name(&header, size)?),
                // The same, with the letter that Solaris uses.
                b'x' | b'X' => pending.records = Some(self.records(&header, size, EXTENDED_HEADER_BYTES_MAX)?),
                b'g' => self.global = self.records(&header, size, GLOBAL_HEADER_BYTES_MAX)?,
                // A volume label.
                b'V' => self.begin_content(size),
                _ => return self.member(&header, size, pending).map(Some),
            }
        }
    }

    /// Returns the offset in the stream of the byte that is read next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns whether the end mark was found; without it, whole members may be missing.
    pub fn found_end(&self) -> bool {
        self.found_end
    }

    /// Returns the reader at its current position.
    pub fn into_inner(self) -> R {
        self.reader
    }

    fn member(&mut self, header: &Header, size: u64, pending: Pending) -> Result<Member, ArchiveError> {
        let mut records = pending.records.unwrap_or_else(|| self.global.clone());
        let sparse = std::mem::take(&mut records.sparse);
        // For a sparse file in PAX records, the header's name is a substitute for old programs.
        records.path = sparse.name.clone().or(records.path).or(pending.long_name);
        records.link_path = records.link_path.or(pending.long_link);
        let stored = match header.kind() {
            b'1' if self.rules == Rules::Tar => 0,
            _ => records.size_bytes.unwrap_or(size),
        };
        let name = records.path.clone().unwrap_or_else(|| header.name());
        let member = member::member(header, name.clone(), records, stored, self.rules);
        let mut member = member.map_err(|problem| self.refused(&name, problem))?;
        let old_map = match header.kind() {
            b'S' => Some(self.old_map(header, &name)?),
            _ => None,
        };
        self.begin_content(stored);
        let (map, size_bytes) = match old_map {
            Some(map) => (map, sparse::old_gnu_size(header)),
            None if !sparse.found => return Ok(member),
            None if sparse.major == Some(1) => (self.leading_map(&name)?, sparse.size_bytes),
            None => (sparse.map, sparse.size_bytes),
        };
        let extents = size_bytes.and_then(|size| sparse::extents(&map, size, self.left));
        let bad = || self.refused(&name, "its map of the parts of a sparse file does not add up");
        member.size_bytes = size_bytes.ok_or_else(bad)?;
        member.sparse = Some(extents.ok_or_else(bad)?);
        Ok(member)
    }

    /// Reads the map in an old GNU header and in the blocks that continue it.
    fn old_map(&mut self, header: &Header, name: &[u8]) -> Result<Vec<u64>, ArchiveError> {
        let bad =
            |stream: &Self| stream.refused(name, "its map of the parts of a sparse file is malformed or too long");
        let (mut map, mut more) = sparse::old_gnu(&header.0, false).ok_or_else(|| bad(self))?;
        while more {
            let block = self.block()?.ok_or_else(|| self.ends_early())?;
            let (part, follows) = sparse::old_gnu(&block, true).ok_or_else(|| bad(self))?;
            map.extend(part);
            more = follows;
            if map.len() > 2 * sparse::EXTENTS_MAX {
                return Err(bad(self));
            }
        }
        Ok(map)
    }

    /// Reads the map that fills the first blocks of the content.
    fn leading_map(&mut self, name: &[u8]) -> Result<Vec<u64>, ArchiveError> {
        let mut block: Vec<u8> = Vec::new();
        let map = sparse::leading(|| {
            let mut number = 0_u64;
            loop {
                if block.is_empty() {
                    let mut next = [0; BLOCK_BYTES];
                    self.read_exact(&mut next).ok()?;
                    block.extend(next.iter().rev());
                }
                match block.pop()? {
                    b'\n' => return Some(number),
                    digit @ b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?,
                    _ => return None,
                }
            }
        });
        map.ok_or_else(|| self.refused(name, "its map of the parts of a sparse file is malformed or too long"))
    }

    fn begin_content(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK_BYTES as u64;
    }

    /// Skips the unread content of the current member.
    fn skip(&mut self) -> Result<(), ArchiveError> {
        let rest = self.left.saturating_add(std::mem::take(&mut self.padding));
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink());
        let skipped = skipped.map_err(ArchiveError::read(&self.archive))?;
        self.position = self.position.saturating_add(skipped);
        self.left = 0;
        if skipped < rest {
            return Err(self.ends_early());
        }
        Ok(())
    }

    /// Reads the next header; `None` at the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; BLOCK_BYTES] {
            self.found_end = true;
            return Ok(None);
        }
        let at = self.position.saturating_sub(BLOCK_BYTES as u64);
        let malformed = || ArchiveError::malformed(&self.archive, format!("there is no tar header at byte {at}"));
        Header::new(block).map(Some).ok_or_else(malformed)
    }

    /// Reads the next block; `None` at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, ArchiveError> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let read = (&mut self.reader).take(BLOCK_BYTES as u64).read_to_end(&mut block);
        let read = read.map_err(ArchiveError::read(&self.archive))?;
        self.position = self.position.saturating_add(read as u64);
        if read == 0 {
            return Ok(None);
        }
        block.try_into().map(Some).map_err(|_| self.ends_early())
    }

    fn long_name(&mut self, header: &Header, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.bounded(header, size, LONG_NAME_BYTES_MAX)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn records(&mut self, header: &Header, size: u64, limit: u64) -> Result<pax::Records, ArchiveError> {
        let bytes = self.bounded(header, size, limit)?;
        let records = pax::parse(&bytes, self.global.clone());
        records.map_err(|problem| self.refused(&header.name(), problem))
    }

    /// Reads the whole content of a member that describes the next one; refuses more than `limit` bytes.
    fn bounded(&mut self, header: &Header, size: u64, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > limit {
            let problem = format!("its header claims {size} bytes; at most {limit} are taken");
            return Err(self.refused(&header.name(), problem));
        }
        self.begin_content(size);
        let mut bytes = Vec::new();
        let read = self
            .read_to_end(&mut bytes)
            .map_err(ArchiveError::read(&self.archive))?;
        if read as u64 != size {
            return Err(self.ends_early());
        }
        Ok(bytes)
    }

    fn refused(&self, name: &[u8], problem: impl Into<String>) -> ArchiveError {
        ArchiveError::refused(&self.archive, &name_of(name), problem)
    }

    fn ends_early(&self) -> ArchiveError {
        ArchiveError::malformed(&self.archive, "its tar stream ends early: it is cut short")
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..length).unwrap_or_default();
        if part.is_empty() {
            // Some decoders treat an empty buffer as an error.
            return Ok(0);
        }
        let count = self.reader.read(part)?;
        self.left = self.left.saturating_sub(count as u64);
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}
