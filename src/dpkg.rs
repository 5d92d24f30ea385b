//! How dpkg and apt of the target system run: the environment of their scripts, and the meaning of their status lines.

mod architectures;
mod transcript;

use std::ffi::OsString;

pub use architectures::add_architectures;
pub use transcript::Transcript;

use crate::sandbox::SandboxFile;

/// Makes the file that keeps maintainer scripts from starting or stopping services: exit status 101 is "action not
/// allowed" (invoke-rc.d(8), and README.policy-rc.d of init-system-helpers).
pub fn policy() -> SandboxFile {
    SandboxFile {
        target: "/usr/sbin/policy-rc.d".into(),
        mode: 0o755,
        contents: b"#!/bin/sh\nexit 101\n".to_vec(),
    }
}

/// Gives the environment of maintainer scripts: no person answers questions, and what the scripts write depends on
/// `epoch` (seconds, `SOURCE_DATE_EPOCH`) instead of the clock.
pub fn environment(epoch: u64) -> Vec<(OsString, OsString)> {
    [
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        // Perl writes hashes in an order that it draws anew for each process.
        ("PERL_HASH_SEED", "0"),
        ("SOURCE_DATE_EPOCH", epoch.to_string().as_str()),
    ]
    .map(|(key, value)| (key.into(), value.into()))
    .into()
}
