//! Initrds of distributions whose kernels are not followed by hooks: made by dracut, once, when
//! everything is installed.

use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::root::Root;
use crate::sandbox::{Command, Sandbox, SandboxFile};

use super::InstallError;

const DRACUT: &str = "/usr/bin/dracut";
const MODULES: &str = "/usr/lib/modules";

/// dracut.conf(5) for every dracut that runs in the sandbox, scriptlets' own included: the initrd is for
/// any machine, and the same whenever it is made.
pub(super) fn configuration() -> SandboxFile {
    SandboxFile {
        target: "/etc/dracut.conf.d/00-oic.conf".into(),
        mode: 0o644,
        contents: b"hostonly=no\nreproducible=yes\n".to_vec(),
    }
}

/// Makes the initrd of every kernel that lacks one, if the image has dracut.
pub(super) fn make_missing(
    root: &Root,
    sandbox: &Sandbox,
    on_line: &mut dyn FnMut(&str),
    cancel: &Cancel,
) -> Result<(), InstallError> {
    if !root.exists(DRACUT)? {
        return Ok(());
    }
    for version in waiting(root)? {
        let mut command = Command::new([DRACUT, "--force", "--no-hostonly", "--reproducible", "--add", "systemd"]);
        command.argv.extend(["--kver", &version].map(Into::into));
        command.argv.push(format!("/boot/initramfs-{version}.img").into());
        sandbox
            .run(&command, on_line, cancel)
            .map_err(|error| InstallError::of_kernel(version, error))?;
    }
    Ok(())
}

/// Versions of the kernels that have no initrd, in `/boot` or beside their modules (`kernel-install`'s layouts).
fn waiting(root: &Root) -> Result<Vec<String>, PathError> {
    let mut versions = Vec::new();
    for name in root.names(MODULES)? {
        let Ok(version) = name.into_string() else { continue };
        let beside = |name: &str| Path::new(MODULES).join(&version).join(name);
        let boot = |name: String| Path::new("/boot").join(name);
        let any = |paths: &[PathBuf]| -> Result<bool, PathError> {
            for path in paths {
                if root.exists(path)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let kernels = [boot(format!("vmlinuz-{version}")), beside("vmlinuz")];
        let initrds = [
            boot(format!("initramfs-{version}.img")),
            boot(format!("initrd.img-{version}")),
            beside("initrd"),
        ];
        if any(&kernels)? && !any(&initrds)? {
            versions.push(version);
        }
    }
    versions.sort();
    Ok(versions)
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
        make("usr/lib/modules/6.12.0-55.el10.x86_64/initrd");
        assert_eq!(waiting(&root).unwrap(), ["6.6.1"]);
    }
}
