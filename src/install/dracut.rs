//! The maker of initrds that open what oic has sealed: dracut, and none beside it.

use super::InstallError;

/// The program, and its package.
pub(super) const MAKER: (&str, &str) = ("/usr/bin/dracut", "dracut");
/// A program that makes initrds which open nothing that oic has sealed, and its package.
pub(super) const UNFIT: (&str, &str) = ("/usr/sbin/mkinitramfs", "initramfs-tools");

/// Checks that of the packages `names` dracut makes the initrds. `missing` is the error without it, `unfit` that with
/// [`UNFIT`].
///
/// # Errors
/// These.
pub(super) fn check_names<'a>(
    names: impl Iterator<Item = &'a str>,
    missing: InstallError,
    unfit: InstallError,
) -> Result<(), InstallError> {
    let mut has_maker = false;
    for name in names {
        has_maker |= matches!(name, "dracut" | "dracut-core");
        if name == UNFIT.1 {
            return Err(unfit);
        }
    }
    has_maker.then_some(()).ok_or(missing)
}
