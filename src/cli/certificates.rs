//! Where a user names certificates for https servers: apt's configuration, and the variable `OIC_TLS` in the same form.

use std::ffi::OsString;
use std::path::Path;

use crate::config::TLS_VARIABLE;
use crate::fetch::Certificates;

use super::credentials::{parts, text_of};

/// Reads them all; a later one counts: `/etc/apt/apt.conf.d`, `/etc/apt/apt.conf` (apt.conf(5)), then the variable.
/// `variables` are the user's `OIC_*` variables.
pub fn read(variables: &[(OsString, OsString)]) -> Certificates {
    let mut all = Certificates::default();
    let etc_apt = Path::new("/etc/apt");
    for path in parts(&etc_apt.join("apt.conf.d"))
        .into_iter()
        .chain([etc_apt.join("apt.conf")])
    {
        if let Some(text) = text_of(&path) {
            all.add_text(&text);
        }
    }
    let named = variables.iter().find(|(name, _)| name == TLS_VARIABLE);
    if let Some(text) = named.and_then(|(_, text)| text.to_str()) {
        all.add_text(text);
    }
    all
}
