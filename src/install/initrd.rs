//! Initrds of distributions whose kernels have no hooks: made by dracut, once, when everything is installed.

use std::path::{Path, PathBuf};

use crate::durable::PathError;
use crate::root::Root;
use crate::rpm;
use crate::sandbox::{Command, Sandbox, SandboxFile};
use crate::work::Work;

use super::{InitrdRequest, InstallError, begin_initrds};

const DRACUT: &str = "/usr/bin/dracut";
const MODULES: &str = "/usr/lib/modules";

/// The settings of what makes initrds: file and content. The initrd is for any machine, has the microcode of all makers,
/// and is the same at any time. What the image itself sets counts, unless that depends on the machine (dracut.conf(5),
/// initramfs.conf(5)).
const GENERIC: [Setting; 2] = [
    OF_DRACUT,
    (
        "/etc/initramfs-tools/conf.d/00-oic",
        "case ${MODULES:-dep} in dep) MODULES=most ;; esac\ncase ${RESUME:-auto} in auto) RESUME=none ;; esac\n",
    ),
];
const OF_DRACUT: Setting = (
    "/etc/dracut.conf.d/00-oic.conf",
    "hostonly=no\nearly_microcode=yes\nreproducible=yes\n",
);

/// The path of a file, and its content.
type Setting = (&'static str, &'static str);

/// Gives the files with which every program that makes an initrd in a sandbox on `root`, packages' scripts and commands
/// included, makes one for any machine. A file whose directory does not exist yet is left out: its place would be removed
/// after the run, although a package may have brought the directory meanwhile.
///
/// # Errors
/// If a directory cannot be looked at.
pub fn generic_initrds(root: &Root) -> Result<Vec<SandboxFile>, PathError> {
    let mut files = Vec::new();
    for setting in GENERIC {
        let directory = Path::new(setting.0).parent();
        if let Some(directory) = directory
            && root.exists(directory)?
        {
            files.push(file(setting));
        }
    }
    Ok(files)
}

/// Gives the file for dracut, for scriptlets that run it in the transaction that brings it.
pub(super) fn of_dracut() -> SandboxFile {
    file(OF_DRACUT)
}

fn file((target, contents): Setting) -> SandboxFile {
    SandboxFile {
        target: target.into(),
        mode: 0o644,
        contents: contents.into(),
    }
}

/// Makes the initrd of every kernel that lacks one, if the image has dracut. Gives, in words, what the template asked
/// for and cannot be done.
///
/// # Errors
/// [`InstallError::Kernel`] if an initrd cannot be made.
pub fn make_initrds(request: &InitrdRequest<'_>, work: Work<'_>) -> Result<Vec<String>, InstallError> {
    let (root, mut spec, warnings) = begin_initrds(request)?;
    if !root.exists(DRACUT)? {
        return Ok(warnings);
    }
    spec.env = rpm::environment(request.epoch);
    let sandbox = Sandbox::new(spec);
    for version in waiting(&root)? {
        let mut command = Command::new([DRACUT, "--force", "--no-hostonly", "--reproducible", "--add", "systemd"]);
        command.argv.extend(["--kver", &version].map(Into::into));
        command.argv.push(format!("/boot/initramfs-{version}.img").into());
        sandbox
            .run(&command, &mut |line| work.progress.detail(line), work.cancel)
            .map_err(|error| InstallError::of_kernel(version, error))?;
    }
    Ok(warnings)
}

/// Lists the initrds that [`make_initrds`] would make if they were missing.
///
/// # Errors
/// If the image cannot be looked at.
pub fn made(root: &Root) -> Result<Vec<PathBuf>, PathError> {
    let mut made = Vec::new();
    if root.exists(DRACUT)? {
        for (_, initrds) in kernels(root)? {
            // One at another place was made by another program, or came with its kernel.
            if let [initrd] = initrds.as_slice()
                && initrd.starts_with("/boot")
                && initrd.extension().is_some_and(|extension| extension == "img")
            {
                made.push(initrd.clone());
            }
        }
    }
    Ok(made)
}

/// Lists the versions of kernels without an initrd.
fn waiting(root: &Root) -> Result<Vec<String>, PathError> {
    let kernels = kernels(root)?.into_iter();
    let waiting = kernels.filter_map(|(version, initrds)| initrds.is_empty().then_some(version));
    Ok(waiting.collect())
}

/// Lists the kernels by version, each with its initrds: in `/boot` or beside their modules (`kernel-install`'s layouts).
fn kernels(root: &Root) -> Result<Vec<(String, Vec<PathBuf>)>, PathError> {
    let mut found = Vec::new();
    for name in root.names(MODULES)? {
        let Ok(version) = name.into_string() else { continue };
        let beside = |name: &str| Path::new(MODULES).join(&version).join(name);
        let boot = |name: String| Path::new("/boot").join(name);
        let present = |paths: Vec<PathBuf>| -> Result<Vec<PathBuf>, PathError> {
            let mut present = Vec::new();
            for path in paths {
                if root.exists(&path)? {
                    present.push(path);
                }
            }
            Ok(present)
        };
        let kernels = vec![boot(format!("vmlinuz-{version}")), beside("vmlinuz")];
        let initrds = vec![
            boot(format!("initramfs-{version}.img")),
            boot(format!("initrd.img-{version}")),
            beside("initrd"),
        ];
        if !present(kernels)?.is_empty() {
            let initrds = present(initrds)?;
            found.push((version, initrds));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_wait_in_both_layouts() {
        let directory = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let root = Root::open(directory.path()).unwrap();
        assert!(waiting(&root).unwrap().is_empty());
        for path in [
            "usr/lib/modules/6.6.1/modules.dep",
            "usr/lib/modules/6.6.2/modules.dep",
            "usr/lib/modules/6.12.0-55.el10.x86_64/vmlinuz",
            "usr/lib/modules/5.14/modules.dep",
            "boot/vmlinuz-6.6.1",
            "boot/vmlinuz-6.6.2",
            "boot/initramfs-6.6.2.img",
        ] {
            make(path);
        }
        assert_eq!(waiting(&root).unwrap(), ["6.12.0-55.el10.x86_64", "6.6.1"]);
        make("usr/bin/dracut");
        assert_eq!(made(&root).unwrap(), [Path::new("/boot/initramfs-6.6.2.img")]);
        make("usr/lib/modules/6.12.0-55.el10.x86_64/initrd");
        assert_eq!(waiting(&root).unwrap(), ["6.6.1"]);
    }
}
