//! From raw tar headers to members: long names and extended headers resolved,
//! every kind and number checked.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::Timespec;
use tar::EntryType;

use super::pax;
use crate::archive::ArchiveError;

/// Long names and extended headers may be this long in bytes.
const LONG_NAME_BYTES_MAX: u64 = 64 << 10;
const EXTENDED_HEADER_BYTES_MAX: u64 = 4 << 20;

/// Names and values of extended attributes.
pub(in crate::archive) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a member creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::archive) enum Kind {
    Regular,
    Directory,
    /// Target, as it stands.
    Symlink(Vec<u8>),
    /// The name of the member it links to.
    HardLink(Vec<u8>),
    /// Major and minor number.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// One member of a tar stream; a regular file's bytes follow in the stream.
#[derive(Debug, Clone)]
pub(in crate::archive) struct Member {
    /// Name relative to the root, without `.`, empty components or `..`.
    pub(in crate::archive) path: PathBuf,
    /// Name as the archive gives it, for messages.
    pub(in crate::archive) name: PathBuf,
    pub(in crate::archive) kind: Kind,
    pub(in crate::archive) permissions: u32,
    pub(in crate::archive) uid: u32,
    pub(in crate::archive) gid: u32,
    pub(in crate::archive) modified: Timespec,
    pub(in crate::archive) xattrs: Xattrs,
    pub(in crate::archive) size_bytes: u64,
}

/// What the headers before a member have said about it.
#[derive(Debug, Default)]
pub(in crate::archive) struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Option<pax::Records>,
}

impl Pending {
    /// Takes the next raw entry: a member, or `None` if it only told about the next one.
    pub(in crate::archive) fn take<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        archive: &Path,
    ) -> Result<Option<Member>, ArchiveError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.long_name = Some(long_name(entry, archive)?),
            EntryType::GNULongLink => self.long_link = Some(long_name(entry, archive)?),
            EntryType::XHeader => {
                let bytes = bounded(entry, archive, EXTENDED_HEADER_BYTES_MAX)?;
                let records =
                    pax::parse(&bytes).map_err(|problem| ArchiveError::refused(archive, &own_name(entry), problem))?;
                self.records = Some(records);
            }
            // Global headers carry comments (git) that concern nobody here.
            EntryType::XGlobalHeader => {
                bounded(entry, archive, EXTENDED_HEADER_BYTES_MAX)?;
            }
            _ => {
                let Self {
                    long_name,
                    long_link,
                    records,
                } = std::mem::take(self);
                let mut records = records.unwrap_or_default();
                records.path = records.path.or(long_name);
                records.link_path = records.link_path.or(long_link);
                return member(entry, records, archive).map(Some);
            }
        }
        Ok(None)
    }
}

fn member<R: Read>(entry: &tar::Entry<'_, R>, records: pax::Records, archive: &Path) -> Result<Member, ArchiveError> {
    use std::os::unix::ffi::OsStringExt as _;
    let header = entry.header();
    let name = records.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = records.link_path.unwrap_or_else(|| {
        header
            .link_name_bytes()
            .map(|name| name.into_owned())
            .unwrap_or_default()
    });
    let name = PathBuf::from(std::ffi::OsString::from_vec(name));
    let refuse = |problem: String| ArchiveError::refused(archive, &name, problem);
    let bad = |field: &'static str| refuse(format!("its header has a bad {field}"));
    let size_bytes = header.size().map_err(|_| bad("size"))?;
    if records.size_bytes.is_some_and(|size| size != size_bytes) {
        return Err(refuse("its extended header gives another size than its header".into()));
    }
    let kind = kind(header, &name, link, records.sparse).map_err(&refuse)?;
    if kind != Kind::Regular && size_bytes != 0 {
        return Err(refuse("only a regular file may have content".into()));
    }
    let owner = |record: Option<u32>, field: std::io::Result<u64>, what| match record {
        Some(id) => Ok(id),
        None => field
            .ok()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| bad(what)),
    };
    let seconds = || i64::try_from(header.mtime().map_err(|_| bad("mtime"))?).map_err(|_| bad("mtime"));
    Ok(Member {
        path: relative(&name).map_err(|problem| refuse(problem.into()))?,
        uid: owner(records.uid, header.uid(), "uid")?,
        gid: owner(records.gid, header.gid(), "gid")?,
        permissions: header.mode().map_err(|_| bad("mode"))? & 0o7777,
        modified: match records.modified {
            Some(modified) => modified,
            None => Timespec {
                tv_sec: seconds()?,
                tv_nsec: 0,
            },
        },
        xattrs: records.xattrs,
        kind,
        size_bytes,
        name,
    })
}

/// What the header makes; the error says why it is refused.
fn kind(header: &tar::Header, name: &Path, link: Vec<u8>, sparse: bool) -> Result<Kind, String> {
    let device = || match (header.device_major(), header.device_minor()) {
        (Ok(major), Ok(minor)) => Ok((major.unwrap_or(0), minor.unwrap_or(0))),
        _ => Err("its header has a bad device number".to_owned()),
    };
    Ok(match header.entry_type() {
        EntryType::GNUSparse => return Err("it is stored as a GNU sparse file".into()),
        _ if sparse => return Err("it is stored as a GNU sparse file".into()),
        // Before POSIX, a directory was a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if name.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Kind::Directory
        }
        EntryType::Regular | EntryType::Continuous => Kind::Regular,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link),
        EntryType::Link => Kind::HardLink(link),
        EntryType::Char => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
        EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        EntryType::Fifo => Kind::Fifo,
        other => return Err(format!("unknown type {:?}", char::from(other.as_byte()))),
    })
}

/// `name` without `.` and empty components; absolute names and `..` are refused.
pub(in crate::archive) fn relative(name: &Path) -> Result<PathBuf, &'static str> {
    let bytes = name.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err("its name is empty");
    }
    if bytes.contains(&0) {
        return Err("its name holds a NUL byte");
    }
    name.components()
        .filter(|component| *component != std::path::Component::CurDir)
        .map(|component| match component {
            std::path::Component::Normal(part) => Ok(part),
            std::path::Component::RootDir => Err("its name is absolute"),
            _ => Err("its name holds `..`"),
        })
        .collect()
}

fn own_name<R: Read>(entry: &tar::Entry<'_, R>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(entry.header().path_bytes().into_owned()).into()
}

fn long_name<R: Read>(entry: &mut tar::Entry<'_, R>, archive: &Path) -> Result<Vec<u8>, ArchiveError> {
    let mut name = bounded(entry, archive, LONG_NAME_BYTES_MAX)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn bounded<R: Read>(entry: &mut tar::Entry<'_, R>, archive: &Path, limit: u64) -> Result<Vec<u8>, ArchiveError> {
    let size = entry.size();
    if size > limit {
        let problem = format!("its header claims {size} bytes; at most {limit} are taken");
        return Err(ArchiveError::refused(archive, &own_name(entry), problem));
    }
    let mut bytes = Vec::new();
    let read = entry.read_to_end(&mut bytes).map_err(ArchiveError::read(archive))?;
    if read as u64 != size {
        return Err(ArchiveError::malformed(archive, "it ends inside a tar header"));
    }
    Ok(bytes)
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
