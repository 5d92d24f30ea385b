//! Times of a finished tree: none of them tells when a build ran.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::scan::walk;
use crate::durable::PathError;

/// The longest time by which the clock of a file system is behind that of the host, in seconds; file systems count in
/// steps of up to two seconds.
const LAG_SECONDS: i64 = 2;

/// The times that a tree may have when the work on it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    epoch_seconds: i64,
    /// The last time that work which begins now does not leave.
    latest_seconds: i64,
}

impl Times {
    /// Makes the times of work that begins now, and whose programs take `epoch_seconds` for the present time. A time
    /// that the work leaves is never kept, even if the host's clock is behind the epoch.
    pub fn begin(epoch_seconds: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let epoch_seconds = i64::try_from(epoch_seconds).unwrap_or(i64::MAX);
        Self {
            epoch_seconds,
            latest_seconds: epoch_seconds.min(now.saturating_sub(LAG_SECONDS)),
        }
    }

    /// Gives the time that takes the place of late ones, in seconds since 1970.
    pub fn epoch_seconds(self) -> i64 {
        self.epoch_seconds
    }

    /// Says whether a time is after the epoch, or could be one at which the work ran.
    pub fn is_late(self, seconds: i64, nanoseconds: u32) -> bool {
        (seconds, nanoseconds) > (self.latest_seconds, 0)
    }

    /// Gives the epoch to every entry of the directory `tree`, and to `tree` itself, whose time of modification is late.
    ///
    /// # Errors
    /// If an entry cannot be looked at, or its time cannot be set.
    pub fn settle(self, tree: &Path) -> Result<(), PathError> {
        let metadata = tree.symlink_metadata().map_err(PathError::on("look at", tree))?;
        self.set(tree, &metadata)?;
        walk(tree, &mut |path, _, metadata| self.set(path, metadata))
    }

    fn set(self, path: &Path, metadata: &Metadata) -> Result<(), PathError> {
        if !self.is_late(metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)) {
            return Ok(());
        }
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: self.epoch_seconds,
                tv_nsec: 0,
            },
        };
        let set = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(|errno| PathError::on("set the time of", path)(errno.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    /// Two clocks: one that is right, and one that is behind the epoch.
    #[test]
    fn no_time_of_the_work_is_left() {
        let year = 365 * 24 * 3600;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for epoch in [1_700_000_000, now + year] {
            let tree = tempfile::tempdir().unwrap();
            let path = |name: &str| tree.path().join(name);
            let times = Times::begin(epoch);
            fs::create_dir(path("directory")).unwrap();
            fs::write(path("directory/new"), "").unwrap();
            fs::write(path("old"), "").unwrap();
            symlink("nowhere", path("link")).unwrap();
            let old = UNIX_EPOCH + Duration::new(1_600_000_000, 5);
            let file = fs::File::options().write(true).open(path("old")).unwrap();
            file.set_modified(old).unwrap();
            times.settle(tree.path()).unwrap();
            for name in ["", "directory", "directory/new", "link"] {
                let metadata = fs::symlink_metadata(path(name)).unwrap();
                let found = (metadata.mtime().cast_unsigned(), metadata.mtime_nsec());
                assert_eq!(found, (epoch, 0), "{name}");
            }
            assert_eq!(fs::metadata(path("old")).unwrap().modified().unwrap(), old);
        }
    }
}
