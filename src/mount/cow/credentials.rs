//! Looks up facts about the calling process that a request lacks: capabilities and supplementary groups
//! (credentials(7)).
//!
//! A FUSE request names user, group and process. The rest is in `/proc` (proc_pid_status(5)), where the process waits
//! for its answer. It is read only for files with set-id bits. Unreadable values count as absent, so that a bit is
//! removed rather than kept.

use std::fs;

use fuser::Request;

use crate::overlay::layer::LayerResult;
use crate::overlay::{Caller, Change, Credentials, Ino, Overlay};

/// The attribute that holds the access ACL (acl(5)).
pub(super) const ACCESS_ACL: &str = "system.posix_acl_access";
const SET_GROUP_ID: u32 = libc::S_ISGID;
/// `CAP_FSETID` in a mask of capabilities (`linux/capability.h`).
const FSETID_MASK: u64 = 1 << 4;

/// The process that made a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    caller: Caller,
    pid: u32,
}

impl Asker {
    /// Returns the process that made `request`.
    pub(super) fn of(request: &Request) -> Self {
        Self {
            caller: super::convert::caller(request),
            pid: request.pid(),
        }
    }

    /// Reads the field `name` of the process's status; empty if it is not visible from here.
    fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let field = status.lines().find_map(|line| line.strip_prefix(name));
        field.unwrap_or_default().trim().to_owned()
    }

    /// Returns whether the process's capabilities count here: those of another user namespace do not
    /// (user_namespaces(7)).
    fn is_in_our_user_namespace(&self) -> bool {
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
        match (namespace(&self.pid.to_string()), namespace("self")) {
            (Ok(theirs), Ok(ours)) => theirs == ours,
            _ => false,
        }
    }
}

impl Credentials for Asker {
    fn keeps_set_id(&self) -> bool {
        let effective = u64::from_str_radix(&self.status("CapEff:"), 16).unwrap_or_default();
        effective & FSETID_MASK != 0 && self.is_in_our_user_namespace()
    }

    fn is_in_group(&self, group: u32) -> bool {
        let is_group = |word: &str| word.parse() == Ok(group);
        self.caller.gid == group || self.status("Groups:").split_whitespace().any(is_group)
    }
}

/// Clears the set-group-id bit of `ino` after `asker` has set its ACL without being a member of its group (chmod(2),
/// and `posix_acl_update_mode` of Linux). The kernel leaves that to us.
///
/// # Errors
/// Those of [`Overlay::getattr`] and [`Overlay::setattr`].
pub(super) fn drop_set_group_id(overlay: &Overlay, asker: Asker, ino: Ino) -> LayerResult<()> {
    let stat = overlay.getattr(ino)?;
    if stat.permissions & SET_GROUP_ID == 0 || asker.is_in_group(stat.gid) || asker.keeps_set_id() {
        return Ok(());
    }
    let change = Change {
        permissions: Some(stat.permissions & !SET_GROUP_ID),
        ..Change::default()
    };
    overlay.setattr(asker, ino, &change).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_up_and_one_that_is_not_there_may_nothing() {
        let caller = Caller { uid: 0, gid: 9 };
        let asker = |pid| Asker { caller, pid };
        let us = asker(std::process::id());
        let groups = nix::unistd::getgroups().unwrap();
        assert!(groups.iter().all(|group| us.is_in_group(group.as_raw())));
        assert!(us.is_in_our_user_namespace());
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        let mask = u64::from_str_radix(effective, 16).unwrap();
        assert_eq!(us.keeps_set_id(), mask & FSETID_MASK != 0);
        // No process has this number (proc(5), `pid_max`).
        let nothing = asker(u32::MAX);
        assert!(!nothing.keeps_set_id() && !nothing.is_in_group(8) && nothing.is_in_group(9));
    }
}
