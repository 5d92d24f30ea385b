//! Initrds for a root that is never written: those of dracut, for a verified one with the units of systemd-veritysetup.

use crate::durable::PathError;
use crate::root::Root;

use super::InstallError;
use super::dracut::{self, MAKER, UNFIT};

/// The file of dracut.conf(5) that asks for them, also when the image itself makes an initrd.
const DRACUT: &str = "/etc/dracut.conf.d/91-verified-root.conf";
/// `overlay` is for the writable `/etc`.
const SETTINGS: &str = "add_drivers+=\" overlay erofs \"\n";
/// What they say besides for a verified root.
const OF_VERIFIED: &str = "add_dracutmodules+=\" systemd-veritysetup \"\n";

/// What such an initrd is made of and by: files, each with the packages that have it. The first one makes it, the others
/// are for verified roots.
const NEEDED: [(&str, &str); 4] = [
    MAKER,
    (
        "/usr/lib/systemd/systemd-veritysetup",
        "systemd-cryptsetup (Debian 13 and later; elsewhere systemd, systemd-udev or veritysetup)",
    ),
    (
        "/usr/lib/systemd/system-generators/systemd-veritysetup-generator",
        "systemd-cryptsetup (Debian 13 and later; elsewhere systemd, systemd-udev or veritysetup)",
    ),
    ("/usr/sbin/dmsetup", "dmsetup (Debian; elsewhere device-mapper)"),
];

/// Asks dracut for initrds that fit, verified root or not, if the image `root` has all that they need. Says whether it has.
///
/// # Errors
/// If the image cannot be looked at, or the file cannot be written.
pub fn prepare(root: &Root, is_verified: bool) -> Result<bool, PathError> {
    if missing(root, is_verified)?.is_some() {
        return Ok(false);
    }
    let verified = if is_verified { OF_VERIFIED } else { "" };
    root.write(DRACUT, format!("{verified}{SETTINGS}"), 0o644)?;
    Ok(true)
}

/// Checks, when all packages are installed, that the image `root` can have an initrd that fits.
///
/// # Errors
/// [`InstallError::NoVerity`], [`InstallError::NotVerity`].
pub fn check(root: &Root, is_verified: bool) -> Result<(), InstallError> {
    if root.exists(UNFIT.0)? {
        return Err(InstallError::NotVerity { package: UNFIT.1 });
    }
    match missing(root, is_verified)? {
        Some((file, package)) => Err(InstallError::NoVerity { file, package }),
        None => Ok(()),
    }
}

/// Checks, before anything is installed, that `names` can lead to an image that [`check`] accepts.
///
/// # Errors
/// As there.
pub fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), InstallError> {
    let (file, package) = MAKER;
    let missing = InstallError::NoVerity { file, package };
    dracut::check_names(names, missing, InstallError::NotVerity { package: UNFIT.1 })
}

/// Returns the first file that the image lacks, with its package.
fn missing(root: &Root, is_verified: bool) -> Result<Option<(&'static str, &'static str)>, PathError> {
    let count = if is_verified { NEEDED.len() } else { 1 };
    for needed in NEEDED.into_iter().take(count) {
        if !root.exists(needed.0)? {
            return Ok(Some(needed));
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
        for (file, package) in NEEDED {
            assert!(!prepare(&root, true).unwrap());
            let error = check(&root, true).unwrap_err();
            assert!(error.to_string().contains(file), "{error}");
            assert!(error.hint().unwrap().contains(package), "{error}");
            let at = directory.path().join(&file[1..]);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, "").unwrap();
        }
        check(&root, true).unwrap();
        check(&root, false).unwrap();
        assert!(prepare(&root, true).unwrap());
        let settings = std::fs::read_to_string(directory.path().join(&DRACUT[1..])).unwrap();
        assert!(settings.contains(" systemd-veritysetup "), "{settings}");
        std::fs::write(directory.path().join("usr/sbin/mkinitramfs"), "").unwrap();
        let error = check(&root, true).unwrap_err();
        assert!(error.hint().unwrap().contains("-initramfs-tools"), "{error}");
    }

    #[test]
    fn names_are_enough_for_most_refusals() {
        let check = |names: &[&str]| check_names(names.iter().copied()).map_err(|error| error.to_string());
        check(&["bash", "dracut-core"]).unwrap();
        assert!(check(&["bash"]).unwrap_err().contains("/usr/bin/dracut"));
        assert!(
            check(&["dracut", "initramfs-tools"])
                .unwrap_err()
                .contains("initramfs-tools")
        );
    }
}
