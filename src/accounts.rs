//! The databases of users and groups: passwd(5) and group(5).
//!
//! As in the C library, a malformed line is left out, and the first line of a name or number counts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The database of users, in an image.
pub const PASSWD: &str = "/etc/passwd";
/// The database of groups, in an image.
pub const GROUP: &str = "/etc/group";

/// A line of passwd(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User<'a> {
    /// Login name.
    pub name: &'a [u8],
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Home directory.
    pub home: &'a Path,
}

/// A line of group(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Group id.
    pub gid: u32,
}

/// Parses the text of passwd(5).
pub fn users(text: &[u8]) -> impl Iterator<Item = User<'_>> {
    lines(text).filter_map(|fields| {
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        Some(User {
            name,
            uid: number(uid)?,
            gid: number(gid)?,
            home: Path::new(OsStr::from_bytes(home)),
        })
    })
}

/// Parses the text of group(5).
pub fn groups(text: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(text).filter_map(|fields| {
        let [name, _, gid, ..] = fields.as_slice() else {
            return None;
        };
        Some(Group {
            name,
            gid: number(gid)?,
        })
    })
}

/// Returns the text of passwd(5) with `home` as the home directory of the user `name`.
pub fn with_home(text: &[u8], name: &str, home: &str) -> Vec<u8> {
    let mut changed = Vec::with_capacity(text.len() + home.len());
    for mut fields in lines(text) {
        if fields.first() == Some(&name.as_bytes())
            && let Some(field) = fields.get_mut(5)
        {
            *field = home.as_bytes();
        }
        changed.extend(fields.join(&b':'));
        changed.push(b'\n');
    }
    changed
}

/// Splits a text into the fields of its lines.
fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    lines.map(|line| line.split(|byte| *byte == b':').collect())
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nfive:x:five:60::/:/\nshort:x:5:60\n\n+nis\n\
        n\xe9e:x:7:8:\xe9:/srv/n\xe9e:/bin/sh\nroots:x:1:1::/roots:/bin/sh";

    #[test]
    fn well_formed_lines_are_read() {
        let read: Vec<_> = users(TEXT).map(|user| (user.name, user.uid, user.gid)).collect();
        let expected: [(&[u8], u32, u32); 3] = [(b"root", 0, 0), (b"n\xe9e", 7, 8), (b"roots", 1, 1)];
        assert_eq!(read, expected);
        assert_eq!(users(TEXT).next().unwrap().home, Path::new("/root"));
        let read: Vec<_> = groups(b"root:x:0:\nstaff:x:50:a,b\nbad:x:-1:\nno\n").collect();
        let expected: [(&[u8], u32); 2] = [(b"root", 0), (b"staff", 50)];
        assert_eq!(read, expected.map(|(name, gid)| Group { name, gid }));
        assert_eq!((users(b"").count(), groups(b"\n\n").count()), (0, 0));
    }

    #[test]
    fn one_home_is_replaced_and_all_other_bytes_stay() {
        let changed = with_home(TEXT, "root", "/srv/root");
        let expected = [b"root:x:0:0:root:/srv/root:/bin/sh", &TEXT[29..], b"\n"].concat();
        assert_eq!(changed, expected);
    }
}
