//! Initrds that open encrypted partitions: those of dracut, with systemd-cryptsetup.

use crate::durable::PathError;
use crate::root::Root;

use super::InstallError;
use super::dracut::{self, MAKER, UNFIT};

/// The file of dracut.conf(5) that asks for them, also when the image itself makes an initrd.
const DRACUT: &str = "/etc/dracut.conf.d/92-encrypted.conf";
const SETTINGS: &str = "add_dracutmodules+=\" crypt \"\n";

/// What such an initrd is made of and by: files that do the same, and the packages that have them.
const NEEDED: [(&[&str], &str); 4] = [
    (&[MAKER.0], MAKER.1),
    (
        &["/usr/bin/systemd-cryptsetup", "/usr/lib/systemd/systemd-cryptsetup"],
        "systemd-cryptsetup (Debian 13 and later; elsewhere systemd or systemd-udev)",
    ),
    (
        &["/usr/sbin/cryptsetup"],
        "cryptsetup-bin (Debian; elsewhere cryptsetup)",
    ),
    (&["/usr/sbin/dmsetup"], "dmsetup (Debian; elsewhere device-mapper)"),
];

/// Asks dracut for initrds that fit, if the image `root` has all that they need. Says whether it has.
///
/// # Errors
/// If the image cannot be looked at, or the file cannot be written.
pub fn prepare(root: &Root) -> Result<bool, PathError> {
    if missing(root)?.is_some() {
        return Ok(false);
    }
    root.write(DRACUT, SETTINGS, 0o644)?;
    Ok(true)
}

/// Checks, when all packages are installed, that the image `root` can have an initrd that fits.
///
/// # Errors
/// [`InstallError::NoCryptsetup`], [`InstallError::NotCryptsetup`].
pub fn check(root: &Root) -> Result<(), InstallError> {
    if root.exists(UNFIT.0)? {
        return Err(InstallError::NotCryptsetup { package: UNFIT.1 });
    }
    match missing(root)? {
        Some((file, package)) => Err(InstallError::NoCryptsetup { file, package }),
        None => Ok(()),
    }
}

/// Checks, before anything is installed, that `names` can lead to an image that [`check`] accepts.
///
/// # Errors
/// As there.
pub fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), InstallError> {
    let (file, package) = MAKER;
    let missing = InstallError::NoCryptsetup { file, package };
    dracut::check_names(names, missing, InstallError::NotCryptsetup { package: UNFIT.1 })
}

/// Returns the first file that the image lacks, with its packages.
fn missing(root: &Root) -> Result<Option<(&'static str, &'static str)>, PathError> {
    for (files, package) in NEEDED {
        let mut first = None;
        let mut is_there = false;
        for file in files {
            is_there |= root.exists(file)?;
            first = first.or(Some(*file));
        }
        if let Some(file) = first.filter(|_| !is_there) {
            return Ok(Some((file, package)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        for (files, package) in NEEDED {
            assert!(!prepare(&root).unwrap());
            let error = check(&root).unwrap_err();
            assert!(error.to_string().contains(files[0]), "{error}");
            assert!(error.hint().unwrap().contains(package), "{error}");
            let at = directory.path().join(&files[files.len() - 1][1..]);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, "").unwrap();
        }
        check(&root).unwrap();
        assert!(prepare(&root).unwrap());
        let settings = std::fs::read_to_string(directory.path().join(&DRACUT[1..])).unwrap();
        assert!(settings.contains(" crypt "), "{settings}");
        std::fs::write(directory.path().join("usr/sbin/mkinitramfs"), "").unwrap();
        assert!(check(&root).unwrap_err().hint().unwrap().contains("-initramfs-tools"));
    }
}
