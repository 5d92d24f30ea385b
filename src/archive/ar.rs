//! The common ar format as deb(5) narrows it: no symbol table, no long names.

use std::io::{self, Read, Seek, SeekFrom};

/// A member and the place of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, without padding and trailing slash.
    pub(super) name: Vec<u8>,
    /// Offset of its first byte in the file.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) size_bytes: u64,
    /// Its modification time, in seconds since 1970; 0 if the field is unreadable.
    pub(super) seconds: u64,
}

/// The reason why an ar file was refused.
#[derive(Debug)]
pub(super) enum ArError {
    Io(io::Error),
    Malformed(String),
}

impl From<io::Error> for ArError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: u64 = 60;
/// A `.deb` has three members; a few more are allowed (`_gpgorigin` and the like).
const MEMBERS_MAX: usize = 16;

/// Lists the members of the ar file `reader`, in order; refuses more than [`MEMBERS_MAX`].
pub(super) fn members<R: Read + Seek>(reader: &mut R) -> Result<Vec<Member>, ArError> {
    let file_bytes = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut magic = [0; 8];
    match reader.read_exact(&mut magic) {
        Ok(()) if &magic == MAGIC => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => return Err(ArError::Malformed("it is not an ar archive".into())),
    }
    let mut members = Vec::new();
    let mut position = MAGIC.len() as u64;
    while position < file_bytes {
        if members.len() == MEMBERS_MAX {
            return Err(ArError::Malformed(format!("more than {MEMBERS_MAX} ar members")));
        }
        let truncated = || ArError::Malformed(format!("it ends inside the ar member at byte {position}"));
        let offset = position.checked_add(HEADER_BYTES).filter(|end| *end <= file_bytes);
        let offset = offset.ok_or_else(truncated)?;
        let mut header = [0; HEADER_BYTES as usize];
        reader.seek(SeekFrom::Start(position))?;
        reader.read_exact(&mut header)?;
        let (name, size_bytes, seconds) = parse_header(&header)
            .ok_or_else(|| ArError::Malformed(format!("bad ar member header at byte {position}")))?;
        let end = offset.checked_add(size_bytes).filter(|end| *end <= file_bytes);
        let end = end.ok_or_else(truncated)?;
        members.push(Member {
            name,
            offset,
            size_bytes,
            seconds,
        });
        position = end + end % 2;
    }
    Ok(members)
}

/// Parses a member header (name 16, mtime 12, uid 6, gid 6, mode 8, size 10, magic 2) into name, size and time.
fn parse_header(header: &[u8; HEADER_BYTES as usize]) -> Option<(Vec<u8>, u64, u64)> {
    let (fields, magic) = header.split_at_checked(58)?;
    if magic != b"`\n" {
        return None;
    }
    let name = fields.get(..16)?.trim_ascii_end();
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name.is_empty() {
        return None;
    }
    let size_bytes = number(fields.get(48..)?)?;
    Some((name.to_owned(), size_bytes, number(fields.get(16..28)?).unwrap_or(0)))
}

fn number(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field.trim_ascii_end()).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, data) in members {
            bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).bytes());
            bytes.extend(*data);
            if data.len() % 2 == 1 {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    #[test]
    fn lists_members_with_padding_and_slash() {
        let bytes = archive(&[("debian-binary", b"2.0\n"), ("odd/", b"abc"), ("last", b"x")]);
        let found = members(&mut Cursor::new(&bytes)).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|m| String::from_utf8_lossy(&m.name).into_owned())
            .collect();
        assert_eq!(names, ["debian-binary", "odd", "last"]);
        let odd = &found[1];
        assert_eq!(&bytes[odd.offset as usize..][..odd.size_bytes as usize], b"abc");
    }

    #[test]
    fn refuses_truncation_everywhere_and_odd_sizes() {
        let bytes = archive(&[("a", b"abcdef")]);
        for length in 1..bytes.len() {
            let result = members(&mut Cursor::new(&bytes[..length]));
            assert!(length == MAGIC.len() || result.is_err(), "{length}");
        }
        let mut huge = bytes.clone();
        huge[8 + 48..8 + 58].copy_from_slice(b"9999999999");
        assert!(matches!(members(&mut Cursor::new(&huge)), Err(ArError::Malformed(_))));
        huge[8 + 48..8 + 58].copy_from_slice(b"+6        ");
        assert!(members(&mut Cursor::new(&huge)).is_err());
    }
}
