//! The system calls of a sandbox.
//!
//! Three lists, as container engines have them: what is in [`calls::ALLOWED`] works; what is in
//! [`calls::REFUSED`], or has arguments that reach the host, fails with `EPERM`; everything else,
//! also what a later kernel adds, fails with `ENOSYS`, as on a kernel without it: then libraries fall back
//! to what is older (from `clone3`, whose arguments no filter can see, to `clone`).
//!
//! The filter knows the numbers of one architecture. A call through another table of the
//! kernel ends the process with `SIGSYS` (i386 on x86-64, arm on aarch64); the numbers of x32 are not
//! in the list. An emulator of a foreign architecture makes calls of the host's.

mod calls;

use std::collections::BTreeMap;

use nix::errno::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::protocol::Failure;

/// Rules by system call; no rule means every call of that number.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Flags of clone(2) that make a namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Requests of ioctl(2) that put words into the mouth of a terminal (ioctl_tty(2), ioctl_console(2)).
const TERMINAL_INPUT: [u64; 2] = [0x5412, 0x541c];
/// The execution domains of personality(2) that change only what uname(2) says, and the question for the present one.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// The families of socket(2) that packages' programs use.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Filters the system calls of this thread and of every process that it starts. Set-id bits and
/// file capabilities have no effect on those either (`PR_SET_NO_NEW_PRIVS`, a condition of seccomp(2)).
pub(super) fn apply() -> Result<(), Failure> {
    let fail = |e: String| Failure::new(format!("cannot filter system calls: {e}"));
    for program in programs().map_err(|e| fail(e.to_string()))? {
        seccompiler::apply_filter(&program).map_err(|e| fail(e.to_string()))?;
    }
    Ok(())
}

/// Compiles the filters, in the order of their use: of two that refuse a call, the later one determines the error.
fn programs() -> Result<Vec<BpfProgram>, BackendError> {
    let refuse = |errno: Errno| SeccompAction::Errno(errno as u32);
    let allowed = calls::ALLOWED.iter().map(|&number| (number, Vec::new())).collect();
    let allow = SeccompAction::Allow;
    Ok(vec![
        program(allowed, allow.clone(), refuse(Errno::ENOSYS))?,
        program(refused()?, refuse(Errno::EPERM), allow.clone())?,
        program(unsupported()?, refuse(Errno::EAFNOSUPPORT), allow)?,
    ])
}

fn program(rules: Rules, matched: SeccompAction, otherwise: SeccompAction) -> Result<BpfProgram, BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into()
}

/// Lists the calls that fail with `EPERM`.
fn refused() -> Result<Rules, BackendError> {
    let mut rules: Rules = calls::REFUSED.iter().map(|&number| (number, Vec::new())).collect();
    let clone = NAMESPACES.iter().map(|&flag| {
        let flag = u64::from(flag.unsigned_abs());
        SeccompRule::new(vec![argument(0, SeccompCmpOp::MaskedEq(flag), flag)?])
    });
    rules.insert(libc::SYS_clone, clone.collect::<Result<_, _>>()?);
    let ioctl = TERMINAL_INPUT
        .iter()
        .map(|&request| SeccompRule::new(vec![argument(1, SeccompCmpOp::Eq, request)?]));
    rules.insert(libc::SYS_ioctl, ioctl.collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_personality, vec![none_of(0, PERSONALITIES)?]);
    Ok(rules)
}

/// Lists the calls that fail as if the kernel had no such protocol. Of netlink only the interfaces' own remains: audit
/// and kernel events are the host's in every network namespace.
fn unsupported() -> Result<Rules, BackendError> {
    let families = FAMILIES.map(|family| u64::from(family.unsigned_abs()));
    let netlink = SeccompRule::new(vec![
        argument(0, SeccompCmpOp::Eq, u64::from(libc::AF_NETLINK.unsigned_abs()))?,
        argument(2, SeccompCmpOp::Ne, u64::from(libc::NETLINK_ROUTE.unsigned_abs()))?,
    ])?;
    let socket = vec![none_of(0, families)?, netlink];
    Ok(Rules::from([
        (libc::SYS_socket, socket.clone()),
        (libc::SYS_socketpair, socket),
    ]))
}

/// Makes a rule that holds if argument `index` is none of `values`.
fn none_of<const N: usize>(index: u8, values: [u64; N]) -> Result<SeccompRule, BackendError> {
    let conditions = values.iter().map(|&value| argument(index, SeccompCmpOp::Ne, value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// Makes a condition on the low 32 bits of argument `index`. The kernel takes these arguments as `int` or has no flag
/// above them, so further bits must not make a difference.
fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile() {
        assert_eq!(programs().unwrap().len(), 3);
    }

    #[test]
    fn a_call_is_in_one_list_only() {
        for call in calls::REFUSED {
            assert!(!calls::ALLOWED.contains(call), "{call}");
        }
        for list in [calls::ALLOWED, calls::REFUSED] {
            let distinct: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!(distinct.len(), list.len());
        }
        // The conditions narrow calls that are allowed.
        for call in [
            libc::SYS_clone,
            libc::SYS_ioctl,
            libc::SYS_personality,
            libc::SYS_socket,
        ] {
            assert!(calls::ALLOWED.contains(&call));
        }
        assert!(!calls::ALLOWED.contains(&libc::SYS_clone3) && !calls::REFUSED.contains(&libc::SYS_clone3));
    }
}
