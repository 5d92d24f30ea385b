//! Where a user keeps names and passwords for servers: the variable `OIC_AUTH`, netrc, and apt's `auth.conf`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::AUTH_VARIABLE;
use crate::durable;
use crate::fetch::{Credentials, CredentialsFormat};

/// The largest file that is read, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// Reads all of them, in the order in which they count: the variable, `$NETRC` or `~/.netrc`, `/etc/apt/auth.conf` and
/// `/etc/apt/auth.conf.d`. `variables` are the user's `OIC_*` variables.
pub fn read(variables: &[(OsString, OsString)]) -> Credentials {
    let mut all = Credentials::default();
    let named = variables.iter().find(|(name, _)| name == AUTH_VARIABLE);
    if let Some(text) = named.and_then(|(_, text)| text.to_str()) {
        all.add_file(text, CredentialsFormat::AptAuth);
    }
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let netrc = set("NETRC").or_else(|| Some(set("HOME")?.join(".netrc")));
    if let Some(text) = netrc.as_deref().and_then(text_of) {
        all.add_file(&text, CredentialsFormat::Netrc);
    }
    let etc_apt = Path::new("/etc/apt");
    for path in [etc_apt.join("auth.conf")]
        .into_iter()
        .chain(parts(&etc_apt.join("auth.conf.d")))
    {
        if let Some(text) = text_of(&path) {
            all.add_file(&text, CredentialsFormat::AptAuth);
        }
    }
    all
}

/// Lists the files that apt reads in a `directory` of parts of its configuration, sorted: those whose names end in
/// `.conf` or have no ending (apt.conf(5)).
pub(super) fn parts(directory: &Path) -> Vec<PathBuf> {
    let parts = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_read = |path: &PathBuf| path.extension().is_none_or(|extension| extension == "conf");
    let mut parts: Vec<PathBuf> = parts.map(|entry| entry.path()).filter(is_read).collect();
    parts.sort();
    parts
}

/// Reads a file; `None`, which the log explains, if it cannot be read.
pub(super) fn text_of(path: &Path) -> Option<String> {
    let read = durable::open_regular(path).and_then(|file| durable::read_at_most(file, LIMIT_BYTES));
    match read {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the file cannot be read");
            None
        }
    }
}
