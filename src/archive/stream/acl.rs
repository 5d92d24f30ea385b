//! Access control lists: the text of tar streams (`SCHILY.acl.*` records: acl(5), "TEXT FORMS"), and the attribute in
//! which Linux stores them (linux/posix_acl_xattr.h, version 2).

const VERSION: u32 = 2;
const VERSION_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;
/// The number of entries that name no account.
const NO_ACCOUNT: u32 = u32::MAX;

const OWNER: u16 = 1;
const USER: u16 = 2;
const OWNING_GROUP: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// The attribute of a list that grants access to its own file.
pub const ACCESS: &str = "system.posix_acl_access";
/// The attribute of a list that new files in a directory inherit.
pub const DEFAULT: &str = "system.posix_acl_default";

/// The kind of an account that an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// A user.
    User,
    /// A group.
    Group,
}

/// Encodes a list in text form as the value of its attribute. Its entries stand between newlines or commas:
/// `user:NAME:rwx`, with a number for a name, or a number behind it (`user:NAME:rwx:1000`). `number` finds the number
/// of a name. Returns `None` if the list is malformed, or names an account that has no number.
pub fn from_text(text: &[u8], number: &dyn Fn(Account, &[u8]) -> Option<u32>) -> Option<Vec<u8>> {
    let entries = text.split(|byte| matches!(byte, b'\n' | b','));
    let entries = entries.map(|entry| {
        entry
            .split(|byte| *byte == b'#')
            .next()
            .unwrap_or_default()
            .trim_ascii()
    });
    let parsed = entries.filter(|text| !text.is_empty()).map(|text| entry(text, number));
    let mut entries = parsed.collect::<Option<Vec<_>>>()?;
    // The kernel accepts no other order.
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Some(value)
}

/// What an encoded list says beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The lower nine bits of the mode of a file with this list: those of the group class are the mask.
    pub permissions: u32,
    /// Whether the list has more than owner, group and others. Linux keeps no access list of these alone.
    pub says_more_than_the_mode: bool,
}

/// Sums up the value of an attribute; `None` if Linux refuses it (the rules of acl(5), "VALID ACLs").
pub fn sum_up(value: &[u8]) -> Option<Summary> {
    let (version, entries) = value.split_at_checked(VERSION_BYTES)?;
    let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
    if version != VERSION.to_le_bytes() || !rest.is_empty() {
        return None;
    }
    let (mut seen, mut last) = ([None; 4], 0);
    let mut names_accounts = false;
    for &[tag, tag_high, bits, bits_high, id @ ..] in entries {
        let (tag, bits) = (
            u16::from_le_bytes([tag, tag_high]),
            u16::from_le_bytes([bits, bits_high]),
        );
        if tag < last || bits > 7 {
            return None;
        }
        last = tag;
        let place = match tag {
            OWNER => 0,
            OWNING_GROUP => 1,
            MASK => 2,
            OTHERS => 3,
            USER | GROUP if id != NO_ACCOUNT.to_le_bytes() => {
                names_accounts = true;
                continue;
            }
            _ => return None,
        };
        if seen.get_mut(place)?.replace(u32::from(bits)).is_some() {
            return None;
        }
    }
    let [owner, group, mask, others] = seen;
    let says_more_than_the_mode = names_accounts || mask.is_some();
    let class = if names_accounts { mask? } else { mask.or(group)? };
    group?;
    Some(Summary {
        permissions: owner? << 6 | class << 3 | others?,
        says_more_than_the_mode,
    })
}

/// Parses one entry into tag, number and permissions.
fn entry(text: &[u8], number: &dyn Fn(Account, &[u8]) -> Option<u32>) -> Option<(u16, u32, u16)> {
    let mut fields = text.split(|byte| *byte == b':');
    let (tag, name, mode) = (fields.next()?, fields.next()?, fields.next()?);
    let digits = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
    let behind = fields.next().and_then(digits);
    let id = |account| behind.or_else(|| digits(name)).or_else(|| number(account, name));
    let (tag, id) = match (tag, name.is_empty()) {
        (b"user" | b"u", true) => (OWNER, NO_ACCOUNT),
        (b"user" | b"u", false) => (USER, id(Account::User)?),
        (b"group" | b"g", true) => (OWNING_GROUP, NO_ACCOUNT),
        (b"group" | b"g", false) => (GROUP, id(Account::Group)?),
        (b"mask" | b"m", true) => (MASK, NO_ACCOUNT),
        (b"other" | b"o", true) => (OTHERS, NO_ACCOUNT),
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

    fn numbers(text: &[u8]) -> Option<Vec<u8>> {
        from_text(text, &|_, _| None)
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let lines = b"user::rw-\nuser:1234:r--\ngroup::r--\nmask::r--\nother::---\n";
        let commas = b"other::---,group::r--,mask::r--,user:somebody:r--:1234,user::rw-";
        let value = numbers(lines).unwrap();
        assert_eq!(value.len(), 4 + 5 * 8);
        assert_eq!(value, numbers(commas).unwrap());
        assert_eq!(value[4..12], [1, 0, 6, 0, 255, 255, 255, 255]);
        for bad in [
            &b"user:somebody:rw-"[..],
            b"user:",
            b"everyone::rwx",
            b"user::rwz",
            b"mask:7:r--",
        ] {
            assert_eq!(numbers(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn names_are_looked_up_by_their_kind() {
        let known = |account, name: &[u8]| match (account, name) {
            (Account::User, b"mail") => Some(8),
            (Account::Group, b"mail") => Some(12),
            _ => None,
        };
        let text = b"u::rw-,u:mail:rw,g::r--,g:mail:r,m::rw-,o::---";
        let by_number = b"u::rw-,u:8:rw,g::r--,g:12:r,m::rw-,o::---";
        assert_eq!(from_text(text, &known), numbers(by_number));
        assert_eq!(from_text(b"u::rw-,u:news:r,g::r--,m::r--,o::---", &known), None);
    }

    /// Compares with setfacl(1) and the kernel: which lists they take, and the mode that a file has then.
    #[test]
    fn the_kernel_says_the_same_of_a_list() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
        for text in [
            "u::rw-,g::r--,o::---",
            "u::rwx,g::-wx,o::--x,m::r-x",
            "u::rw-,u:7:rw-,g::r--,m::-w-,o::r--",
            "u::rw-,g:7:rw-,g::r--,m::rw-,o::r--",
            "u::rw-,u:7:rw-,g::r--,o::---",
            "u::rw-,u:7:rw-,u:7:r--,g::r--,m::rwx,o::---",
            "u::rw-,g::r--",
            "u::rw-,o::r--",
            "g::rw-,o::r--",
            "u::rw-,u::rw-,g::r--,o::---",
            "u::rw-,u:4294967295:rw-,g::r--,m::rwx,o::---",
            "m::rw-",
        ] {
            let value = numbers(text.as_bytes()).unwrap();
            rustix::fs::fchmod(file.as_file(), rustix::fs::Mode::empty()).unwrap();
            let _ = rustix::fs::fremovexattr(file.as_file(), ACCESS);
            let set = rustix::fs::fsetxattr(file.as_file(), ACCESS, &value, rustix::fs::XattrFlags::empty());
            let mode = file.as_file().metadata().unwrap().permissions().mode() & 0o777;
            let kept = rustix::fs::fgetxattr(file.as_file(), ACCESS, &mut [0_u8; 200]).is_ok();
            let said = set.ok().map(|()| Summary {
                permissions: mode,
                says_more_than_the_mode: kept,
            });
            assert_eq!(sum_up(&value), said, "{text}");
        }
        for bad in [&b""[..], b"\x02\0\0", b"\x03\0\0\0", b"\x02\0\0\0\x01"] {
            assert_eq!(sum_up(bad), None);
        }
    }
}
