//! What a header and the extended headers before it say together: every kind and number checked.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Timespec;

use super::field::Header;
use super::pax;
use super::sparse::Extent;

/// Names and values of extended attributes.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a member creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link: its target, as it stands.
    Symlink(Vec<u8>),
    /// A further name of a member before: that member's name.
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
    /// What it is.
    pub kind: Kind,
    /// The lower twelve bits of `st_mode`.
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub modified: Timespec,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// Of a sparse file: which parts are stored, in the stream one after the other.
    pub sparse: Option<Vec<Extent>>,
}

/// The member called `name`, with `stored` bytes in the stream; the error says why it is refused.
pub(super) fn member(header: &Header, name: Vec<u8>, records: pax::Records, stored: u64) -> Result<Member, String> {
    let name = name_of(&name);
    let bad = |field: &str| format!("its header has a bad {field}");
    let kind = kind(header, &name, records.link_path.unwrap_or_else(|| header.link()))?;
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
    Ok(Member {
        path: relative(&name)?,
        uid: owner(records.uid, header.uid(), "uid")?,
        gid: owner(records.gid, header.gid(), "gid")?,
        // In range: twelve bits.
        permissions: (header.mode().ok_or_else(|| bad("mode"))? & 0o7777) as u32,
        modified: modified.ok_or_else(|| bad("mtime"))?,
        xattrs: records.xattrs,
        kind,
        size_bytes: stored,
        sparse: None,
        name,
    })
}

/// What the header makes; the error says why it is refused.
fn kind(header: &Header, name: &Path, link: Vec<u8>) -> Result<Kind, String> {
    let device = || header.device().ok_or("its header has a bad device number");
    Ok(match header.kind() {
        // Before POSIX, a directory was a file whose name ends in a slash.
        b'0' | 0 | b'7' if name.as_os_str().as_encoded_bytes().ends_with(b"/") => Kind::Directory,
        b'0' | 0 | b'7' | b'S' => Kind::Regular,
        b'5' | b'D' => Kind::Directory,
        b'2' => Kind::Symlink(link),
        b'1' => Kind::HardLink(link),
        b'3' => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
        b'4' => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        b'6' => Kind::Fifo,
        b'M' => return Err("it begins in another volume".into()),
        other => return Err(format!("unknown type {:?}", char::from(other))),
    })
}

/// `name` without `.` and empty components.
///
/// # Errors
/// Names that are absolute or empty, or hold `..` or a NUL byte, are refused.
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

/// A name as a path.
pub(super) fn name_of(name: &[u8]) -> PathBuf {
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
