//! Takes from the image's programs what would let them reach the host.
//!
//! Capabilities and system call filters belong to a thread (capabilities(7),
//! seccomp(2)), and a new process inherits those of the thread that starts it.
//! So PID 1 keeps its own, which it needs to clean up.

use std::panic::resume_unwind;

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::filter;
use super::protocol::{Failure, cannot};

/// The capabilities of a command as root: of those that container engines allow, the ones that maintainer scripts use
/// and that stay within the image.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL);

/// Calls `start` on a thread that has only [`CAPABILITIES`] and the system calls of [`filter`]; returns the result of
/// `start`. A process that `start` starts can get no more than that.
pub(super) fn confined<T: Send>(start: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            drop_capabilities()?;
            filter::apply()?;
            Ok(start())
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Takes everything but [`CAPABILITIES`] from this thread and what it starts. All five sets of a
/// thread count: root gets what is in the bounding set and what is inheritable
/// (capabilities(7), "Capabilities and execution of programs by root").
fn drop_capabilities() -> Result<(), Failure> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if CAPABILITIES.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that the kernel does not know ends the list.
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(cannot("drop capabilities")(e)),
        }
    }
    let sets = CapabilitySets {
        effective: CAPABILITIES,
        permitted: CAPABILITIES,
        inheritable: CapabilitySet::empty(),
    };
    // What is not inheritable leaves the ambient set as well.
    rustix::thread::set_capabilities(None, sets).map_err(cannot("drop capabilities"))
}
