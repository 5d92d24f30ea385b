//! Network by default: systemd-networkd with DHCP, unless the image has another way.

use super::{ConfigureError, Context, presets};
use crate::model::NetworkBackend;

/// Programs that configure the network themselves: where one exists, nothing is enabled.
const OTHERS: [&str; 5] = [
    "/usr/sbin/NetworkManager",
    "/usr/sbin/ifup",
    "/usr/sbin/netplan",
    "/usr/bin/cloud-init",
    "/usr/sbin/connmand",
];
const NETWORKD: &str = "systemd-networkd.service";
const UNIT: &str = "/usr/lib/systemd/system/systemd-networkd.service";
const NETWORKS: &str = "/etc/systemd/network";
const DEFAULT: &str = "/etc/systemd/network/99-default.network";
/// The systemd.network(5) file; `Kind=!*` leaves virtual devices to the programs that made them.
const DHCP: &str = "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n";
const RESOLVER: &str = "/etc/resolv.conf";
const RESOLVED: &str = "/usr/lib/systemd/systemd-resolved";
/// The target of `/etc/resolv.conf` (systemd-resolved.service(8), "/etc/resolv.conf").
const STUB: &str = "../run/systemd/resolve/stub-resolv.conf";

/// Enables systemd-networkd, with DHCP unless the image has files for it. The template's choice of a program counts
/// first; without one, nothing is enabled beside another program that configures the network. A preset of the template
/// decides in any case.
pub(super) fn enable(context: &Context<'_>) -> Result<(), ConfigureError> {
    let root = &context.root;
    if root.exists(RESOLVED)? && !root.is_spared(RESOLVER) {
        root.symlink(STUB, RESOLVER)?;
    }
    let asked = context
        .request
        .template
        .system
        .network
        .as_ref()
        .map(|network| network.backend);
    let is_other = || {
        OTHERS.iter().try_fold(false, |found, program| {
            Ok::<_, ConfigureError>(found || root.exists(program)?)
        })
    };
    if asked == Some(NetworkBackend::Netplan) || (asked.is_none() && is_other()?) {
        return Ok(());
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
    match presets::decide(context, NETWORKD)? {
        true => Ok(()),
        false => Ok(context.tool(["systemctl", "enable", NETWORKD])?),
    }
}
