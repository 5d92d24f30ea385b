//! Fields of the image's network.

use std::net::IpAddr;

use crate::model::NetworkBackend;
use crate::yaml::Node;
use crate::yaml::schema::{Check, Field, Shape, Text, Unique, fields};

/// A network interface (`IFNAMSIZ`, netdevice(7)).
const INTERFACE: Text = Text::ANY.filled().max_chars(15).pattern(
    "[A-Za-z0-9][A-Za-z0-9._-]*",
    "the name of an interface: letters, digits, dot, - and _, the first one a letter or digit",
);

/// An IPv4 address (RFC 3986, section 3.2.2).
macro_rules! ipv4 {
    () => {
        r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    };
}

/// Up to so many groups of an IPv6 address, each with a colon behind it but the last one.
macro_rules! groups {
    ($more:literal) => {
        concat!("(?:(?:[0-9A-Fa-f]{1,4}:){0,", $more, "}[0-9A-Fa-f]{1,4})?")
    };
}

/// The last 32 bits of an IPv6 address.
macro_rules! last_32_bits {
    () => {
        concat!("(?:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}|", ipv4!(), ")")
    };
}

/// An IPv6 address (RFC 3986, section 3.2.2).
macro_rules! ipv6 {
    () => {
        concat!(
            "(?:(?:[0-9A-Fa-f]{1,4}:){6}",
            last_32_bits!(),
            "|::(?:[0-9A-Fa-f]{1,4}:){5}",
            last_32_bits!(),
            "|",
            groups!("0"),
            "::(?:[0-9A-Fa-f]{1,4}:){4}",
            last_32_bits!(),
            "|",
            groups!("1"),
            "::(?:[0-9A-Fa-f]{1,4}:){3}",
            last_32_bits!(),
            "|",
            groups!("2"),
            "::(?:[0-9A-Fa-f]{1,4}:){2}",
            last_32_bits!(),
            "|",
            groups!("3"),
            "::[0-9A-Fa-f]{1,4}:",
            last_32_bits!(),
            "|",
            groups!("4"),
            "::",
            last_32_bits!(),
            "|",
            groups!("5"),
            "::[0-9A-Fa-f]{1,4}|",
            groups!("6"),
            "::)"
        )
    };
}

/// An address with the length of its prefix in bits.
macro_rules! network_pattern {
    () => {
        concat!(
            "(?:",
            ipv4!(),
            "/(?:0{0,2}[0-9]|0?[12][0-9]|0?3[0-2])|",
            ipv6!(),
            "/(?:0{0,2}[0-9]|0?[1-9][0-9]|1[01][0-9]|12[0-8]))"
        )
    };
}

const ADDRESS: Check = Check {
    test: address,
    pattern: concat!(ipv4!(), "|", ipv6!()),
    words: "an IPv4 or IPv6 address",
};
const NETWORK: Check = Check {
    test: network_address,
    pattern: network_pattern!(),
    words: "an IPv4 or IPv6 address with the length of its prefix, such as 192.0.2.7/24",
};
const DESTINATION: Check = Check {
    test: destination,
    pattern: concat!("default|", network_pattern!()),
    words: "default, or a network such as 198.51.100.0/24",
};

fields! {
    /// `systemConfig.network`.
    mod network {
        BACKEND: NetworkBackend = Field::word(
            "backend",
            "The program that configures the interfaces; systemd-networkd if absent.",
        );
        INTERFACES: [Node] = Field::maps(
            "interfaces",
            &Shape::Map(interface::ALL),
            Unique::Key(interface::NAME.name),
            "The interfaces; they replace those of the template below.",
        );
    }
}

fields! {
    /// `systemConfig.network.interfaces[]`.
    mod interface {
        NAME: str = Field::text("name", INTERFACE, "Its name on the machine, such as enp1s0.").required();
        DHCP4: bool = Field::bool("dhcp4", "Whether DHCP gives the IPv4 address; false if absent.");
        DHCP6: bool = Field::bool("dhcp6", "Whether DHCP gives the IPv6 address; false if absent.");
        ADDRESSES: [String] = Field::texts(
            "addresses",
            &Shape::Text(Text::ANY.filled().check(NETWORK)),
            Unique::Value,
            "Fixed addresses; not together with dhcp4 or dhcp6.",
        );
        ROUTES: [Node] = Field::maps("routes", &Shape::Map(route::ALL), Unique::No, "Routes through it.");
        NAMESERVERS: [String] = Field::texts(
            "nameservers",
            &Shape::Text(Text::ANY.filled().check(ADDRESS)),
            Unique::Value,
            "Addresses of DNS servers.",
        );
    }
}

fields! {
    /// `systemConfig.network.interfaces[].routes[]`.
    mod route {
        TO: str = Field::text("to", Text::ANY.filled().check(DESTINATION), "Where it leads to.").required();
        VIA: str = Field::text("via", Text::ANY.filled().check(ADDRESS), "Address of the router.").required();
    }
}

/// Checks an IP address.
fn address(text: &str) -> Result<(), String> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err("is not an IPv4 or IPv6 address".to_owned()),
    }
}

/// Checks an IP address with the length of its prefix in bits; bits behind the prefix may be set.
fn network_address(text: &str) -> Result<(), String> {
    let fault = || "is not an address with the length of its prefix, such as 192.0.2.7/24".to_owned();
    let (address, prefix) = text.split_once('/').ok_or_else(fault)?;
    let address: IpAddr = address.parse().map_err(|_| fault())?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let is_number = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_digit());
    match prefix.parse::<u8>() {
        Ok(bits) if is_number && bits <= bits_max => Ok(()),
        _ => Err(format!("has a prefix that is not a number from 0 to {bits_max}")),
    }
}

/// Checks the destination of a route.
fn destination(text: &str) -> Result<(), String> {
    if text == "default" {
        return Ok(());
    }
    network_address(text).map_err(|fault| format!("is not default, and {fault}"))
}
