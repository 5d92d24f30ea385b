//! Who sets the ACL of a file of a group that is not theirs takes its set-group-id bit away (chmod(2), and
//! `posix_acl_update_mode` of Linux). The kernel leaves that to us and tells only user, group and process.

use std::fs;

use fuser::Request;

use crate::overlay::layer::LayerResult;
use crate::overlay::{Caller, Change, Ino, Overlay};

pub(super) const ACCESS_ACL: &str = "system.posix_acl_access";
const SET_GROUP_ID: u32 = libc::S_ISGID;

/// The supplementary groups of the process that asks (proc_pid_status(5)); none if it cannot be seen from here.
pub(super) fn groups_of(request: &Request) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{}/status", request.pid())).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let groups = groups.unwrap_or_default().split_whitespace();
    groups.filter_map(|group| group.parse().ok()).collect()
}

/// After `caller` has set the ACL of `ino`.
pub(super) fn drop_set_group_id(overlay: &Overlay, caller: Caller, groups: &[u32], ino: Ino) -> LayerResult<()> {
    let stat = overlay.getattr(ino)?;
    let is_member = stat.gid == caller.gid || groups.contains(&stat.gid);
    if stat.permissions & SET_GROUP_ID == 0 || is_member {
        return Ok(());
    }
    let change = Change {
        permissions: Some(stat.permissions & !SET_GROUP_ID),
        ..Change::default()
    };
    overlay.setattr(caller, ino, &change).map(drop)
}
