//! SIGINT and SIGTERM: the first asks the work to stop, a third one ends the process at once.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cancel::Cancel;

/// Exit code after an interruption, as shells report SIGINT.
pub const EXIT_CODE: u8 = 130;

/// Makes both signals set the returned flag.
///
/// # Errors
/// If a handler cannot be registered.
pub fn install() -> io::Result<Cancel> {
    let cancel = Cancel::default();
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(EXIT_CODE), cancel.flag())?;
        signal_hook::flag::register(signal, cancel.flag())?;
    }
    Ok(cancel)
}
