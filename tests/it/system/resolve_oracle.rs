//! `apt-get -s install --no-install-recommends` decides whether a resolution is right.
//!
//! Needs apt (package apt), its archive keys (package debian-archive-keyring) and a
//! Debian mirror in the host's apt sources. Everything is kept in a temporary
//! directory; the host's apt is only read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use oic::package::{Arch, MultiArch, PackageRecord, Stanza};
use oic::resolve::{Request, ResolveError, deb};

const SUITES: [&str; 3] = ["trixie", "trixie-updates", "trixie-security"];

/// An apt of its own, with lists of trixie and nothing installed.
struct Apt {
    root: tempfile::TempDir,
}

impl Apt {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let apt = Self { root };
        for directory in [
            "etc/apt/preferences.d",
            "lists/partial",
            "cache/archives/partial",
            "log",
        ] {
            fs::create_dir_all(apt.path().join(directory)).unwrap();
        }
        fs::write(apt.path().join("status"), "").unwrap();
        let (main, security) = host_mirror();
        let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
        assert!(
            Path::new(key).exists(),
            "this test needs {key} (package debian-archive-keyring)"
        );
        let source = |suite: &str| {
            let uri = if suite.ends_with("-security") { &security } else { &main };
            format!("deb [signed-by={key}] {uri} {suite} main\n")
        };
        fs::write(apt.path().join("sources.list"), SUITES.map(source).concat()).unwrap();
        let configuration = r#"
Dir "ROOT";
Dir::Etc "etc/apt";
Dir::Etc::parts "apt.conf.d";
Dir::Etc::sourcelist "ROOT/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "ROOT/lists";
Dir::State::status "ROOT/status";
Dir::Cache "ROOT/cache";
Dir::Log "ROOT/log";
APT::Architecture "amd64";
APT::Architectures:: "amd64";
Acquire::Languages "none";
APT::Sandbox::User "root";
Acquire::Retries "3";
"#;
        let root = apt.path().to_str().unwrap();
        fs::write(apt.path().join("apt.conf"), configuration.replace("ROOT", root)).unwrap();
        apt.run(&["update"]).expect("apt-get update failed");
        apt
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    /// What apt-get prints, or what it complains of.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("apt-get")
            .args(arguments)
            .env("APT_CONFIG", self.path().join("apt.conf"))
            .env("LC_ALL", "C")
            .output()
            .expect("this test needs apt-get (package apt)");
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }

    /// What apt would install: lines `Inst name (version …)`.
    fn install(&self, packages: &[String]) -> Result<BTreeMap<String, String>, String> {
        let mut arguments = vec!["-s", "install", "--no-install-recommends"];
        arguments.extend(packages.iter().map(String::as_str));
        let output = self.run(&arguments)?;
        let lines = output.lines().filter_map(|line| line.strip_prefix("Inst "));
        Ok(lines
            .map(|line| {
                let (name, rest) = line.split_once(" (").unwrap();
                let version = rest.split([' ', ')']).next().unwrap();
                (name.split(':').next().unwrap().to_owned(), version.to_owned())
            })
            .collect())
    }

    /// The records of all suites in the order of the sources.
    fn records(&self) -> Vec<PackageRecord> {
        let files: Vec<_> = fs::read_dir(self.path().join("lists"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        SUITES
            .iter()
            .flat_map(|suite| {
                let middle = format!("_dists_{suite}_main_binary-amd64_Packages");
                let path = files
                    .iter()
                    .find(|path| path.to_str().unwrap().ends_with(&middle))
                    .unwrap();
                parse(&fs::read_to_string(path).unwrap(), suite)
            })
            .collect()
    }
}

/// The URIs of the Debian archive and of its security updates, from the host's apt sources.
fn host_mirror() -> (String, String) {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_owned()];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    files.extend(parts.filter_map(|entry| Some(entry.ok()?.path())));
    files.sort();
    let text: String = files.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let words = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_ascii_whitespace);
    let uris: Vec<_> = words
        .filter(|word| word.contains("://"))
        .map(|uri| uri.trim_end_matches('/'))
        .collect();
    let main = uris
        .iter()
        .find(|uri| uri.ends_with("/debian"))
        .expect("the host's apt sources name no Debian mirror");
    let security = uris.iter().find(|uri| uri.ends_with("/debian-security"));
    let security = security.map_or_else(|| format!("{main}-security"), ToString::to_string);
    ((*main).to_owned(), security)
}

/// Reads a `Packages` file, as little of it as this test needs.
fn parse(text: &str, repository: &str) -> Vec<PackageRecord> {
    let (text, repository): (Arc<str>, Arc<str>) = (text.into(), repository.into());
    let mut records = Vec::new();
    let mut start = 0;
    while let Some(length) = text[start..].find("\n\n") {
        let fields: BTreeMap<_, _> = text[start..start + length]
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| !name.starts_with(' '))
            .collect();
        let field = |name: &str| -> Box<str> { (*fields.get(name).unwrap_or(&"")).into() };
        records.push(PackageRecord {
            name: field("Package"),
            version: field("Version"),
            architecture: field("Architecture"),
            multi_arch: match &*field("Multi-Arch") {
                "same" => MultiArch::Same,
                "foreign" => MultiArch::Foreign,
                "allowed" => MultiArch::Allowed,
                _ => MultiArch::No,
            },
            essential: &*field("Essential") == "yes",
            priority: field("Priority"),
            depends: field("Depends"),
            pre_depends: field("Pre-Depends"),
            recommends: field("Recommends"),
            provides: field("Provides"),
            conflicts: field("Conflicts"),
            breaks: field("Breaks"),
            replaces: field("Replaces"),
            path: field("Filename"),
            size_bytes: field("Size").parse().unwrap(),
            installed_size_bytes: field("Installed-Size").parse::<u64>().unwrap_or(0) * 1024,
            checksum: field("SHA256").parse().unwrap(),
            repository: Arc::clone(&repository),
            priority_pin: 500,
            stanza: Stanza::new(Arc::clone(&text), start..start + length),
        });
        start += length + 2;
    }
    records
}

/// Requests of different kinds: `!` adds the essential packages.
const REQUESTS: &[&str] = &[
    "! apt",
    // A sample image.
    "! linux-image-cloud-amd64 initramfs-tools systemd systemd-sysv systemd-boot systemd-boot-efi systemd-resolved \
     openssh-server sudo dbus udev iproute2 ifupdown ca-certificates",
    // The same needs met by other alternatives.
    "! linux-image-amd64 dracut systemd-sysv network-manager grub-efi-amd64 dbus-broker libpam-systemd",
    // Virtual packages with a default and without.
    "cron bsd-mailx logcheck",
    "docker.io podman qemu-system-x86 libvirt-daemon-system",
    "task-gnome-desktop",
    "xfce4 kde-standard",
    "build-essential python3-pip default-jdk maven",
    "nginx postgresql php mariadb-server",
    // Versions from the security suite.
    "openssl libssl3t64 chromium libreoffice",
    // Patterns.
    "fonts-dejavu-* gcc-1[34]-base",
    // No solution.
    "postfix exim4-daemon-light",
    "systemd-sysv sysvinit-core",
    "apt no-such-package-oic",
];

#[test]
fn same_packages_as_apt() {
    let apt = Apt::new();
    let records = apt.records();
    let essential: BTreeSet<_> = records
        .iter()
        .filter(|r| r.essential)
        .map(|r| r.name.to_string())
        .collect();
    assert!(records.len() > 60_000, "{} records", records.len());
    let mut wrong = Vec::new();
    let (mut from_security, mut unsolved) = (0, 0);
    for text in REQUESTS {
        let words: Vec<_> = text
            .split_ascii_whitespace()
            .filter(|word| *word != "!")
            .map(str::to_owned)
            .collect();
        let include_essential = text.starts_with('!');
        let mut asked: Vec<_> = if include_essential {
            essential.iter().cloned().collect()
        } else {
            Vec::new()
        };
        asked.extend(words.iter().cloned());
        let expected = apt.install(&asked);
        let request = Request {
            arch: Arch::X86_64,
            packages: words,
            include_essential,
        };
        let found = deb::resolve(&request, &records);
        match (found, expected) {
            (Err(error), Ok(_)) => wrong.push(format!("{text}: only apt finds a solution: {error}")),
            (Ok(_), Err(error)) => wrong.push(format!("{text}: only apt finds no solution: {error}")),
            (Err(error), Err(told)) => {
                let (here, there) = (is_unknown(&error), told.contains("Unable to locate package"));
                if here != there {
                    wrong.push(format!("{text}: for another reason: {error}; apt: {told}"));
                }
                unsolved += 1;
            }
            (Ok(found), Ok(expected)) => {
                from_security += found
                    .packages
                    .iter()
                    .filter(|p| p.repository == "trixie-security")
                    .count();
                let found: BTreeMap<_, _> = found.packages.into_iter().map(|p| (p.name, p.version)).collect();
                let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
                    let differs = a.iter().filter(|(name, version)| b.get(*name) != Some(version));
                    differs
                        .map(|(name, version)| format!("{name}={version}"))
                        .collect::<Vec<_>>()
                };
                if found != expected {
                    let (here, there) = (only(&found, &expected), only(&expected, &found));
                    wrong.push(format!("{text}: only here {here:?}, only apt {there:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(from_security > 0);
    assert_eq!(unsolved, 3, "requests without a solution");
}

/// Whether a name is the reason; otherwise the packages do not go together.
fn is_unknown(error: &ResolveError) -> bool {
    matches!(error, ResolveError::UnknownPackage { .. })
}
