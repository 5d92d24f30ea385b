//! Access control lists as text (acl(5), "ACL TEXT FORMS"), with the numbers of users and groups.

/// The version of the binary form (kernel, `linux/posix_acl_xattr.h`).
const VERSION: u32 = 2;

/// Words the list whose binary form, the value of an extended attribute, is `value`; `None` if that is none.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return None;
    }
    let words: Option<Vec<String>> = entries.iter().map(entry).collect();
    Some(words?.join(","))
}

/// Words an entry: a tag and permissions of two bytes each, and a number of four.
fn entry(&[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; 8]) -> Option<String> {
    let id = u32::from_le_bytes([i0, i1, i2, i3]);
    let who = match u16::from_le_bytes([t0, t1]) {
        0x01 => "user:".to_owned(),
        0x02 => format!("user:{id}"),
        0x04 => "group:".to_owned(),
        0x08 => format!("group:{id}"),
        0x10 => "mask:".to_owned(),
        0x20 => "other:".to_owned(),
        _ => return None,
    };
    let permissions = u16::from_le_bytes([p0, p1]);
    let letter = |bit: u16, letter| if permissions & bit == 0 { '-' } else { letter };
    Some(format!("{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_worded_as_getfacl_does() {
        let entry = |tag: u16, permissions: u16, id: u32| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let list = [
            VERSION.to_le_bytes().to_vec(),
            entry(1, 6, u32::MAX),
            entry(2, 4, 1234),
            entry(4, 4, u32::MAX),
            entry(0x10, 5, u32::MAX),
            entry(0x20, 0, u32::MAX),
        ]
        .concat();
        let wanted = "user::rw-,user:1234:r--,group::r--,mask::r-x,other::---";
        assert_eq!(text(&list).as_deref(), Some(wanted));
        assert_eq!(text(&list[..11]), None);
        assert_eq!(text(&entry(3, 0, 0)), None);
        assert_eq!(text(b""), None);
    }
}
