//! The processes that use something below a mount point.
//!
//! Only `/proc` is read, never the mounted file system: a dead one cannot block us.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A process that uses something below a mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`).
    pub command: String,
    /// One of the files it uses.
    pub path: PathBuf,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}, {})", self.command, self.pid, self.path.display())
    }
}

/// Returns `holders` as a list in words.
pub(super) fn list(holders: &[Holder]) -> String {
    const SHOWN: usize = 5;
    if holders.is_empty() {
        return "a process that cannot be seen from here, or another mount".to_owned();
    }
    let mut words: Vec<_> = holders.iter().take(SHOWN).map(Holder::to_string).collect();
    if holders.len() > SHOWN {
        words.push(format!("and {} more", holders.len() - SHOWN));
    }
    words.join(", ")
}

/// Finds the processes whose working directory, root, program, open files or mappings lie at or below `path`.
/// Processes that may not be examined, or that end meanwhile, are left out.
pub fn holders(path: &Path) -> Vec<Holder> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found: Vec<_> = processes
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let used = used_path(&entry.path(), path)?;
            Some(Holder {
                pid,
                command: command_of(&entry.path()),
                path: used,
            })
        })
        .collect();
    found.sort_by_key(|holder| holder.pid);
    found
}

/// Returns the name of the process whose `/proc` directory is `process`.
pub(super) fn command_of(process: &Path) -> String {
    let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
    command.trim_end().to_owned()
}

/// Finds the first file at or below `path` that the process `process` (its `/proc` directory) uses.
fn used_path(process: &Path, path: &Path) -> Option<PathBuf> {
    let below = |link: PathBuf| fs::read_link(link).ok().filter(|target| target.starts_with(path));
    ["cwd", "root", "exe"]
        .into_iter()
        .find_map(|name| below(process.join(name)))
        .or_else(|| {
            let descriptors = fs::read_dir(process.join("fd")).ok()?;
            descriptors.flatten().find_map(|entry| below(entry.path()))
        })
        .or_else(|| {
            let maps = fs::read(process.join("maps")).ok()?;
            maps.split(|&byte| byte == b'\n')
                .filter_map(|line| line.iter().position(|&byte| byte == b'/').and_then(|at| line.get(at..)))
                .map(|mapped| PathBuf::from(OsStr::from_bytes(mapped)))
                .find(|mapped| mapped.starts_with(path))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{MountError, table};

    #[test]
    fn an_open_file_has_a_holder() {
        let directory = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        assert_eq!(holders(&path), []);
        let _file = fs::File::create(path.join("open")).unwrap();
        let found = holders(&path);
        assert_eq!(found[0].pid, std::process::id());
        assert_eq!(found[0].path, path.join("open"));
        assert!(matches!(table::unmount(&path, false), Err(MountError::NotMounted(_))));
    }
}
