//! No process of a sandbox outlives the one that started the sandbox.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::protocol::{Failure, cannot};

/// Makes the kernel kill this process when its parent ends. `parent` is the parent's process
/// id in decimal, as the parent knows it: if it ended before this call, the call fails.
pub(super) fn die_with_parent(parent: &str) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(cannot("bind the sandbox's life to oic's"))?;
    if parent_process()?.as_deref() == Some(parent) {
        return Ok(());
    }
    Err(Failure::new("the program that asked for the sandbox is gone"))
}

/// Reads the parent's process id from the host's `/proc` (proc_pid_stat(5), field 4): from inside a new PID namespace,
/// getppid(2) always returns 0.
fn parent_process() -> Result<Option<String>, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(cannot("read /proc/self/stat"))?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    Ok(fields.split_whitespace().nth(1).map(str::to_owned))
}

/// Kills every other process of this PID namespace; only its PID 1 may call this.
pub(super) fn kill_all_others() {
    // ESRCH: there is no other.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
}
