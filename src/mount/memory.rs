//! A file system in memory, for work whose result is kept elsewhere: dpkg syncs its database all the time, which
//! costs nothing there.

use std::fs;
use std::path::Path;

use super::api::{Attached, Context};
use super::{Label, MountError, Restrictions};

/// The largest part of the available memory that such a file system may take: one part in this many.
const SHARE: u64 = 3;

/// Mounts an empty tmpfs(5) at `mount_point`, whose root is for the owner alone. Returns `None` if the available
/// memory is not three times `size_bytes`.
///
/// # Errors
/// If the kernel refuses the mount.
pub fn mount(mount_point: &Path, size_bytes: u64) -> Result<Option<Attached>, MountError> {
    if available_bytes().is_none_or(|available| available / SHARE < size_bytes) {
        return Ok(None);
    }
    let context = Context::open("tmpfs", &Label::default())?;
    context.set("size", size_bytes.to_string())?;
    context.set("mode", "700")?;
    context.mount(Restrictions::BUILD)?.attach(mount_point).map(Some)
}

/// Returns `MemAvailable` of proc_meminfo(5).
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_measured_and_not_overcommitted() {
        let available = available_bytes().unwrap();
        assert!(available > 1 << 20);
        let directory = tempfile::tempdir().unwrap();
        assert!(mount(directory.path(), available).unwrap().is_none());
    }
}
