//! Locks per provider: builds share them, a removal holds them exclusively.
//!
//! The lock files lie beside the directories and are never removed, so that a lock is always on the file that has the
//! name. `flock(2)` also holds between hosts on NFS.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cancel::Cancel;
use crate::durable::{self, FileLock, LockError, PathError};
use crate::mount::{holders, table};
use crate::terminal;
use crate::workspace::Workspace;

use super::sweep::{self, Extent};
use super::{Provider, StoreError};

/// The kernel's table of locks (proc_locks(5)).
const LOCKS: &str = "/proc/locks";

/// The locks of a build: meanwhile no process removes files of the provider.
#[derive(Debug)]
pub struct InUse {
    _cache: FileLock,
    work: FileLock,
}

impl InUse {
    /// Takes the locks of the provider that `workspace` belongs to; for each lock that another process holds
    /// exclusively, `waiting` is called once with a description of that process.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn claim(workspace: &Workspace, cancel: &Cancel, waiting: &dyn Fn(&str)) -> Result<Self, LockError> {
        sweep_alone(workspace);
        let shared = |path: PathBuf| {
            make_parent(&path)?;
            FileLock::shared_unless(&path, cancel, || waiting(&who_holds(&path)))
        };
        let (cache, work) = (shared(workspace.cache_lock())?, shared(workspace.work_lock())?);
        durable::close(workspace.provider())?;
        Ok(Self { _cache: cache, work })
    }

    /// Records the present time as the provider's last use.
    pub fn note(&self) {
        // Only the order of later removals depends on it.
        if let Err(error) = self.work.file().set_modified(SystemTime::now()) {
            tracing::debug!(%error, "the use of the provider was not noted");
        }
    }
}

/// Sweeps the rooms of the provider, and those above, unless another process uses the provider.
fn sweep_alone(workspace: &Workspace) {
    let locks = try_alone(workspace);
    if let Ok(Some(_locks)) = locks {
        sweep::provider(workspace, Extent::Useless);
        sweep::above(workspace);
    }
}

/// Takes the locks that exist exclusively, without waiting; `None` if another process holds one.
fn try_alone(workspace: &Workspace) -> Result<Option<Vec<FileLock>>, PathError> {
    let mut locks = Vec::new();
    for path in [workspace.cache_lock(), workspace.work_lock()] {
        if path.exists() {
            let Some(lock) = FileLock::try_exclusive(&path)? else {
                return Ok(None);
            };
            locks.push(lock);
        }
    }
    Ok(Some(locks))
}

/// The locks of a removal: meanwhile no build of the provider runs or starts.
#[derive(Debug)]
pub struct Removal {
    workspace: Workspace,
    _locks: Vec<FileLock>,
}

impl Removal {
    /// Takes the locks of `provider` without waiting.
    ///
    /// # Errors
    /// [`StoreError::InUse`], naming the processes that hold a lock.
    pub fn claim(provider: &Provider) -> Result<Self, StoreError> {
        let workspace = &provider.workspace;
        let mut locks = Vec::new();
        for (directory, path) in [
            (workspace.package_cache(), workspace.cache_lock()),
            (workspace.provider(), workspace.work_lock()),
        ] {
            if !directory.exists() {
                continue;
            }
            match FileLock::try_exclusive(&path)? {
                Some(lock) => locks.push(lock),
                None => {
                    return Err(StoreError::InUse {
                        provider: provider.id.clone(),
                        by: who_holds(&path),
                    });
                }
            }
        }
        durable::close(workspace.provider())?;
        Ok(Self {
            workspace: workspace.clone(),
            _locks: locks,
        })
    }

    /// Removes everything that killed processes left in the rooms of the provider and in those above.
    pub fn sweep(&self) {
        sweep::provider(&self.workspace, Extent::All);
        sweep::above(&self.workspace);
    }
}

/// Checks that no file system is mounted at or below `path`.
///
/// # Errors
/// [`StoreError::Mounted`].
pub(super) fn check_unmounted(path: &Path) -> Result<(), StoreError> {
    let Ok(real) = path.canonicalize() else {
        return Ok(()); // It is not there.
    };
    match table::mounts_below(&real)?.pop() {
        Some(mount) => Err(StoreError::Mounted { at: mount.mount_point }),
        None => Ok(()),
    }
}

/// Checks `path` as [`check_unmounted`] does, and that no other process has a file below it open, such as the server of
/// a base that is mounted elsewhere.
///
/// # Errors
/// [`StoreError::Mounted`] or [`StoreError::InUse`].
pub(super) fn check_unused(provider: &str, path: &Path) -> Result<(), StoreError> {
    check_unmounted(path)?;
    let Ok(real) = path.canonicalize() else {
        return Ok(());
    };
    let own = std::process::id();
    match holders::holders(&real).into_iter().find(|holder| holder.pid != own) {
        Some(holder) => Err(StoreError::InUse {
            provider: provider.to_owned(),
            by: holder.to_string(),
        }),
        None => Ok(()),
    }
}

fn make_parent(path: &Path) -> Result<(), PathError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    durable::public_directory(parent)
}

/// Returns the processes that hold a lock on the file `path`, in words.
fn who_holds(path: &Path) -> String {
    let holders: Vec<String> = holders(path).iter().map(|pid| describe(*pid)).collect();
    match holders.as_slice() {
        [] => "a process on another host, or one that cannot be seen from here".to_owned(),
        some => some.join(", "),
    }
}

/// Returns the ids of the processes of this host that hold a lock on the file `path`.
fn holders(path: &Path) -> Vec<u32> {
    let (Ok(metadata), Ok(table)) = (fs::metadata(path), fs::read_to_string(LOCKS)) else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = table
        .lines()
        .filter_map(|line| parse(line).filter(|(_, inode)| *inode == metadata.ino()))
        .map(|(pid, _)| pid)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    // A file of another file system can have the same number.
    let sure: Vec<u32> = pids.iter().copied().filter(|pid| has_open(*pid, path)).collect();
    if sure.is_empty() { pids } else { sure }
}

/// Says whether the process has `path` open; `false` also if its descriptors may not be read.
fn has_open(pid: u32, path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    descriptors
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == real))
}

/// Reads process and inode of a line `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`; `None` for a waiting process.
fn parse(line: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
    match fields.as_slice() {
        [_, "ADVISORY", _, pid, file, ..] => Some((pid.parse().ok()?, file.rsplit(':').next()?.parse().ok()?)),
        _ => None,
    }
}

/// Returns a process in words, such as `"oic build edge.yml" (pid 17)`.
fn describe(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .take(3)
        .map(|word| {
            String::from_utf8_lossy(word)
                .chars()
                .filter(|c| !terminal::is_hidden(*c))
                .take(80)
                .collect()
        })
        .collect();
    match words.as_slice() {
        [] => format!("pid {pid}"),
        words => format!("{:?} (pid {pid})", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_lock_table() {
        for (line, expected) in [
            ("1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF", Some((1234, 5678))),
            ("2: POSIX  ADVISORY  READ 7 00:2a:9 10 20", Some((7, 9))),
            ("2: -> FLOCK  ADVISORY  WRITE 99 08:01:5678 0 EOF", None),
            ("3: LEASE  ACTIVE    READ 1 08:01:1 0 EOF", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(who_holds(&path).contains("another host"));
        let _lock = FileLock::exclusive(&path).unwrap();
        let own = format!("(pid {})", std::process::id());
        assert!(who_holds(&path).contains(&own), "{}", who_holds(&path));
    }
}
