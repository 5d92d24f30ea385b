//! Makes each kernel's initrd once, at the end.
//!
//! A kernel's maintainer script makes the initrd as soon as the kernel is
//! configured, and the triggers of the packages that contribute to it make it
//! again. `INITRD=No` (kernel-img.conf(5), and the hooks in
//! `/etc/kernel/postinst.d`) skips the first; when everything is configured, the
//! kernel's hooks are run again, as its own script would.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::root::Root;
use crate::sandbox::{Command, Sandbox};

use super::InstallError;

/// Set during the transaction, so that kernels do not make their initrd yet.
pub(super) const NOT_YET: (&str, &str) = ("INITRD", "No");
const HOOKS: &str = "/etc/kernel/postinst.d";
/// The hooks that make an initrd.
const GENERATORS: [&str; 2] = ["initramfs-tools", "dracut"];
const KERNEL_PREFIX: &str = "vmlinuz-";

/// Runs the hooks of every kernel that still lacks its initrd.
pub(super) fn finish(
    root: &Root,
    sandbox: &Sandbox,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), InstallError> {
    for version in waiting(root)? {
        let mut command = Command::new(["run-parts", "--report", "--exit-on-error"]);
        command.argv.push(format!("--arg={version}").into());
        command
            .argv
            .push(format!("--arg=/boot/{KERNEL_PREFIX}{version}").into());
        command.argv.push(HOOKS.into());
        command.env.push((NOT_YET.0.into(), "Yes".into()));
        command.env.push(("DEB_MAINT_PARAMS".into(), "configure".into()));
        sandbox
            .run(&command, on_line, cancel)
            .map_err(|error| InstallError::of_kernel(version, error))?;
    }
    Ok(())
}

/// Versions of the kernels in `/boot` without an initrd, if something can make one.
fn waiting(root: &Root) -> Result<Vec<String>, PathError> {
    let mut versions = Vec::new();
    let hooks = root.names(HOOKS)?;
    if !GENERATORS
        .iter()
        .any(|generator| hooks.iter().any(|hook| hook == generator))
    {
        return Ok(versions);
    }
    for name in root.names("/boot")? {
        let Some(version) = name.as_bytes().strip_prefix(KERNEL_PREFIX.as_bytes()) else {
            continue;
        };
        let Ok(version) = std::str::from_utf8(version) else {
            continue;
        };
        if !root.exists(Path::new("/boot").join(format!("initrd.img-{version}")))? {
            versions.push(version.to_owned());
        }
    }
    Ok(versions)
}
