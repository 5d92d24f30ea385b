//! SIGINT, SIGTERM and SIGHUP end a command with exit code 130, and leave nothing behind.
//!
//! At first, a signal ends the process at once: there is nothing to clean up. Once a command has asked for
//! [`Interrupt::cancel`], which it does before it makes its first temporary file, a signal sets a flag instead; the
//! work stops at its next check and removes what it has begun. Further signals then change nothing: an end in the midst
//! of that would leave temporaries behind. SIGQUIT and SIGKILL still end the process at once.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::limits;
use crate::cancel::Cancel;

use super::error::{CommandError, INTERRUPTED};

/// The process's reaction to signals.
#[derive(Debug)]
pub struct Interrupt {
    cancel: Cancel,
    ends_at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the signals. A SIGHUP that the caller ignores, as nohup(1) does, stays ignored.
    ///
    /// # Errors
    /// If a handler cannot be registered.
    pub fn install() -> io::Result<Self> {
        let interrupt = Self {
            cancel: Cancel::default(),
            ends_at_once: Arc::new(AtomicBool::new(true)),
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && is_ignored(&status, signal) {
                continue;
            }
            let condition = Arc::clone(&interrupt.ends_at_once);
            flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), condition)?;
            flag::register(signal, interrupt.cancel.flag())?;
        }
        limits::watch(&interrupt.cancel)?;
        Ok(interrupt)
    }

    /// Returns the flag that signals set from now on, for a command that checks it and cleans up.
    pub fn cancel(&self) -> Cancel {
        self.ends_at_once.store(false, Ordering::SeqCst);
        self.cancel.clone()
    }

    /// Returns the reason why a command ended with `error`: after a signal, any failure is a consequence of that.
    pub fn reason(&self, error: CommandError) -> CommandError {
        match self.cancel.is_cancelled() && error.is_failure() {
            true => CommandError::interrupted(),
            false => error,
        }
    }
}

/// Returns whether `status`, a text as in `/proc/PID/status` (proc_pid_status(5)), says that `signal` is ignored.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\toic\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n";
        for (signal, ignored) in [(SIGHUP, true), (SIGINT, false), (13, true), (SIGTERM, false)] {
            assert_eq!(is_ignored(status, signal), ignored, "{signal}");
        }
        assert!(!is_ignored("", SIGHUP));
    }
}
