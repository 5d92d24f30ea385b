//! `apt-get -s install` decides whether a resolution is right: with recommendations and without, and with i386 beside
//! amd64.
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

use oic::package::{Arch, ForeignArch, MultiArch, PackageRecord, Resolution, ResolvedPackage, Stanza, Targets};
use oic::resolve::{Request, ResolveError, Wanted, deb, recommended};

const SUITES: [&str; 3] = ["trixie", "trixie-updates", "trixie-security"];

/// Names to versions; `name:architecture` of a foreign one.
type Set = BTreeMap<String, String>;

/// An apt of its own, with lists of trixie and nothing installed.
struct Apt {
    root: tempfile::TempDir,
    suites: &'static [&'static str],
    architectures: &'static [&'static str],
}

impl Apt {
    fn new(suites: &'static [&'static str], architectures: &'static [&'static str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let apt = Self {
            root,
            suites,
            architectures,
        };
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
        fs::write(
            apt.path().join("sources.list"),
            suites.iter().copied().map(source).collect::<String>(),
        )
        .unwrap();
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
APT::Architectures { LIST };
Acquire::Languages "none";
APT::Sandbox::User "root";
Acquire::Retries "3";
"#;
        let root = apt.path().to_str().unwrap();
        let list: String = architectures.iter().map(|arch| format!("\"{arch}\"; ")).collect();
        fs::write(
            apt.path().join("apt.conf"),
            configuration.replace("ROOT", root).replace("LIST", &list),
        )
        .unwrap();
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
    fn install(&self, packages: &[String], recommends: bool) -> Result<Set, String> {
        let recommends = format!("-oAPT::Install-Recommends={recommends}");
        let mut arguments = vec!["-s", "install", &recommends];
        arguments.extend(packages.iter().map(String::as_str));
        let output = self.run(&arguments)?;
        let lines = output.lines().filter_map(|line| line.strip_prefix("Inst "));
        Ok(lines
            .map(|line| {
                let (name, rest) = line.split_once(" (").unwrap();
                let version = rest.split([' ', ')']).next().unwrap();
                (
                    name.strip_suffix(":amd64").unwrap_or(name).to_owned(),
                    version.to_owned(),
                )
            })
            .collect())
    }

    /// The records of all suites in the order of the sources.
    fn records(&self) -> Vec<PackageRecord> {
        let files: Vec<_> = fs::read_dir(self.path().join("lists"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let mut all = Vec::new();
        for suite in self.suites {
            for architecture in self.architectures {
                let middle = format!("_dists_{suite}_main_binary-{architecture}_Packages");
                let path = files
                    .iter()
                    .find(|path| path.to_str().unwrap().ends_with(&middle))
                    .unwrap();
                let mut records = parse(&fs::read_to_string(path).unwrap(), suite);
                // As oic does: packages for all are those of the machine's own index.
                records.retain(|record| *architecture == "amd64" || &*record.architecture == *architecture);
                all.append(&mut records);
            }
        }
        all
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
    let apt = Apt::new(&SUITES, &["amd64"]);
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
        let expected = apt.install(&asked, false);
        let request = Request {
            arch: Arch::X86_64,
            packages: words,
            recommending: Vec::new(),
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
                wrong.extend(difference(text, &names(&found), &expected));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(from_security > 0);
    assert_eq!(unsolved, 3, "requests without a solution");
}

/// The packages by name.
fn names(resolution: &Resolution) -> Set {
    let name = |package: &ResolvedPackage| match package.architecture.as_str() {
        "amd64" | "all" => package.name.clone(),
        foreign => format!("{}:{foreign}", package.name),
    };
    let packages = resolution.packages.iter();
    packages
        .map(|package| (name(package), package.version.clone()))
        .collect()
}

/// In what two sets for the request `text` differ, in words.
fn difference(text: &str, found: &Set, expected: &Set) -> Option<String> {
    let only = |a: &Set, b: &Set| {
        let differs = a.iter().filter(|(name, version)| b.get(*name) != Some(version));
        differs
            .map(|(name, version)| format!("{name}={version}"))
            .collect::<Vec<_>>()
    };
    let (here, there) = (only(found, expected), only(expected, found));
    (found != expected).then(|| format!("{text}: only here {here:?}, only apt {there:?}"))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// All asked packages come with what they recommend.
const RECOMMENDING: &[&str] = &[
    "openssh-server",
    "gnome-core",
    "task-xfce-desktop",
    "kde-standard",
    "nginx postgresql php mariadb-server",
    "build-essential python3-pip default-jdk maven",
    "docker.io podman qemu-system-x86 libvirt-daemon-system",
    "libreoffice-writer chromium",
    "postfix mutt",
    "systemd-sysv network-manager linux-image-amd64 dracut",
];
/// What is asked for with recommendations, and what without.
const SOME: &[(&str, &str)] = &[
    ("openssh-server", "nginx"),
    ("php", "openssh-server mutt"),
    ("build-essential", "default-jdk-headless"),
];

#[test]
fn recommendations_are_those_of_apt() {
    let apt = Apt::new(&SUITES, &["amd64"]);
    let records = apt.records();
    let resolver = deb::Resolver::new(Arch::X86_64, &records, &[]);
    let resolve = |packages: &[String], recommending: &[String]| {
        let wanted = Wanted {
            packages,
            recommending,
            include_essential: false,
        };
        resolver.resolve(&wanted).unwrap()
    };
    let mut wrong = Vec::new();
    let (mut more, mut only_recommended) = (0, 0);
    for text in RECOMMENDING {
        let asked = words(text);
        let found = resolve(&asked, &asked);
        only_recommended += recommended(&Resolution::default(), &found).len();
        more += usize::from(names(&found).len() > names(&resolve(&asked, &[])).len());
        wrong.extend(difference(text, &names(&found), &apt.install(&asked, true).unwrap()));
    }
    for (first, rest) in SOME {
        let all = words(&format!("{first} {rest}"));
        let found = names(&resolve(&all, &words(first)));
        let mut expected = apt.install(&words(first), true).unwrap();
        expected.extend(apt.install(&words(rest), false).unwrap());
        wrong.extend(difference(&format!("{first} + {rest}"), &found, &expected));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(more, RECOMMENDING.len());
    assert!(only_recommended > 100, "{only_recommended}");
}

/// Requests on a machine that runs i386 too.
const TWO: &[&str] = &[
    "libc6:i386",
    "libc6 libc6:i386 zlib1g:i386",
    "wine wine32:i386",
    "wine32",
    "libgtk-3-0t64:i386 libsdl2-2.0-0:i386",
    "python3:i386",
    "vlc:i386 vim",
    "gcc-multilib libasound2-plugins:i386",
    "openssh-server bash:i386",
    "nginx php",
    // No solution.
    "build-essential:i386",
    "openssl openssl:i386",
    "no-such-package-oic:i386",
];

#[test]
fn packages_of_i386_are_those_of_apt() {
    // Not the security suite: a mirror may have an index of i386 older than that of amd64.
    let apt = Apt::new(&["trixie"], &["amd64", "i386"]);
    let records = apt.records();
    let targets = Targets {
        native: Arch::X86_64,
        foreign: &[ForeignArch::I386],
    };
    let resolver = deb::Resolver::new(targets, &records, &[]);
    let mut wrong = Vec::new();
    let mut unsolved = Vec::new();
    for text in TWO {
        let packages = words(text);
        let wanted = Wanted {
            packages: &packages,
            recommending: &[],
            include_essential: false,
        };
        match (resolver.resolve(&wanted), apt.install(&packages, false)) {
            (Ok(found), Ok(expected)) => wrong.extend(difference(text, &names(&found), &expected)),
            (Err(_), Err(_)) => unsolved.push(*text),
            (found, expected) => wrong.push(format!(
                "{text}: {:?}, apt {expected:?}",
                found.map(|found| names(&found))
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        unsolved,
        [
            "build-essential:i386",
            "openssl openssl:i386",
            "no-such-package-oic:i386"
        ]
    );
}

/// Whether a name is the reason; otherwise the packages do not go together.
fn is_unknown(error: &ResolveError) -> bool {
    matches!(error, ResolveError::UnknownPackage { .. })
}
