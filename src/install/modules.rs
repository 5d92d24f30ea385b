//! `kernel.enableExtraModules`: modules that the initrds contain and load, written to the configuration of what makes
//! initrds before it makes them.

use std::path::Path;

use crate::durable::PathError;
use crate::root::Root;

/// The file of initramfs-tools(7): one module a line, included and loaded.
const INITRAMFS_TOOLS: &str = "/etc/initramfs-tools/modules";
const INITRAMFS_TOOLS_PROGRAM: &str = "/usr/sbin/mkinitramfs";
/// The file of dracut.conf(5).
const DRACUT: &str = "/etc/dracut.conf.d/90-template-modules.conf";
const DRACUT_PROGRAM: &str = "/usr/bin/dracut";
const KERNELS: &str = "/lib/modules";

/// Requests `modules` from what makes initrds. Gives a warning for each module that a kernel of the image lacks.
pub(super) fn request(root: &Root, modules: &[String]) -> Result<Vec<String>, PathError> {
    if modules.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = false;
    if root.exists(INITRAMFS_TOOLS_PROGRAM)? {
        known = true;
        let old = root.read(INITRAMFS_TOOLS)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&old).into_owned();
        root.write(INITRAMFS_TOOLS, with_lines(&text, modules), 0o644)?;
    }
    if root.exists(DRACUT_PROGRAM)? {
        known = true;
        let text = format!("force_drivers+=\" {} \"\n", modules.join(" "));
        root.write(DRACUT, text, 0o644)?;
    }
    if !known {
        let asked = modules.join(" ");
        return Ok(vec![format!(
            "systemConfig.kernel.enableExtraModules: nothing in the image makes an initrd, so {asked} is in none"
        )]);
    }
    missing(root, modules)
}

/// Gives `text` with a line for each module that it does not list yet.
fn with_lines(text: &str, modules: &[String]) -> String {
    let listed: Vec<&str> = text.lines().map(str::trim).collect();
    let mut result = text.to_owned();
    if !result.is_empty() && !result.ends_with('\n') {
        result.push('\n');
    }
    for module in modules.iter().filter(|module| !listed.contains(&module.as_str())) {
        result.push_str(module);
        result.push('\n');
    }
    result
}

/// Gives a sentence for each module that a kernel has neither as a file nor built in.
fn missing(root: &Root, modules: &[String]) -> Result<Vec<String>, PathError> {
    let mut warnings = Vec::new();
    for version in root.names(KERNELS)? {
        let directory = Path::new(KERNELS).join(&version);
        let mut lists = String::new();
        for name in ["modules.order", "modules.dep", "modules.builtin"] {
            let list = root.read(directory.join(name))?.unwrap_or_default();
            lists.push_str(&String::from_utf8_lossy(&list));
            lists.push('\n');
        }
        for module in modules.iter().filter(|module| !has(&lists, module)) {
            warnings.push(format!(
                "systemConfig.kernel.enableExtraModules: the kernel {} has no module {module}",
                version.display()
            ));
        }
    }
    Ok(warnings)
}

/// Says whether a list of module paths (modules.dep(5)) has `module`; `-` and `_` are the same in names.
fn has(lists: &str, module: &str) -> bool {
    let wanted = module.replace('-', "_");
    lists.lines().any(|line| {
        let path = line.split(':').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        name.split(".ko")
            .next()
            .is_some_and(|name| name.replace('-', "_") == wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_listed_once() {
        let modules = ["uas".to_owned(), "usb-storage".to_owned()];
        assert_eq!(with_lines("# mine\nuas", &modules), "# mine\nuas\nusb-storage\n");
        assert_eq!(with_lines("", &modules), "uas\nusb-storage\n");
    }

    #[test]
    fn names_are_found_in_the_lists() {
        let lists = "kernel/drivers/usb/storage/uas.ko.xz: kernel/drivers/usb/storage/usb-storage.ko.xz\n\
            kernel/drivers/usb/core/usbcore.ko\nkernel/x/usb-common.ko.zst:\n";
        assert!(has(lists, "uas") && has(lists, "usbcore") && has(lists, "usb_common"));
        assert!(!has(lists, "usb_storage") && !has(lists, "usb"));
    }
}
