//! How rpm of the target system runs: the command line of a transaction, the environment of its scriptlets, and the
//! meaning of its lines.

mod transcript;

use std::ffi::OsString;
use std::path::Path;

pub use transcript::Transcript;

/// The path of rpm itself (file system layout of all distributions that use it).
pub const PROGRAM: &str = "/usr/bin/rpm";

/// Gives the environment of scriptlets: what they and rpm's database write depends on `epoch` (seconds,
/// `SOURCE_DATE_EPOCH`) instead of the clock.
pub fn environment(epoch: u64) -> Vec<(OsString, OsString)> {
    [
        // Perl writes hashes in an order that it draws anew for each process.
        ("PERL_HASH_SEED", "0"),
        ("SOURCE_DATE_EPOCH", epoch.to_string().as_str()),
    ]
    .map(|(key, value)| (key.into(), value.into()))
    .into()
}

/// Gives the variable that keeps a kernel's scriptlets from making its initrd before everything is installed
/// (kernel-install(8), `KERNEL_INSTALL_BYPASS`).
pub fn not_yet() -> (OsString, OsString) {
    ("KERNEL_INSTALL_BYPASS".into(), "1".into())
}

/// Makes the command line that installs the package files in one transaction, dependencies checked, into the directory
/// `root` unless it is `None` (rpm(8)).
///
/// rpm checks digests, but no signatures: these were verified when the packages were fetched, each against the keys of
/// its own repository, which the image's database does not know. The versions are those of the resolution, also where
/// the base has a newer one. Plugins are left out: they talk to services of a
/// running system, or confine scriptlets, as the sandbox does.
pub fn upgrade(root: Option<&Path>, files: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec![PROGRAM.into()];
    if let Some(root) = root {
        argv.extend(["--root".into(), root.into()]);
    }
    argv.extend(["--upgrade", "--oldpackage", "--verbose", "--nosignature", "--noplugins"].map(OsString::from));
    argv.push("--".into());
    argv.extend(files);
    argv
}
