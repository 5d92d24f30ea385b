//! The interfaces of the template: files for systemd-networkd (systemd.network(5)) or for netplan (netplan(5)).

use std::fmt::Write as _;

use super::{ConfigureError, Context};
use crate::model::{Interface, Network, NetworkBackend};

/// Where the files for systemd-networkd lie. Their names sort before those of oic and of the default templates, so they
/// count first.
const NETWORKS: &str = "/etc/systemd/network";
/// The file for netplan.
const NETPLAN: &str = "/etc/netplan/01-installer.yaml";
/// The program that reads the files, and its package, for each backend.
const READERS: [(NetworkBackend, &str, &str); 2] = [
    (
        NetworkBackend::Networkd,
        "/usr/lib/systemd/systemd-networkd",
        "the package of systemd-networkd",
    ),
    (NetworkBackend::Netplan, "/usr/sbin/netplan", "the package netplan.io"),
];

/// Writes the files of `systemConfig.network`. A note says if no program of the image reads them.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    let Some(network) = &context.request.template.system.network else {
        return Ok(());
    };
    for (_, program, package) in READERS.iter().filter(|(backend, ..)| *backend == network.backend) {
        if !context.root.exists(program)? {
            let note = format!(
                "systemConfig.network: the image has no {program}, so nothing configures its interfaces: add {package}"
            );
            context.work.progress.note(&note);
        }
    }
    match network.backend {
        NetworkBackend::Networkd => {
            for interface in &network.interfaces {
                let path = format!("{NETWORKS}/10-{}.network", interface.name);
                context.provide(path, networkd(interface), 0o644)?;
            }
        }
        // Others must not read it: it may hold what only root should know (netplan warns of any other mode).
        NetworkBackend::Netplan => context.provide(NETPLAN, netplan(network), 0o600)?,
    }
    Ok(())
}

/// Gives the systemd.network(5) file of an interface: what belongs to a section stands together.
fn networkd(interface: &Interface) -> String {
    let mut text = format!("[Match]\nName={}\n\n[Network]\n", interface.name);
    let dhcp = match (interface.dhcp4, interface.dhcp6) {
        (true, true) => Some("yes"),
        (true, false) => Some("ipv4"),
        (false, true) => Some("ipv6"),
        (false, false) => None,
    };
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key}={value}");
    };
    if let Some(dhcp) = dhcp {
        line("DHCP", dhcp);
    }
    for address in &interface.addresses {
        line("Address", address);
    }
    for route in interface.routes.iter().filter(|route| route.to.is_none()) {
        line("Gateway", &route.via);
    }
    if !interface.nameservers.is_empty() {
        line("DNS", &interface.nameservers.join(" "));
    }
    for route in &interface.routes {
        if let Some(to) = &route.to {
            let _ = write!(text, "\n[Route]\nDestination={to}\nGateway={}\n", route.via);
        }
    }
    text
}

/// Gives the netplan(5) file of all interfaces. Each value is quoted, whatever YAML would make of it.
fn netplan(network: &Network) -> String {
    let mut text = "network:\n  version: 2\n  ethernets:\n".to_owned();
    for interface in &network.interfaces {
        text.push_str(&of_interface(interface));
    }
    text
}

/// Gives the lines of an interface in the file for netplan.
fn of_interface(interface: &Interface) -> String {
    let mut text = format!("    \"{}\":\n", interface.name);
    // netplan refuses an interface that says nothing. Writing to a String cannot fail.
    let _ = writeln!(text, "      dhcp4: {}", interface.dhcp4);
    if interface.dhcp6 {
        text.push_str("      dhcp6: true\n");
    }
    let list = |values: &[String]| {
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    if !interface.addresses.is_empty() {
        let _ = writeln!(text, "      addresses: {}", list(&interface.addresses));
    }
    if !interface.routes.is_empty() {
        text.push_str("      routes:\n");
    }
    for route in &interface.routes {
        let to = route.to.as_deref().unwrap_or("default");
        let _ = writeln!(text, "        - {{to: \"{to}\", via: \"{}\"}}", route.via);
    }
    if !interface.nameservers.is_empty() {
        let _ = writeln!(
            text,
            "      nameservers:\n        addresses: {}",
            list(&interface.nameservers)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Route;

    fn fixed() -> Interface {
        Interface {
            name: "enp2s0".to_owned(),
            dhcp4: false,
            dhcp6: false,
            addresses: vec!["192.0.2.7/24".to_owned(), "2001:db8::7/64".to_owned()],
            routes: vec![
                Route {
                    to: Some("198.51.100.0/24".to_owned()),
                    via: "192.0.2.9".to_owned(),
                },
                Route {
                    to: None,
                    via: "192.0.2.1".to_owned(),
                },
            ],
            nameservers: vec!["192.0.2.53".to_owned(), "2001:db8::53".to_owned()],
        }
    }

    fn dynamic(dhcp4: bool, dhcp6: bool) -> Interface {
        Interface {
            name: "eth0".to_owned(),
            dhcp4,
            dhcp6,
            addresses: Vec::new(),
            routes: Vec::new(),
            nameservers: Vec::new(),
        }
    }

    #[test]
    fn files_for_networkd_have_each_section_in_one_piece() {
        insta::assert_snapshot!(networkd(&fixed()), @r"
        [Match]
        Name=enp2s0

        [Network]
        Address=192.0.2.7/24
        Address=2001:db8::7/64
        Gateway=192.0.2.1
        DNS=192.0.2.53 2001:db8::53

        [Route]
        Destination=198.51.100.0/24
        Gateway=192.0.2.9
        ");
        for (dhcp4, dhcp6, expected) in [(true, true, "yes"), (true, false, "ipv4"), (false, true, "ipv6")] {
            let text = networkd(&dynamic(dhcp4, dhcp6));
            assert!(text.ends_with(&format!("[Network]\nDHCP={expected}\n")), "{text}");
        }
    }

    #[test]
    fn the_file_for_netplan_is_yaml_that_says_the_same() {
        let idle = Interface {
            name: "eth1".to_owned(),
            ..dynamic(false, false)
        };
        let network = Network {
            backend: NetworkBackend::Netplan,
            interfaces: vec![dynamic(true, false), fixed(), idle],
        };
        insta::assert_snapshot!(netplan(&network), @r#"
        network:
          version: 2
          ethernets:
            "eth0":
              dhcp4: true
            "enp2s0":
              dhcp4: false
              addresses: ["192.0.2.7/24", "2001:db8::7/64"]
              routes:
                - {to: "198.51.100.0/24", via: "192.0.2.9"}
                - {to: "default", via: "192.0.2.1"}
              nameservers:
                addresses: ["192.0.2.53", "2001:db8::53"]
            "eth1":
              dhcp4: false
        "#);
    }
}
