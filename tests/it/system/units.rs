//! Which units an installation leaves enabled: the same as an installation of the same packages by mmdebstrap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{debian, image, tree};
use image::Image;

/// Small packages with units of all kinds: services, timers, sockets and paths, some enabled by default and some not,
/// some for init scripts.
const PACKAGES: [&str; 56] = [
    "acpid",
    "anacron",
    "at",
    "atop",
    "autofs",
    "avahi-daemon",
    "btrfsmaintenance",
    "cron",
    "dbus",
    "dnsmasq",
    "earlyoom",
    "fcgiwrap",
    "gpm",
    "haveged",
    "hostapd",
    "ifupdown",
    "irqbalance",
    "iwd",
    "keepalived",
    "lldpd",
    "logrotate",
    "lvm2",
    "man-db",
    "mdadm",
    "memcached",
    "mosquitto",
    "nbd-client",
    "nfs-common",
    "nftables",
    "nullmailer",
    "open-iscsi",
    "openssh-server",
    "openvpn",
    "pcscd",
    "plocate",
    "polkitd",
    "qemu-guest-agent",
    "radvd",
    "rasdaemon",
    "redis-server",
    "rpcbind",
    "rsyslog",
    "rtkit",
    "smartmontools",
    "snmpd",
    "sysstat",
    "systemd-oomd",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tftpd-hpa",
    "tinyproxy",
    "udev",
    "uuid-runtime",
    "vnstat",
    "wpasupplicant",
];
/// The packages of the list that must have units, at least.
const WITH_UNITS: usize = 50;
/// Where the choice of units is written (systemd.unit(5); `deb-systemd-helper` of init-system-helpers).
const PLACES: [&str; 3] = ["etc/systemd", "var/lib/systemd/deb-systemd-helper-enabled", "etc/rc2.d"];

#[test]
fn what_is_enabled_is_what_mmdebstrap_enables() {
    let (base, _) = debian::oracle();
    let downloaded = debian::download(&base, &PACKAGES);
    let archives = downloaded[0].1.parent().unwrap().to_owned();
    let installed = Image::over(&base);
    let (pool, packages) = image::pool(downloaded);
    let report = image::install_packages(&installed, &pool, &packages, &PACKAGES);
    report.unwrap_or_else(|error| panic!("{error}"));
    let with_units = PACKAGES
        .iter()
        .filter(|name| has_units(&installed.root(), name))
        .count();
    assert!(with_units >= WITH_UNITS, "only {with_units} of the packages have units");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let expected = directory.path().join("tree");
    debian::mmdebstrap(&expected, &PACKAGES, &archives);
    let (expected, found) = (enabled(&expected), enabled(&installed.root()));
    let kinds = ["timer", "socket", "path", "service"];
    let has = |kind: &str| {
        expected
            .keys()
            .any(|path| path.extension().is_some_and(|end| end == kind))
    };
    assert!(expected.len() > 100 && kinds.into_iter().all(has), "{expected:#?}");
    let missing: Vec<_> = expected
        .iter()
        .filter(|(path, link)| found.get(*path) != Some(*link))
        .collect();
    let more: Vec<_> = found
        .iter()
        .filter(|(path, link)| expected.get(*path) != Some(*link))
        .collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "missing: {missing:#?}\nmore: {more:#?}"
    );
}

/// Says whether a package has a unit, by dpkg's list of its files.
fn has_units(root: &Path, package: &str) -> bool {
    let info = root.join("var/lib/dpkg/info");
    let list = ["", ":amd64"].map(|suffix| info.join(format!("{package}{suffix}.list")));
    let text = list.iter().find_map(|path| std::fs::read_to_string(path).ok());
    let text = text.unwrap_or_else(|| panic!("{package} is not installed"));
    let kinds = [".service", ".socket", ".timer", ".path"];
    text.lines()
        .any(|line| line.contains("/systemd/") && kinds.iter().any(|kind| line.ends_with(kind)))
}

/// The links and marks that enable units, with the targets of links.
fn enabled(root: &Path) -> BTreeMap<PathBuf, Option<PathBuf>> {
    let mut enabled = BTreeMap::new();
    for place in PLACES {
        for path in tree::scan(&root.join(place)).into_keys() {
            let path = Path::new(place).join(path);
            let (whole, is_marks) = (root.join(&path), place.starts_with("var"));
            if whole.is_symlink() || (is_marks && whole.is_file()) {
                enabled.insert(path, target(&whole));
            }
        }
    }
    enabled
}

/// Gives the target of a link as it is whether or not `/lib` is a link into `/usr`: both spellings name one file.
fn target(link: &Path) -> Option<PathBuf> {
    let target = std::fs::read_link(link).ok()?;
    let below = target.strip_prefix("/usr").map(|rest| Path::new("/").join(rest));
    Some(below.unwrap_or(target))
}
