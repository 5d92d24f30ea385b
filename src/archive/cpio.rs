//! cpio archives as RPM payloads have them: the "newc" form (cpio(5)), and rpm's own, whose headers
//! hold nothing but the file's number in the package's header (rpm's `lib/cpio.c`, "07070X").

use std::io::{self, Read};

const NEWC: &[u8] = b"070701";
const NEWC_WITH_SUM: &[u8] = b"070702";
const STRIPPED: &[u8] = b"07070X";
const MAGIC_BYTES: usize = 6;
/// Thirteen numbers of eight hexadecimal digits.
const NEWC_NUMBERS: usize = 13;
const DIGITS: usize = 8;
const TRAILER: &[u8] = b"TRAILER!!!";
/// Longer than any path that a kernel takes (PATH_MAX is 4096).
const NAME_BYTES_MAX: usize = 64 << 10;

/// The reason why a stream is not a cpio archive.
#[derive(Debug)]
pub(super) enum CpioError {
    /// It is unreadable, or ends too early.
    Io(io::Error),
    /// It breaks the rules of the format.
    Malformed(&'static str),
}

impl From<io::Error> for CpioError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The file of the package that a member belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// The file's name, with the size of its content in bytes.
    Named { name: Vec<u8>, size_bytes: u64 },
    /// The file's number in the package's header, which also has the size.
    Numbered(u32),
}

/// A cpio archive, read from front to back. Its `Read` returns the content of the current member.
#[derive(Debug)]
pub(super) struct Cpio<R> {
    reader: R,
    /// Unread bytes of the current member's content; the padding behind it is counted apart.
    content_bytes: u64,
    padding_bytes: u64,
}

impl<R: Read> Cpio<R> {
    /// Starts reading the archive in `reader`.
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            content_bytes: 0,
            padding_bytes: 0,
        }
    }

    /// Reads the header of the next member, or returns `None` at the trailer. Skips unread content of the member
    /// before.
    pub(super) fn next(&mut self) -> Result<Option<Member>, CpioError> {
        self.skip(self.content_bytes)?;
        self.content_bytes = 0;
        self.skip(self.padding_bytes)?;
        self.padding_bytes = 0;
        let mut magic = [0; MAGIC_BYTES];
        self.reader.read_exact(&mut magic)?;
        match &magic[..] {
            NEWC | NEWC_WITH_SUM => self.named(),
            STRIPPED => {
                let number = self.number()?;
                self.skip(padding((MAGIC_BYTES + DIGITS) as u64))?;
                Ok(Some(Member::Numbered(number)))
            }
            _ => Err(CpioError::Malformed("a member has another magic number")),
        }
    }

    /// Sets the content size of the current member, in bytes. That of a named member is known already.
    pub(super) fn set_size(&mut self, size_bytes: u64) {
        self.content_bytes = size_bytes;
        self.padding_bytes = padding(size_bytes);
    }

    fn named(&mut self) -> Result<Option<Member>, CpioError> {
        let mut numbers = [0; NEWC_NUMBERS];
        for number in &mut numbers {
            *number = self.number()?;
        }
        // Inode, mode, uid, gid, links and time come from the package header.
        let [_, _, _, _, _, _, size_bytes, _, _, _, _, name_bytes, _] = numbers;
        let length = name_bytes as usize;
        if length > NAME_BYTES_MAX {
            return Err(CpioError::Malformed("a member's name is too long"));
        }
        let mut name = vec![0; length];
        self.reader.read_exact(&mut name)?;
        if name.pop() != Some(0) || name.contains(&0) {
            return Err(CpioError::Malformed("a member's name does not end where it should"));
        }
        let header = MAGIC_BYTES + NEWC_NUMBERS * DIGITS + length;
        self.skip(padding(header as u64))?;
        if name == TRAILER {
            return Ok(None);
        }
        let size_bytes = u64::from(size_bytes);
        self.set_size(size_bytes);
        Ok(Some(Member::Named { name, size_bytes }))
    }

    fn number(&mut self) -> Result<u32, CpioError> {
        let mut digits = [0; DIGITS];
        self.reader.read_exact(&mut digits)?;
        let malformed = CpioError::Malformed("a member's header has something else than hexadecimal digits");
        // from_str_radix also takes a sign.
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(malformed);
        }
        let digits = str::from_utf8(&digits).unwrap_or_default();
        u32::from_str_radix(digits, 16).map_err(|_| malformed)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(count), &mut io::sink())?;
        match skipped == count {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Returns the reader at its current position.
    pub(super) fn into_inner(self) -> R {
        self.reader
    }
}

impl<R: Read> Read for Cpio<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&mut self.reader).take(self.content_bytes).read(buffer)?;
        self.content_bytes = self.content_bytes.saturating_sub(count as u64);
        Ok(count)
    }
}

/// Returns the number of bytes from `bytes` to the next multiple of four.
fn padding(bytes: u64) -> u64 {
    bytes.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn header(name: &str, size: usize) -> Vec<u8> {
        let mut text = "070701".to_owned();
        for number in [1, 0o100_644, 0, 0, 1, 0, size, 0, 0, 0, 0, name.len() + 1, 0] {
            write!(text, "{number:08x}").unwrap();
        }
        text += name;
        text.push('\0');
        while !text.len().is_multiple_of(4) {
            text.push('\0');
        }
        text.into_bytes()
    }

    #[test]
    fn members_follow_each_other() {
        let mut bytes = header("./a", 5);
        bytes.extend(b"hello\0\0\0");
        bytes.extend(header("./empty", 0));
        bytes.extend(b"07070X0000000a\0\0tail\0");
        let mut cpio = Cpio::new(&bytes[..]);
        let named = |name: &str, size_bytes| {
            Some(Member::Named {
                name: name.into(),
                size_bytes,
            })
        };
        assert_eq!(cpio.next().unwrap(), named("./a", 5));
        let mut some = [0; 3];
        cpio.read_exact(&mut some).unwrap();
        assert_eq!(&some, b"hel");
        assert_eq!(cpio.next().unwrap(), named("./empty", 0));
        assert_eq!(cpio.next().unwrap(), Some(Member::Numbered(10)));
        cpio.set_size(4);
        let mut text = String::new();
        cpio.read_to_string(&mut text).unwrap();
        assert_eq!(text, "tail");
        assert!(
            matches!(cpio.next(), Err(CpioError::Io(_))),
            "it ends without a trailer"
        );
        let trailer = header("TRAILER!!!", 0);
        assert_eq!(Cpio::new(&trailer[..]).next().unwrap(), None);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut long = header("x", 0);
        long[94..102].copy_from_slice(b"7fffffff");
        let mut sign = header("x", 0);
        sign[6..14].copy_from_slice(b"+0000001");
        for bytes in [&b"070707"[..], &long, &sign, &header("a\0b", 0)] {
            assert!(matches!(Cpio::new(bytes).next(), Err(CpioError::Malformed(_))));
        }
    }
}
