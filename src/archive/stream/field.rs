//! The fields of a tar header (POSIX.1-2018 pax, "ustar Interchange Format"; tar(5)).

use std::ops::Range;

/// Names and values of extended attributes.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Unit of a tar stream in bytes.
pub(super) const BLOCK_BYTES: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const DEVICE_MAJOR: Range<usize> = 329..337;
const DEVICE_MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
/// star's shorter prefix: star stores times behind it, and a mark at the end of the block.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_MARK: Range<usize> = 508..512;

/// A header block whose checksum is right.
#[derive(Debug, Clone)]
pub(super) struct Header(pub(super) [u8; BLOCK_BYTES]);

impl Header {
    /// Takes the header in `block`; `None` if its checksum is wrong.
    pub(super) fn new(block: [u8; BLOCK_BYTES]) -> Option<Self> {
        let header = Self(block);
        let expected = header.number(CHECKSUM)?;
        // The checksum field itself counts as spaces. Some old programs added signed bytes.
        let (mut unsigned, mut signed) = (0, 0);
        for (place, byte) in block.into_iter().enumerate() {
            let counted = if CHECKSUM.contains(&place) { b' ' } else { byte };
            unsigned += i64::from(counted);
            signed += i64::from(counted.cast_signed());
        }
        (expected == unsigned || expected == signed).then_some(header)
    }

    /// Returns the type flag.
    pub(super) fn kind(&self) -> u8 {
        self.0.get(156).copied().unwrap_or_default()
    }

    /// Returns the name, with the prefix of ustar.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = until_nul(self.bytes(NAME));
        let prefix = match (self.bytes(MAGIC), self.bytes(STAR_MARK)) {
            (b"ustar\0", b"tar\0") => until_nul(self.bytes(STAR_PREFIX)),
            (b"ustar\0", _) => until_nul(self.bytes(PREFIX)),
            _ => &[],
        };
        match prefix {
            [] => name.to_owned(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    /// Returns the link name.
    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(self.bytes(LINK)).to_owned()
    }

    /// Returns the mode.
    pub(super) fn mode(&self) -> Option<i64> {
        self.number(MODE)
    }

    /// Returns the owner's number.
    pub(super) fn uid(&self) -> Option<i64> {
        self.number(UID)
    }

    /// Returns the group's number.
    pub(super) fn gid(&self) -> Option<i64> {
        self.number(GID)
    }

    /// Returns the size of the stored content, in bytes.
    pub(super) fn size(&self) -> Option<u64> {
        self.number(SIZE).and_then(|size| u64::try_from(size).ok())
    }

    /// Returns the modification time, in seconds since 1970.
    pub(super) fn mtime(&self) -> Option<i64> {
        self.number(MTIME)
    }

    /// Returns the major and minor number.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        let number = |field| self.number(field).and_then(|number| u32::try_from(number).ok());
        Some((number(DEVICE_MAJOR)?, number(DEVICE_MINOR)?))
    }

    /// Parses the number in `field`, as [`number`] does.
    pub(super) fn number(&self, field: Range<usize>) -> Option<i64> {
        number(self.bytes(field))
    }

    fn bytes(&self, field: Range<usize>) -> &[u8] {
        self.0.get(field).unwrap_or_default()
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Parses octal digits between spaces or NULs, an empty field (0), or base 256 as GNU tar writes it: big-endian with
/// the first byte `80`, or two's complement with the first byte `ff`.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.split_first() {
        Some((0x80, digits)) => base_256(0, digits),
        Some((0xff, digits)) => base_256(-1, digits),
        _ => octal(field),
    }
}

fn base_256(sign: i64, digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(sign, |number, digit| {
        number.checked_mul(256)?.checked_add(i64::from(*digit))
    })
}

fn octal(field: &[u8]) -> Option<i64> {
    let padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !padding(byte)).unwrap_or(field.len());
    let rest = field.get(start..)?;
    let length = rest.iter().position(padding).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at_checked(length)?;
    if !rest.iter().all(padding) {
        return None;
    }
    digits.iter().try_fold(0_i64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_kind() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"77777777777 ", Some(0o77_777_777_777)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(258)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"12 34\0\0", None),
            (b"-1\0", None),
            (b"18\0", None),
            (b"0x10\0", None),
        ] {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }
}
