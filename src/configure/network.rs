//! Network by default: systemd-networkd with DHCP, unless the image has another way.

use super::{ConfigureError, Context};

/// Programs that configure the network themselves: where one is, nothing is enabled.
const OTHERS: [&str; 5] = [
    "/usr/sbin/NetworkManager",
    "/usr/sbin/ifup",
    "/usr/sbin/netplan",
    "/usr/bin/cloud-init",
    "/usr/sbin/connmand",
];
const UNIT: &str = "/usr/lib/systemd/system/systemd-networkd.service";
const NETWORKS: &str = "/etc/systemd/network";
const DEFAULT: &str = "/etc/systemd/network/99-default.network";
/// systemd.network(5); `Kind=!*` leaves virtual devices to those who made them.
const DHCP: &str = "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n";
const RESOLVED: &str = "/usr/lib/systemd/systemd-resolved";
/// systemd-resolved.service(8), "/etc/resolv.conf".
const STUB: &str = "../run/systemd/resolve/stub-resolv.conf";

pub(super) fn enable(context: &Context<'_>) -> Result<(), ConfigureError> {
    let root = &context.root;
    if root.exists(RESOLVED)? {
        root.symlink(STUB, "/etc/resolv.conf")?;
    }
    for program in OTHERS {
        if root.exists(program)? {
            return Ok(());
        }
    }
    if !root.exists(UNIT)? {
        return Ok(());
    }
    let configured = root.names(NETWORKS)?.iter().any(|name| {
        std::path::Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "network")
    });
    if !configured {
        root.write(DEFAULT, DHCP, 0o644)?;
    }
    Ok(context.tool(["systemctl", "enable", "systemd-networkd.service"])?)
}
