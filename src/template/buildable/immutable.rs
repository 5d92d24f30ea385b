//! What a verified root cannot be built with: it would not boot, or would not be verified.

use crate::model::BootProvider;
use crate::template::rules::has_hash_partition;
use crate::template::schema::{bootloader, immutability, kernel, system};
use crate::yaml::{Findings, Node, Place};

/// Words of a kernel command line that name another root, another root hash, or a root that is written, without what
/// follows them (kernel-command-line(7), systemd-veritysetup-generator(8)).
const OTHER_ROOTS: [&str; 8] = [
    "root",
    "roothash",
    "usrhash",
    "rw",
    "rd.systemd.verity",
    "systemd.verity",
    "systemd.verity_root_data",
    "systemd.verity_root_hash",
];

/// Refuses, in `system` of the template `root`, what a verified root cannot have.
pub(super) fn check(root: &Node, system: &Place<'_>, findings: &mut Findings) {
    let Some(section) = system.get(system::IMMUTABILITY) else {
        return;
    };
    let enabled = section.at(immutability::ENABLED);
    if enabled.node.bool() != Some(true) {
        return;
    }
    let loader = system.get(system::BOOTLOADER);
    if !has_hash_partition(root) {
        let finding = enabled.error("cannot be true: the disk has no partition for the hashes of the root file system");
        let hint = "add a partition with id: roothashmap, type: linux and mountPoint: none, or set enabled: false";
        findings.push(finding.hint(hint));
    } else if loader.and_then(|loader| loader.read(bootloader::PROVIDER)) == Some(BootProvider::Grub) {
        let finding = enabled.error("cannot be true with bootloader.provider: grub, whose settings nobody signs");
        findings.push(finding.hint("use provider: systemd-boot, whose unified kernel image has the root hash in it"));
    }
    if let Some(kernel) = system.get(system::KERNEL) {
        self::kernel(&kernel, findings);
    }
}

/// Checks that the kernel command line can be a part of the kernel's image, and leaves the root to oic.
fn kernel(kernel: &Place<'_>, findings: &mut Findings) {
    if kernel.read(kernel::UKI) == Some(false) {
        let finding = kernel
            .at(kernel::UKI)
            .error("cannot be false with immutability.enabled: the root hash is in the unified kernel image");
        findings.push(finding.hint("leave it out"));
    }
    let line = kernel.read(kernel::CMDLINE).unwrap_or_default();
    let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    let other = line
        .split_whitespace()
        .map(name)
        .find(|name| OTHER_ROOTS.contains(&name.as_str()));
    if let Some(other) = other {
        let message = format!("cannot have {other} with immutability.enabled, which sets the root itself");
        findings.push(kernel.at(kernel::CMDLINE).error(message).hint("leave it out"));
    }
}
