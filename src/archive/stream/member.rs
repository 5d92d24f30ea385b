//! Combines a header with the extended headers before it, and checks every kind and number.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::Timespec;

use super::field::{Header, Xattrs};
use super::pax;
use super::sparse::Extent;

/// What a member creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, with its target unchanged.
    Symlink(Vec<u8>),
    /// A further name of an earlier member, with that member's name.
    HardLink(Vec<u8>),
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A FIFO.
    Fifo,
}

/// One member of a tar stream; a regular file's bytes follow in the stream.
#[derive(Debug, Clone)]
pub struct Member {
    /// Name relative to the root, without `.`, empty components or `..`; empty for the root itself.
    pub path: PathBuf,
    /// Name as the archive gives it, for messages.
    pub name: PathBuf,
    /// Kind.
    pub kind: Kind,
    /// The lower twelve bits of `st_mode`.
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub modified: Timespec,
    /// Extended attributes, in the order of their names.
    pub xattrs: Xattrs,
    /// Access control lists in text form, by the attribute that they stand for: lists that name an account without its
    /// number, and malformed ones ([`acl::from_text`](super::acl::from_text)).
    pub acl_texts: Vec<(&'static str, Vec<u8>)>,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// The stored parts of a sparse file, in the order of the stream.
    pub sparse: Option<Vec<Extent>>,
}

/// Longest name and longest target of a link, in bytes: Linux takes no longer ones (`PATH_MAX`, with the NUL).
pub const PATH_BYTES_MAX: usize = 4095;

/// Whose rules a stream follows where programs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Those of packages: what is odd is refused.
    Package,
    /// Those of tar(1): a name loses the slashes at its start, an unknown type is a regular file, and a hard link has
    /// no content, whatever its header says.
    Tar,
}

/// Makes the member `name`, with `stored` bytes in the stream; the error is the reason of a refusal.
pub(super) fn member(
    header: &Header,
    name: Vec<u8>,
    records: pax::Records,
    stored: u64,
    rules: Rules,
) -> Result<Member, String> {
    let name = name_of(&name);
    let bad = |field: &str| format!("its header has a bad {field}");
    let kind = kind(header, &name, records.link_path.unwrap_or_else(|| header.link()), rules)?;
    // GNU tar lists the names in a directory, for incremental backups.
    if kind != Kind::Regular && stored != 0 && header.kind() != b'D' {
        return Err("only a regular file may have content".into());
    }
    let owner = |record: Option<u32>, field: Option<i64>, what| {
        let id = record.or_else(|| field.and_then(|id| u32::try_from(id).ok()));
        id.ok_or_else(|| bad(what))
    };
    let modified = records.modified.or_else(|| {
        let tv_sec = header.mtime()?;
        Some(Timespec { tv_sec, tv_nsec: 0 })
    });
    if name.as_os_str().len() > PATH_BYTES_MAX {
        return Err(format!("its name has more than {PATH_BYTES_MAX} bytes"));
    }
    Ok(Member {
        path: relative(below_root(&name, rules))?,
        uid: owner(records.uid, header.uid(), "uid")?,
        gid: owner(records.gid, header.gid(), "gid")?,
        // In range: twelve bits.
        permissions: (header.mode().ok_or_else(|| bad("mode"))? & 0o7777) as u32,
        modified: modified.ok_or_else(|| bad("mtime"))?,
        xattrs: records.xattrs.into_iter().collect(),
        acl_texts: records.acl_texts.into_iter().collect(),
        kind,
        size_bytes: stored,
        sparse: None,
        name,
    })
}

/// Returns the kind that the header creates; the error is the reason of a refusal.
fn kind(header: &Header, name: &Path, link: Vec<u8>, rules: Rules) -> Result<Kind, String> {
    let device = || header.device().ok_or("its header has a bad device number");
    if matches!(header.kind(), b'1' | b'2') && link.len() > PATH_BYTES_MAX {
        return Err(format!("the target of its link has more than {PATH_BYTES_MAX} bytes"));
    }
    Ok(match header.kind() {
        // Before POSIX, a directory was a file whose name ends in a slash.
        b'0' | 0 | b'7' if name.as_os_str().as_encoded_bytes().ends_with(b"/") => Kind::Directory,
        b'0' | 0 | b'7' | b'S' => Kind::Regular,
        b'5' | b'D' => Kind::Directory,
        b'2' => Kind::Symlink(link),
        b'1' => Kind::HardLink(below_root(&name_of(&link), rules).as_os_str().as_bytes().to_vec()),
        b'3' => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
        b'4' => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        b'6' => Kind::Fifo,
        b'M' => return Err("it begins in another volume".into()),
        _ if rules == Rules::Tar => Kind::Regular,
        other => return Err(format!("unknown type {:?}", char::from(other))),
    })
}

/// Returns `name` without the slashes at its start, if the rules take them away; `.` for the root itself.
fn below_root(name: &Path, rules: Rules) -> &Path {
    match name.strip_prefix("/") {
        Ok(inside) if rules == Rules::Tar && inside.as_os_str().is_empty() => Path::new("."),
        Ok(inside) if rules == Rules::Tar => inside,
        _ => name,
    }
}

/// Returns `name` without `.` and empty components.
///
/// # Errors
/// If the name is absolute or empty, or holds `..` or a NUL byte.
pub fn relative(name: &Path) -> Result<PathBuf, &'static str> {
    let bytes = name.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err("its name is empty");
    }
    if bytes.contains(&0) {
        return Err("its name holds a NUL byte");
    }
    name.components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| match component {
            Component::Normal(part) => Ok(part),
            Component::RootDir => Err("its name is absolute"),
            _ => Err("its name holds `..`"),
        })
        .collect()
}

/// Converts a name to a path.
pub(in crate::archive) fn name_of(name: &[u8]) -> PathBuf {
    OsString::from_vec(name.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(relative(Path::new("./usr//bin/./x/")).unwrap(), Path::new("usr/bin/x"));
        assert_eq!(relative(Path::new("./")).unwrap(), Path::new(""));
        for bad in ["/etc/passwd", "../x", "a/../../x", "a/..", "", "a\0b"] {
            assert!(relative(Path::new(bad)).is_err(), "{bad:?}");
        }
    }
}
