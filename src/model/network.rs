//! The image's network.

use crate::words::words;

/// `systemConfig.network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `backend`.
    pub backend: NetworkBackend,
    /// `interfaces`; never empty.
    pub interfaces: Vec<Interface>,
}

/// `systemConfig.network.backend`: the program that configures the interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkBackend {
    /// systemd-networkd(8).
    Networkd,
    /// netplan(5).
    Netplan,
}

words!(NetworkBackend {
    (Self::Networkd): "systemd-networkd",
    (Self::Netplan): "netplan",
});

/// `systemConfig.network.interfaces[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name on the machine.
    pub name: String,
    /// Whether DHCP gives the IPv4 address.
    pub dhcp4: bool,
    /// Whether DHCP gives the IPv6 address.
    pub dhcp6: bool,
    /// Fixed addresses, each with the length of its prefix.
    pub addresses: Vec<String>,
    /// Routes through it.
    pub routes: Vec<Route>,
    /// Addresses of DNS servers.
    pub nameservers: Vec<String>,
}

/// `systemConfig.network.interfaces[].routes[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A network with the length of its prefix; `None` is everything.
    pub to: Option<String>,
    /// Address of the router.
    pub via: String,
}
