//! The file system behind a directory that has no room left, in the words of an error.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::StatVfs;

use super::name::TEMPORARY_PREFIX;

/// A file system with fewer free bytes than this counts as full: what failed just now may have freed a little.
const NEARLY_NOTHING_BYTES: u64 = 1 << 20;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A full file system: the source of every `ENOSPC` and `EDQUOT` that a [`super::PathError`] carries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FullDisk {
    /// A directory on it: the nearest one to the failure that exists and is no temporary.
    pub directory: PathBuf,
    /// Its type in the words of mount(8), such as `ext4`.
    pub kind: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The bytes that are available to this process.
    pub free_bytes: u64,
    /// Whether it can still take new files.
    pub has_inodes: bool,
    /// Whether the user's quota is exhausted, not the file system.
    pub is_quota: bool,
}

impl FullDisk {
    /// Describes the file system of `path`, or of its nearest directory that exists. What the system does not say is
    /// zero.
    pub fn at(path: &Path) -> Self {
        let lasting: PathBuf = path.components().take_while(|part| !is_temporary(part)).collect();
        let lasting = match lasting.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => lasting,
        };
        let directory = lasting.ancestors().find(|above| above.is_dir()).unwrap_or(&lasting);
        let kind = rustix::fs::statfs(directory).map_or(0, |found| found.f_type.cast_unsigned());
        let space = rustix::fs::statvfs(directory).ok();
        let bytes = |count: fn(&StatVfs) -> u64| {
            let space = space.as_ref();
            space.map_or(0, |space| count(space).saturating_mul(space.f_frsize))
        };
        Self {
            directory: directory.to_owned(),
            kind: type_name(kind),
            size_bytes: bytes(|space| space.f_blocks),
            free_bytes: bytes(|space| space.f_bavail),
            // File systems that make inodes as they need them say that they have none at all.
            has_inodes: space.is_none_or(|space| space.f_files == 0 || space.f_favail > 0),
            is_quota: false,
        }
    }

    /// Describes the file system of `path` if it is full at this moment.
    pub fn now(path: &Path) -> Option<Self> {
        Some(Self::at(path)).filter(|full| full.free_bytes < NEARLY_NOTHING_BYTES || !full.has_inodes)
    }

    /// Finds the full file system among the causes of `error`.
    pub fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let inner = inner.and_then(|inner| inner.downcast_ref::<Self>());
            if let Some(found) = inner.or_else(|| error.downcast_ref::<Self>()) {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    /// Adds to `error` what it says about the file system of `path`, if it is that this is full.
    pub(super) fn explain(error: io::Error, path: &Path) -> io::Error {
        let is_quota = error.kind() == io::ErrorKind::QuotaExceeded;
        if !is_full(&error) || Self::behind(&error).is_some() {
            return error;
        }
        let full = Self {
            is_quota,
            ..Self::at(path)
        };
        io::Error::new(error.kind(), full)
    }
}

/// Returns whether `error` says that the file system, or the quota on it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn is_temporary(part: &Component<'_>) -> bool {
    part.as_os_str()
        .as_encoded_bytes()
        .starts_with(TEMPORARY_PREFIX.as_bytes())
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, kind, .. } = self;
        let (size, free) = (Size(self.size_bytes), Size(self.free_bytes));
        let what = match (self.is_quota, self.has_inodes) {
            (true, _) => "the quota is exhausted",
            (false, true) => "no space left",
            (false, false) => "no inodes left",
        };
        write!(f, "{what}: {} is on {kind} of {size}, {free} free", directory.display())
    }
}

/// A number of bytes, in GiB from ten on, else in MiB.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            large if large >= 10 * GIB => write!(f, "{} GiB", large / GIB),
            bytes => write!(f, "{} MiB", bytes / MIB),
        }
    }
}

/// Names the type of a file system by the number that statfs(2) gives.
fn type_name(magic: u64) -> String {
    let name = match magic {
        0xef53 => "ext4",
        0x0102_1994 => "tmpfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x794c_7630 => "overlay",
        0x6573_5546 => "fuse",
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0xf2f5_2010 => "f2fs",
        0x2fc1_2fc1 => "zfs",
        0x4d44 => "vfat",
        0xca45_1a4e => "bcachefs",
        other => return format!("a file system of type {other:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::PathError;
    use super::*;

    #[test]
    fn a_full_disk_names_the_directory_that_lasts_and_its_file_system() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("absent/.oic-tmp-draft/tree/file");
        let error = PathError::on("write", &path)(io::Error::from_raw_os_error(28));
        assert!(error.is_no_space());
        let full = FullDisk::behind(&error).unwrap();
        assert_eq!((full.directory.as_path(), &*full.kind), (directory.path(), "tmpfs"));
        assert!(full.size_bytes >= full.free_bytes && full.has_inodes && !full.is_quota);
        let text = error.to_string();
        let expected = format!("no space left: {} is on tmpfs of ", directory.path().display());
        assert!(text.contains(&expected) && text.ends_with("iB free"), "{text}");
    }

    #[test]
    fn a_quota_and_a_lack_of_inodes_are_told_from_a_lack_of_space() {
        let error = FullDisk::explain(io::ErrorKind::QuotaExceeded.into(), Path::new("/"));
        assert!(
            error.to_string().starts_with("the quota is exhausted: / is on "),
            "{error}"
        );
        let full = FullDisk {
            has_inodes: false,
            size_bytes: 40 * GIB,
            free_bytes: 3 * MIB,
            ..FullDisk::at(Path::new("/"))
        };
        let text = full.to_string();
        assert!(
            text.starts_with("no inodes left: / is on ") && text.ends_with(" of 40 GiB, 3 MiB free"),
            "{text}"
        );
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        let error = FullDisk::explain(io::Error::from_raw_os_error(5), Path::new("/"));
        assert_eq!(error.raw_os_error(), Some(5));
        assert!(FullDisk::behind(&error).is_none());
    }
}
