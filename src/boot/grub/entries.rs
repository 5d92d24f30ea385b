//! Entries of the Boot Loader Specification (UAPI.1, "Type #1") below `/boot`, which the GRUB of some distributions makes
//! its menu of (command `blscfg`), and which their kernel-install(8) adds to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::menu::Bootable;
use super::place::Place;
use crate::boot::BootError;
use crate::boot::entry::{id, value};
use crate::root::Root;

/// The directory of the entries.
pub const DIRECTORY: &str = "/boot/loader/entries";

/// Says whether all of `kernels` lie on the file system of the entries, so that an entry can name them.
pub fn can_name(kernels: &[Bootable], entries: &Place) -> bool {
    let mut files = kernels.iter().flat_map(|kernel| [&kernel.linux, &kernel.initrd]);
    files.all(|file| file.uuid == entries.uuid)
}

/// Writes an entry for each of `kernels`, which are started with `options`: in place of one that the kernel's package has
/// made for the machine of the build. Files that the template has stay.
///
/// # Errors
/// If a file cannot be written.
pub fn write(root: &Root, kernels: &[Bootable], os_release: &str, options: &str) -> Result<(), BootError> {
    let id = id(os_release, "ID").unwrap_or_else(|| "linux".to_owned());
    for kernel in kernels {
        let end = format!("-{}.conf", kernel.version);
        let directory = Path::new(DIRECTORY);
        for name in root.names(directory)? {
            if name.to_str().is_some_and(|name| name.ends_with(&end)) {
                root.remove(directory.join(name))?;
            }
        }
        let path: PathBuf = directory.join(format!("{id}{end}"));
        if !root.is_spared(&path) {
            root.write(path, text(kernel, os_release, &id, options), 0o644)?;
        }
    }
    Ok(())
}

/// Writes one entry.
fn text(kernel: &Bootable, os_release: &str, id: &str, options: &str) -> String {
    let name = value(os_release, "PRETTY_NAME").filter(|name| !name.contains(char::is_control));
    let title = format!("{} ({})", name.unwrap_or_else(|| "Linux".to_owned()), kernel.version);
    let mut text = String::new();
    for (field, value) in [
        ("title", title.as_str()),
        ("version", &kernel.version),
        ("linux", &kernel.linux.word()),
        ("initrd", &kernel.initrd.word()),
        ("options", options),
        ("grub_users", "$grub_users"),
        ("grub_arg", "--unrestricted"),
        ("grub_class", id),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{field} {value}");
    }
    text
}
