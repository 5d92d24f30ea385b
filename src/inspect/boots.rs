//! What a system starts: its kernels, and the units that systemd starts by itself (systemd.unit(5)).

use std::path::Path;

use serde::Serialize;

use crate::disk::walk;
use crate::installed::{InstalledError, names};
use crate::overlay::layer::{FileKind, Layer};

/// Where administrators and templates enable units.
const UNITS: &str = "/etc/systemd/system";

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its version.
    pub version: String,
    /// Its path.
    pub image: String,
    /// The path of its initrd; empty if it has none.
    pub initrd: String,
}

/// Finds the kernels of `layer`: `/boot/vmlinuz-VERSION` and `/usr/lib/modules/VERSION/vmlinuz`.
///
/// # Errors
/// If a directory cannot be read.
pub(super) fn kernels(layer: &dyn Layer) -> Result<Vec<Kernel>, InstalledError> {
    let boot = names(layer, "/boot")?;
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, _) in &boot {
        let version = ["vmlinuz-", "vmlinux-"]
            .iter()
            .find_map(|start| name.strip_prefix(start));
        found.extend(version.map(|version| (version.to_owned(), format!("/boot/{name}"))));
    }
    for (version, kind) in names(layer, "/usr/lib/modules")? {
        let image = format!("/usr/lib/modules/{version}/vmlinuz");
        let is_new = kind == FileKind::Directory && !found.iter().any(|(own, _)| *own == version);
        if is_new && walk::find(layer, Path::new(&image), true).is_ok() {
            found.push((version, image));
        }
    }
    found.sort();
    let kernel = |(version, image): (String, String)| {
        let names = [
            format!("initrd.img-{version}"),
            format!("initramfs-{version}.img"),
            format!("initrd-{version}"),
        ];
        let initrd = names.iter().find(|name| boot.iter().any(|(own, _)| own == *name));
        Kernel {
            initrd: initrd.map(|name| format!("/boot/{name}")).unwrap_or_default(),
            version,
            image,
        }
    };
    Ok(found.into_iter().map(kernel).collect())
}

/// Lists the units that links in `*.wants` and `*.requires` enable, sorted.
///
/// # Errors
/// If a directory cannot be read.
pub(super) fn enabled_units(layer: &dyn Layer) -> Result<Vec<String>, InstalledError> {
    let mut units = Vec::new();
    for (name, kind) in names(layer, UNITS)? {
        let is_list = name.ends_with(".wants") || name.ends_with(".requires");
        if kind == FileKind::Directory && is_list {
            let below = names(layer, &format!("{UNITS}/{name}"))?;
            units.extend(below.into_iter().map(|(unit, _)| unit));
        }
    }
    units.sort();
    units.dedup();
    Ok(units)
}
