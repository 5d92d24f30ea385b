//! Makes each kernel's initrd once, at the end.
//!
//! A kernel's maintainer script makes the initrd as soon as the kernel is
//! configured, and the triggers of the packages that contribute to it make it
//! again. `INITRD=No` (kernel-img.conf(5), and the hooks in
//! `/etc/kernel/postinst.d`) skips the first; when everything is configured, the
//! kernel's hooks are run again, as its own script would.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::dpkg;
use crate::durable::PathError;
use crate::root::Root;
use crate::sandbox::{Command, Sandbox, SandboxFile};
use crate::work::Work;

use super::{InitrdRequest, InstallError, begin_initrds};

/// The variable of the transaction that keeps kernels from making their initrd yet.
pub(super) const NOT_YET: (&str, &str) = ("INITRD", "No");
const HOOKS: &str = "/etc/kernel/postinst.d";
/// The directory of configurations of initramfs-tools.
const CONFIGURATIONS: &str = "/etc/initramfs-tools/conf.d";
/// The names of hooks that make an initrd.
const GENERATORS: [&str; 2] = ["initramfs-tools", "dracut"];
const KERNEL_PREFIX: &str = "vmlinuz-";

/// Runs the hooks of every kernel that still lacks its initrd, as its own maintainer script would. Gives, in words,
/// what the template asked for and cannot be done.
///
/// # Errors
/// [`InstallError::Kernel`] if a kernel's hooks fail.
pub fn make_initrds(request: &InitrdRequest<'_>, work: Work<'_>) -> Result<Vec<String>, InstallError> {
    let (root, mut spec, warnings) = begin_initrds(request)?;
    spec.env = dpkg::environment(request.epoch);
    spec.files.push(dpkg::policy());
    spec.files.extend(configuration(&root, request.file_systems)?);
    let sandbox = Sandbox::new(spec);
    for version in waiting(&root)? {
        let mut command = Command::new(["run-parts", "--report", "--exit-on-error"]);
        command.argv.push(format!("--arg={version}").into());
        command
            .argv
            .push(format!("--arg=/boot/{KERNEL_PREFIX}{version}").into());
        command.argv.push(HOOKS.into());
        command.env.push((NOT_YET.0.into(), "Yes".into()));
        command.env.push(("DEB_MAINT_PARAMS".into(), "configure".into()));
        sandbox
            .run(&command, &mut |line| work.progress.detail(line), work.cancel)
            .map_err(|error| InstallError::of_kernel(version, error))?;
    }
    Ok(warnings)
}

/// Gives the initramfs.conf(5) for every program in the sandbox that makes initrds: they check `file_systems`, as on the
/// machine itself. There initramfs-tools finds the types by looking at the devices. Sorts first, so that all others win.
///
/// # Errors
/// If the image cannot be looked at.
pub fn configuration(root: &Root, file_systems: &[&str]) -> Result<Option<SandboxFile>, PathError> {
    if file_systems.is_empty() || !root.exists(CONFIGURATIONS)? {
        return Ok(None);
    }
    Ok(Some(SandboxFile {
        target: Path::new(CONFIGURATIONS).join("00-oic-file-systems"),
        mode: 0o644,
        contents: format!("FSTYPE={}\n", file_systems.join(",")).into_bytes(),
    }))
}

/// Lists the initrds that [`make_initrds`] would make if they were missing.
///
/// # Errors
/// If the image cannot be looked at.
pub fn made(root: &Root) -> Result<Vec<PathBuf>, PathError> {
    let mut made = Vec::new();
    for version in versions(root)? {
        let initrd = initrd(&version);
        if root.exists(&initrd)? {
            made.push(initrd);
        }
    }
    Ok(made)
}

/// Lists the versions of the kernels in `/boot` without an initrd, if the image can make one.
fn waiting(root: &Root) -> Result<Vec<String>, PathError> {
    let mut waiting = Vec::new();
    for version in versions(root)? {
        if !root.exists(initrd(&version))? {
            waiting.push(version);
        }
    }
    Ok(waiting)
}

fn initrd(version: &str) -> PathBuf {
    Path::new("/boot").join(format!("initrd.img-{version}"))
}

/// Lists the versions of the kernels in `/boot`, if the image can make an initrd.
fn versions(root: &Root) -> Result<Vec<String>, PathError> {
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
        versions.push(version.to_owned());
    }
    Ok(versions)
}
