//! Mounts of a file system in other mount namespaces, which keep it alive: `unshare -m` copies all mounts, and a copy
//! that does not follow the original (mount_namespaces(7), "private") stays when that is unmounted.

use std::fs;
use std::path::{Path, PathBuf};

use super::holders::{Holder, command_of};
use super::table;

/// Finds the processes of other mount namespaces in which the file system with this device number (major and minor) is
/// mounted, one for each namespace; their path is the mount point there.
pub(super) fn elsewhere(device: (u32, u32)) -> Vec<Holder> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let mut seen: Vec<PathBuf> = namespace(Path::new("/proc/thread-self")).into_iter().collect();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(own) = namespace(&entry.path()).filter(|own| !seen.contains(own)) else {
            continue;
        };
        seen.push(own);
        let mounts = table::mounts_of(&entry.path()).unwrap_or_default();
        if let Some(mount) = mounts.into_iter().find(|mount| mount.device == device) {
            found.push(Holder {
                pid,
                command: command_of(&entry.path()),
                path: mount.mount_point,
            });
        }
    }
    found
}
