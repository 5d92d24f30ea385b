//! Sparse files, which tar streams hold in four ways (GNU tar manual, "Storing Sparse Files"): described in the header
//! and blocks behind it (old GNU), in PAX records (0.0 and 0.1), or in front of the content (1.0).

use super::field::{BLOCK_BYTES, Header, number};

/// Upper limit for the parts of a file; a terabyte file with a hole in every other MiB has half as many.
pub(super) const EXTENTS_MAX: usize = 1 << 20;

/// A stored part of a sparse file; the parts follow each other in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// The values that PAX records set for a sparse file.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size_bytes: Option<u64>,
    /// Offsets and lengths in turn.
    pub(super) map: Vec<u64>,
    pub(super) major: Option<u64>,
    /// Whether any of these records exists.
    pub(super) found: bool,
}

impl Records {
    /// Applies the record `GNU.sparse.{key}`; `None` if its value is bad.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let decimal = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        self.found = true;
        match key {
            b"name" => self.name = Some(value.to_owned()),
            b"size" | b"realsize" => self.size_bytes = Some(decimal(value)?),
            b"offset" | b"numbytes" => self.map.push(decimal(value)?),
            b"map" => {
                for number in value.split(|byte| *byte == b',').filter(|number| !number.is_empty()) {
                    self.map.push(decimal(number)?);
                }
            }
            b"major" => self.major = Some(decimal(value)?),
            _ => {}
        }
        (self.map.len() <= 2 * EXTENTS_MAX).then_some(())
    }
}

/// Converts a flat list of offsets and lengths to parts, without empty ones. Returns `None` unless they are in order,
/// within `size_bytes`, and together `stored_bytes` long.
pub(super) fn extents(map: &[u64], size_bytes: u64, stored_bytes: u64) -> Option<Vec<Extent>> {
    let (pairs, rest) = map.as_chunks::<2>();
    let (mut extents, mut position, mut stored) = (Vec::new(), 0, 0_u64);
    for &[offset, length] in pairs {
        let end = offset.checked_add(length)?;
        if offset < position || end > size_bytes {
            return None;
        }
        (position, stored) = (end, stored.checked_add(length)?);
        if length > 0 {
            extents.push(Extent { offset, length });
        }
    }
    (rest.is_empty() && stored == stored_bytes).then_some(extents)
}

/// Parses the offsets and lengths in an old GNU header (`extended`: in a block that continues one), and whether another
/// block follows.
pub(super) fn old_gnu(block: &[u8; BLOCK_BYTES], extended: bool) -> Option<(Vec<u64>, bool)> {
    const ENTRY_BYTES: usize = 24;
    let (start, entries, flag) = if extended { (0, 21, 504) } else { (386, 4, 482) };
    let mut map = Vec::new();
    for entry in 0..entries {
        let at = start + entry * ENTRY_BYTES;
        let field = block.get(at..at + ENTRY_BYTES)?;
        let (offset, length) = field.split_at_checked(ENTRY_BYTES / 2)?;
        if offset.iter().all(|byte| *byte == 0) && length.iter().all(|byte| *byte == 0) {
            break;
        }
        map.push(u64::try_from(number(offset)?).ok()?);
        map.push(u64::try_from(number(length)?).ok()?);
    }
    Some((map, block.get(flag) != Some(&0)))
}

/// Returns the size of the file that an old GNU header describes, in bytes.
pub(super) fn old_gnu_size(header: &Header) -> Option<u64> {
    header.number(483..495).and_then(|size| u64::try_from(size).ok())
}

/// Reads the map in front of the content (format 1.0): decimal lines up to the end of a block, the first being their
/// number. `line` returns one line after the other.
pub(super) fn leading(mut line: impl FnMut() -> Option<u64>) -> Option<Vec<u64>> {
    let count = usize::try_from(line()?).ok().filter(|count| *count <= EXTENTS_MAX)?;
    (0..count * 2).map(|_| line()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_do_not_add_up_are_refused() {
        let good = extents(&[0, 10, 20, 5, 100, 0], 100, 15).unwrap();
        assert_eq!(good.len(), 2);
        for (map, size, stored) in [
            (&[0, 10, 5, 5][..], 100, 15),
            (&[0, 10], 5, 10),
            (&[0, 10], 100, 9),
            (&[0, 10, 20], 100, 10),
            (&[u64::MAX, 2], u64::MAX, 2),
        ] {
            assert_eq!(extents(map, size, stored), None, "{map:?}");
        }
    }
}
