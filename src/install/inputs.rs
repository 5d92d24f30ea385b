//! What the programs that make initrds read, besides the files of packages: their configuration, and what they copy.

use std::path::{Path, PathBuf};

use crate::durable::PathError;
use crate::root::Root;

/// Files and directories that go into initrds, or decide about what does (initramfs-tools(7), dracut.conf(5), and the
/// hooks that other packages bring for these programs).
const INPUTS: [&str; 32] = [
    "/etc/cmdline.d",
    "/etc/console-setup",
    "/etc/crypttab",
    "/etc/cryptsetup-initramfs",
    "/etc/cryptsetup-keys.d",
    "/etc/default/console-setup",
    "/etc/default/keyboard",
    "/etc/dracut.conf",
    "/etc/dracut.conf.d",
    "/etc/dropbear/initramfs",
    "/etc/dropbear-initramfs",
    "/etc/initramfs-tools",
    "/etc/iscsi/iscsi.initramfs",
    "/etc/lvm",
    "/etc/mdadm",
    "/etc/mdadm.conf",
    "/etc/modprobe.d",
    "/etc/modules",
    "/etc/modules-load.d",
    "/etc/multipath",
    "/etc/multipath.conf",
    "/etc/plymouth",
    "/etc/udev",
    "/etc/vconsole.conf",
    "/usr/lib/dracut",
    "/usr/lib/firmware",
    "/usr/lib/modprobe.d",
    MODULES,
    "/usr/lib/modules-load.d",
    UDEV,
    "/usr/share/initramfs-tools",
    "/usr/share/plymouth",
];
/// The directory of kernel modules, and links in it that no initrd has.
const MODULES: &str = "/usr/lib/modules";
const HEADERS: [&str; 2] = ["build", "source"];
/// Rules of udev. The initrd has a few of them, by name, and the packages of these make it again themselves.
const UDEV: &str = "/usr/lib/udev";
/// The directory of which only the files that name network devices go into initrds (systemd.link(5)).
const NETWORK: &str = "/etc/systemd/network";

/// Gives a file below `upper`, the files that packages have brought since the initrds were made, that goes into them.
///
/// # Errors
/// If a directory cannot be read.
pub fn brought(upper: &Root) -> Result<Option<PathBuf>, PathError> {
    first_of(upper, INPUTS.into_iter().filter(|path| *path != UDEV))
}

/// Gives a file below `upper`, the files that were written since the initrds were made, that goes into them.
///
/// # Errors
/// If a directory cannot be read.
pub fn changed(upper: &Root) -> Result<Option<PathBuf>, PathError> {
    first_of(upper, INPUTS.into_iter())
}

/// Finds the first file at one of `paths` or below, or one that names network devices.
fn first_of(upper: &Root, paths: impl Iterator<Item = &'static str>) -> Result<Option<PathBuf>, PathError> {
    for path in paths {
        if let Some(found) = first_file(upper, Path::new(path))? {
            return Ok(Some(found));
        }
    }
    let links = upper.names(NETWORK)?;
    let link = links.into_iter().map(|name| Path::new(NETWORK).join(name));
    let mut link = link.filter(|path| path.extension().is_some_and(|extension| extension == "link"));
    Ok(link.next())
}

/// Finds the first entry at `path` or below that is no directory. What stands for a removed file counts too.
fn first_file(upper: &Root, path: &Path) -> Result<Option<PathBuf>, PathError> {
    if upper.read_link(path)?.is_some() {
        return Ok(Some(path.to_owned()));
    }
    let Some(mode) = upper.mode(path)? else { return Ok(None) };
    if mode & libc::S_IFMT != libc::S_IFDIR {
        return Ok(Some(path.to_owned()));
    }
    for name in upper.names(path)? {
        // Links to the headers of a kernel.
        if path.starts_with(MODULES) && HEADERS.iter().any(|link| name == *link) {
            continue;
        }
        if let Some(found) = first_file(upper, &path.join(name))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_told_from_other_files() {
        for (path, is_input) in [
            ("/etc/initramfs-tools/hooks/mine", true),
            ("/etc/initramfs-tools/modules", true),
            ("/etc/modules", true),
            ("/etc/crypttab", true),
            ("/etc/dracut.conf.d/mine.conf", true),
            ("/etc/modprobe.d/mine.conf", true),
            ("/usr/lib/modules/6.12/updates/dkms/mine.ko", true),
            ("/usr/lib/modules/6.12/build", false),
            ("/etc/systemd/network/10-lan.link", true),
            ("/etc/systemd/network/99-default.network", false),
            ("/etc/hostname", false),
            ("/etc/modules.txt", false),
            ("/boot/initrd.img-6.12", false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let root = Root::open(directory.path()).unwrap();
            root.create_directory("/etc/initramfs-tools/conf.d").unwrap();
            root.write(path, "", 0o644).unwrap();
            assert_eq!(changed(&root).unwrap(), is_input.then(|| PathBuf::from(path)), "{path}");
        }
    }

    #[test]
    fn packages_may_bring_rules_of_udev() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.write("/usr/lib/udev/rules.d/60-any.rules", "", 0o644).unwrap();
        assert!(brought(&root).unwrap().is_none() && changed(&root).unwrap().is_some());
        root.write("/usr/lib/modprobe.d/any.conf", "", 0o644).unwrap();
        assert_eq!(brought(&root).unwrap(), Some("/usr/lib/modprobe.d/any.conf".into()));
    }

    #[test]
    fn links_count_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.symlink("/nowhere", "/etc/modprobe.d/mine.conf").unwrap();
        let found = changed(&root).unwrap();
        assert_eq!(found, Some("/etc/modprobe.d/mine.conf".into()));
    }
}
