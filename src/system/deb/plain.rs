//! Which packages can be installed later than others with the same result.

use std::path::Path;

use crate::archive::ArchiveError;
use crate::archive::deb::Deb;
use crate::package::ResolvedPackage;

/// Control files that run nothing (deb-control(5), deb-md5sums(5), deb-shlibs(5), deb-symbols(5), deb-conffiles(5)).
const PASSIVE: [&[u8]; 5] = [b"control", b"md5sums", b"shlibs", b"symbols", b"conffiles"];
const TRIGGERS: &[u8] = b"triggers";
/// Triggers that need no care: the linker's cache is made of the final files, whichever package triggers it
/// (ldconfig(8)).
const HARMLESS: [&str; 3] = [
    "activate-noawait ldconfig",
    "activate ldconfig",
    "activate-await ldconfig",
];
/// Directories that others read: a package with files there has a say in the initrd, or in what happens when others are
/// installed.
const TOUCHY: [&str; 5] = [
    "usr/share/initramfs-tools/",
    "etc/initramfs-tools/",
    "etc/kernel/",
    "usr/lib/dracut/",
    "usr/share/dpkg/",
];

/// Says whether `package`, which lies in `file`, has only files: no maintainer script, no trigger of its own, nothing
/// that the scripts of others read. Others cannot have run differently because of it: a script may only count on what
/// its package depends on (Debian Policy 6.5, 7.2), and nothing that is installed depends on this one.
///
/// # Errors
/// If the file is damaged.
pub(super) fn is_plain(package: &ResolvedPackage, file: &Path) -> Result<bool, ArchiveError> {
    for file in Deb::open(file)?.control_files()? {
        let is_fine = match file.name.as_slice() {
            TRIGGERS => is_harmless(&file.contents),
            b"md5sums" => !is_touchy(&file.contents),
            name => PASSIVE.contains(&name),
        };
        if !is_fine {
            let (name, file) = (&package.name, String::from_utf8_lossy(&file.name).into_owned());
            tracing::debug!(package = name, file, "not installed upon another image's packages");
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_harmless(triggers: &[u8]) -> bool {
    let text = String::from_utf8_lossy(triggers);
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .all(|line| HARMLESS.contains(&line))
}

/// Says whether one of the files that md5sums lists lies where others look.
fn is_touchy(md5sums: &[u8]) -> bool {
    let text = String::from_utf8_lossy(md5sums);
    let mut paths = text
        .lines()
        .filter_map(|line| line.split_once("  ").map(|(_, path)| path));
    paths.any(|path| TOUCHY.iter().any(|prefix| path.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_linkers_trigger_is_harmless() {
        assert!(is_harmless(
            b"# Triggers added by dh_makeshlibs/13\nactivate-noawait ldconfig\n"
        ));
        assert!(is_harmless(b""));
        assert!(!is_harmless(
            b"activate-noawait ldconfig\ninterest-noawait /usr/share/x\n"
        ));
        assert!(!is_harmless(b"activate update-initramfs\n"));
    }

    #[test]
    fn hooks_of_the_initrd_are_seen() {
        assert!(is_touchy(b"0123  usr/bin/x\n4567  usr/share/initramfs-tools/hooks/x\n"));
        assert!(!is_touchy(b"0123  usr/bin/x\n"));
    }
}
