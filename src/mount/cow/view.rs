//! The mounts through which users see the overlay: whether they want times of last access.
//!
//! The kernel keeps no such times for FUSE, and does not tell the server the options `noatime` and `nodiratime`. So the
//! server looks into the mount table. It reads the table again only after a change, which the kernel marks for poll(2)
//! (proc_pid_mounts(5)).

use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::mount::table::{self, Mount};
use crate::overlay::Access;

/// The mount table of the thread, not of `/proc/self`: a thread can have a mount namespace of its own.
const MOUNT_INFO: &str = "/proc/thread-self/mountinfo";

/// The mounts of one file system.
#[derive(Debug)]
pub(in crate::mount) struct View {
    /// The mount table, open for being told of changes; `None` without `/proc`.
    table: Option<File>,
    seen: Mutex<Seen>,
}

/// The state of the mounts as they were seen last.
#[derive(Debug, Default)]
struct Seen {
    /// The device number of the file system, once it is mounted.
    device: Option<(u32, u32)>,
    files: Option<Access>,
    directories: Option<Access>,
}

impl View {
    /// Makes a view that is not mounted yet.
    pub(super) fn new() -> Self {
        Self {
            table: File::open(MOUNT_INFO).ok(),
            seen: Mutex::default(),
        }
    }

    /// Records that the mount with this id shows the file system.
    pub(in crate::mount) fn mounted(&self, id: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mounts = table::mounts().unwrap_or_default();
        seen.device = mounts.iter().find(|mount| mount.id == id).map(|mount| mount.device);
        seen.look(&mounts);
    }

    /// Returns what reading a file or symbolic link does.
    pub(super) fn files(&self) -> Access {
        self.with(|seen| seen.files)
    }

    /// Returns what listing a directory does.
    pub(super) fn directories(&self) -> Access {
        self.with(|seen| seen.directories)
    }

    fn with(&self, choose: impl FnOnce(&Seen) -> Option<Access>) -> Access {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.device.is_some() && self.has_changed() {
            match table::mounts() {
                Ok(mounts) => seen.look(&mounts),
                Err(error) => tracing::debug!("{error}"),
            }
        }
        choose(&seen).unwrap_or(Access::Noted)
    }

    /// Returns whether the mount table has changed since this was asked last.
    fn has_changed(&self) -> bool {
        let Some(table) = &self.table else {
            return false;
        };
        let mut polled = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        poll(&mut polled, PollTimeout::ZERO).is_ok()
            && polled.iter().any(|polled| {
                let marks = PollFlags::POLLPRI | PollFlags::POLLERR;
                polled.revents().is_some_and(|events| events.intersects(marks))
            })
    }
}

impl Seen {
    /// Takes the options of all mounts of the file system; one that wants times decides for all.
    fn look(&mut self, mounts: &[Mount]) {
        let ours: Vec<_> = mounts
            .iter()
            .filter(|mount| Some(mount.device) == self.device)
            .collect();
        let access = |option: &[&str]| {
            let is_unnoted = |mount: &&Mount| mount.options.split(',').any(|word| option.contains(&word));
            let all = !ours.is_empty() && ours.iter().all(is_unnoted);
            Some(if all { Access::Unnoted } else { Access::Noted })
        };
        self.files = access(&["noatime"]);
        self.directories = access(&["noatime", "nodiratime"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: (u32, u32), options: &str) -> Mount {
        Mount {
            id: 1,
            parent: 0,
            device,
            root: "/".into(),
            mount_point: "/m".into(),
            options: options.to_owned(),
            file_system: "fuse.oic".to_owned(),
            source: "oic".into(),
            super_options: "rw".into(),
        }
    }

    #[test]
    fn one_mount_that_wants_times_decides() {
        let look = |options: &[&str]| {
            let mut mounts: Vec<_> = options.iter().map(|options| mount((0, 7), options)).collect();
            mounts.push(mount((0, 8), "rw"));
            let mut seen = Seen {
                device: Some((0, 7)),
                ..Seen::default()
            };
            seen.look(&mounts);
            (seen.files.unwrap(), seen.directories.unwrap())
        };
        assert_eq!(look(&["rw,relatime"]), (Access::Noted, Access::Noted));
        assert_eq!(look(&["rw,noatime"]), (Access::Unnoted, Access::Unnoted));
        assert_eq!(look(&["rw,nodiratime,relatime"]), (Access::Noted, Access::Unnoted));
        assert_eq!(look(&["rw,noatime", "rw"]), (Access::Noted, Access::Noted));
        assert_eq!(look(&[]), (Access::Noted, Access::Noted));
    }

    #[test]
    fn what_is_not_mounted_yet_wants_times() {
        let view = View::new();
        assert_eq!((view.files(), view.directories()), (Access::Noted, Access::Noted));
        view.mounted(u64::MAX);
        assert_eq!(view.files(), Access::Noted);
        assert!(!view.has_changed());
    }
}
