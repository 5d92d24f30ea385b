//! The names by which other programs know a package: package URL, CPE, supplier.

use super::Bill;
use crate::installed::{Manager, Package};

/// Words in the names of groups rather than people.
const GROUPS: &[&str] = &[
    "team",
    "maintainers",
    "developers",
    "project",
    "group",
    "packagers",
    "foundation",
    "inc",
    "list",
    "gmbh",
    "ltd",
    "corporation",
    "linux",
    "debian",
    "ubuntu",
];

/// Returns the package URL (purl-spec, types `deb` and `rpm`) of `package` in the tree of `bill`.
pub fn package_url(bill: &Bill, package: &Package) -> String {
    match package.architecture.is_empty() {
        // No package manager has it.
        true => generic_url(&package.name, &package.version),
        false => url(bill, &package.name, &package.version, &package.architecture),
    }
}

/// Returns the package URL of the source of `package`; `None` if the database does not name one.
pub(super) fn source_url(bill: &Bill, package: &Package) -> Option<String> {
    let arch = match bill.manager {
        Manager::Dpkg => "source",
        Manager::Rpm => "src",
        Manager::None => return None,
    };
    let is_known = !package.source.is_empty() && !package.source_version.is_empty();
    is_known.then(|| url(bill, &package.source, &package.source_version, arch))
}

fn url(bill: &Bill, name: &str, version: &str, architecture: &str) -> String {
    let kind = bill.manager.package_word();
    if kind.is_empty() {
        return generic_url(name, version);
    }
    let vendor = if bill.os.id.is_empty() { "unknown" } else { &bill.os.id };
    let (epoch, plain) = match (bill.manager, version.split_once(':')) {
        (Manager::Rpm, Some((epoch, rest))) => (Some(epoch), rest),
        _ => (None, version),
    };
    let mut url = format!("pkg:{kind}/{}/{}@{}", escaped(vendor), escaped(name), escaped(plain));
    // Qualifiers are sorted.
    let distribution = match bill.os.version.is_empty() {
        true => vendor.to_owned(),
        false => format!("{vendor}-{}", bill.os.version),
    };
    let qualifiers = [
        ("arch", Some(architecture)),
        ("distro", Some(distribution.as_str())),
        ("epoch", epoch),
    ];
    let given = qualifiers
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)));
    for (index, (key, value)) in given.enumerate() {
        let before = if index == 0 { '?' } else { '&' };
        url.push_str(&format!("{before}{key}={}", escaped(value)));
    }
    url
}

/// Returns the package URL of something that no package manager has.
pub(super) fn generic_url(name: &str, version: &str) -> String {
    match version.is_empty() {
        true => format!("pkg:generic/{}", escaped(name)),
        false => format!("pkg:generic/{}@{}", escaped(name), escaped(version)),
    }
}

/// Escapes all letters but those that a package URL may have.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~') {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Returns the CPE (NISTIR 7695, section 6.2) under which the software of `package` may be known: its source's name
/// stands for vendor and product. An upstream version has neither epoch nor revision.
pub fn cpe(package: &Package) -> String {
    let product = bound(if package.source.is_empty() {
        &package.name
    } else {
        &package.source
    });
    let version = match package.source_version.is_empty() {
        true => &package.version,
        false => &package.source_version,
    };
    let upstream = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
    let upstream = upstream.rsplit_once('-').map_or(upstream, |(upstream, _)| upstream);
    format!("cpe:2.3:a:{product}:{product}:{}:*:*:*:*:*:*:*", bound(upstream))
}

/// Binds a value to a formatted string (section 6.2.2.1).
fn bound(value: &str) -> String {
    if value.is_empty() {
        return "*".to_owned();
    }
    let mut bound = String::with_capacity(value.len());
    for letter in value.to_lowercase().chars().filter(|letter| letter.is_ascii_graphic()) {
        if !letter.is_ascii_alphanumeric() && !matches!(letter, '.' | '-' | '_') {
            bound.push('\\');
        }
        bound.push(letter);
    }
    bound
}

/// A supplier: a name and perhaps an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Supplier {
    pub name: String,
    pub mail: Option<String>,
    pub is_group: bool,
}

impl Supplier {
    /// Divides `Name <address>` (Debian Policy, section 5.6.2); `None` if there is no name.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('<').unwrap_or((text, ""));
        let clean = |text: &str| text.chars().filter(|letter| !letter.is_control()).collect::<String>();
        let name = clean(name).trim().trim_matches('"').replace(['(', ')'], "");
        let mail = clean(rest.split('>').next().unwrap_or_default());
        let is_mail = mail.split_once('@').is_some_and(|(user, host)| {
            let is_plain = |part: &str| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
            };
            is_plain(user) && is_plain(host)
        });
        let lower = name.to_lowercase();
        let is_group = |word: &str| GROUPS.contains(&word.trim_matches(|c: char| !c.is_alphanumeric()));
        (!name.trim().is_empty()).then(|| Self {
            is_group: !is_mail || lower.split_whitespace().any(is_group),
            name: name.trim().to_owned(),
            mail: is_mail.then_some(mail),
        })
    }

    /// Returns it as SPDX 2.3, section 7.5, writes it.
    pub fn spdx(&self) -> String {
        let kind = if self.is_group { "Organization" } else { "Person" };
        match &self.mail {
            Some(mail) => format!("{kind}: {} ({mail})", self.name),
            None => format!("{kind}: {}", self.name),
        }
    }
}

/// Returns whether `text` is an address that a document may name.
pub(super) fn is_web_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |byte: u8| {
        byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']'
            )
    };
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()) && rest.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbom::Os;

    fn bill(manager: Manager, id: &str) -> Bill {
        Bill {
            manager,
            os: Os {
                id: id.into(),
                version: "13".into(),
                ..Os::default()
            },
            ..Bill::default()
        }
    }

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            source: "gcc-14".into(),
            source_version: "14.2.0-19".into(),
            ..Package::default()
        }
    }

    #[test]
    fn packages_have_the_names_that_others_know() {
        let deb = bill(Manager::Dpkg, "debian");
        assert_eq!(
            package_url(&deb, &package("libstdc++6", "1:14.2.0-19+b1")),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2.0-19%2Bb1?arch=amd64&distro=debian-13"
        );
        assert_eq!(
            source_url(&deb, &package("libstdc++6", "1")).unwrap(),
            "pkg:deb/debian/gcc-14@14.2.0-19?arch=source&distro=debian-13"
        );
        let rpm = bill(Manager::Rpm, "azurelinux");
        assert_eq!(
            package_url(&rpm, &package("bind", "32:9.20-1")),
            "pkg:rpm/azurelinux/bind@9.20-1?arch=amd64&distro=azurelinux-13&epoch=32"
        );
        assert_eq!(
            cpe(&package("libstdc++6", "1")),
            "cpe:2.3:a:gcc-14:gcc-14:14.2.0:*:*:*:*:*:*:*"
        );
        let plus = Package {
            source: "c++".into(),
            source_version: "2:1~rc-3".into(),
            ..Package::default()
        };
        assert_eq!(cpe(&plus), "cpe:2.3:a:c\\+\\+:c\\+\\+:1\\~rc:*:*:*:*:*:*:*");
    }

    #[test]
    fn suppliers_are_people_or_groups() {
        let spdx = |text: &str| Supplier::parse(text).map(|supplier| supplier.spdx());
        assert_eq!(
            spdx("Jane Doe <jane@example.org>").unwrap(),
            "Person: Jane Doe (jane@example.org)"
        );
        assert_eq!(
            spdx("Debian Go Packaging Team <team@example.org>").unwrap(),
            "Organization: Debian Go Packaging Team (team@example.org)"
        );
        assert_eq!(
            spdx("Microsoft Corporation").unwrap(),
            "Organization: Microsoft Corporation"
        );
        assert_eq!(spdx("A (x) <not an address>").unwrap(), "Organization: A x");
        assert_eq!(spdx(" <a@b>"), None);
        assert!(is_web_address("https://example.org/~a?b#c"));
        assert!(!is_web_address("https://exa mple.org") && !is_web_address("ftp://x") && !is_web_address("http://"));
    }
}
