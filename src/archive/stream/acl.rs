//! Access control lists as tar streams hold them (`SCHILY.acl.*` records: acl(5), "TEXT FORMS"), turned into the
//! attribute by which Linux keeps them (linux/posix_acl_xattr.h, version 2).

const VERSION: u32 = 2;
const ENTRY_BYTES: usize = 8;
/// Entries that name nobody have this number.
const NOBODY: u32 = u32::MAX;

/// The value of `system.posix_acl_access` or `_default` for a list in text form: entries between newlines or commas,
/// `user:NAME:rwx`, with a number for a name, or a number behind it (`user:NAME:rwx:1000`). `None` if it is
/// malformed, or names someone without a number: who that is only the archive's own host can tell.
pub(super) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let entries = text.split(|byte| matches!(byte, b'\n' | b','));
    let entries = entries.map(|entry| {
        entry
            .split(|byte| *byte == b'#')
            .next()
            .unwrap_or_default()
            .trim_ascii()
    });
    let parsed = entries.filter(|entry| !entry.is_empty()).map(entry);
    let mut entries = parsed.collect::<Option<Vec<_>>>()?;
    // The kernel takes them in this order only.
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Some(value)
}

/// Whether a list has more than owner, group and others: if not, Linux does not keep it.
pub(super) fn says_more_than_the_mode(value: &[u8]) -> bool {
    value.len() > 4 + 3 * ENTRY_BYTES
}

/// Tag, number and permissions.
fn entry(text: &[u8]) -> Option<(u16, u32, u16)> {
    let mut fields = text.split(|byte| *byte == b':');
    let (tag, name, mode) = (fields.next()?, fields.next()?, fields.next()?);
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
    let id = || fields.clone().next().and_then(number).or_else(|| number(name));
    let (tag, id) = match (tag, name.is_empty()) {
        (b"user" | b"u", true) => (1, NOBODY),
        (b"user" | b"u", false) => (2, id()?),
        (b"group" | b"g", true) => (4, NOBODY),
        (b"group" | b"g", false) => (8, id()?),
        (b"mask" | b"m", true) => (0x10, NOBODY),
        (b"other" | b"o", true) => (0x20, NOBODY),
        _ => return None,
    };
    let mut permissions = 0;
    for letter in mode {
        permissions |= match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
    }
    Some((tag, id, permissions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        let lines = b"user::rw-\nuser:1234:r--\ngroup::r--\nmask::r--\nother::---\n";
        let commas = b"other::---,group::r--,mask::r--,user:somebody:r--:1234,user::rw-";
        let value = from_text(lines).unwrap();
        assert_eq!(value.len(), 4 + 5 * 8);
        assert_eq!(value, from_text(commas).unwrap());
        assert_eq!(value[4..12], [1, 0, 6, 0, 255, 255, 255, 255]);
        for bad in [
            &b"user:somebody:rw-"[..],
            b"user:",
            b"everyone::rwx",
            b"user::rwz",
            b"mask:7:r--",
        ] {
            assert_eq!(from_text(bad), None, "{}", bad.escape_ascii());
        }
    }
}
