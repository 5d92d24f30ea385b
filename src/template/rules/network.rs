//! The image's network.

use std::net::IpAddr;

use crate::model::NetworkBackend;
use crate::template::schema::{interface, network, route};
use crate::yaml::{Findings, Place};

/// Checks `systemConfig.network`.
pub(super) fn check(section: &Place<'_>, findings: &mut Findings) {
    for interface in section.items(network::INTERFACES) {
        let is_dynamic =
            interface.read(interface::DHCP4) == Some(true) || interface.read(interface::DHCP6) == Some(true);
        if let Some(addresses) = interface
            .get(interface::ADDRESSES)
            .filter(|place| is_dynamic && !place.node.items().is_empty())
        {
            let finding = addresses.error("cannot be given together with DHCP");
            findings.push(finding.hint("remove the addresses, or dhcp4 and dhcp6"));
        }
        for route in interface.items(interface::ROUTES) {
            check_route(&route, findings);
        }
    }
}

/// Checks that both ends of a route are of the same family.
fn check_route(route: &Place<'_>, findings: &mut Findings) {
    let family = |text: &str| {
        let address = text
            .split('/')
            .next()
            .and_then(|address| address.parse::<IpAddr>().ok());
        address.map(|address| address.is_ipv4())
    };
    let (to, via) = (route.read(route::TO), route.read(route::VIA));
    if let (Some(to), Some(via)) = (to.and_then(family), via.and_then(family))
        && to != via
    {
        findings.push(
            route
                .at(route::VIA)
                .error("is an address of the other family than the network that it leads to"),
        );
    }
}

/// Warns of a section that configures nothing.
pub(super) fn check_merged(section: &Place<'_>, findings: &mut Findings) {
    if section
        .node
        .get(network::INTERFACES)
        .is_none_or(|list| list.items().is_empty())
    {
        let backend = section.read(network::BACKEND).unwrap_or(NetworkBackend::Networkd);
        let word = crate::words::Words::word(backend);
        let finding = section.warning(format!("has no interfaces: nothing is written for {word}"));
        findings.push(finding.hint("add interfaces, or remove the section"));
    }
}
