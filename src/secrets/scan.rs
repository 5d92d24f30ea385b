//! Secrets among the files that a step of the build has written.

use std::collections::BTreeSet;
use std::path::Path;

use super::owners::{self, Contents};
use crate::durable::PathError;
use crate::layer::Secret;
use crate::root::Root;

/// The most bytes of a file that are searched: keys are short.
const SEARCHED_BYTES: u64 = 256 << 10;
/// The most secrets whose packages are looked for, each in all scripts and lists: a report needs no more.
const EXPLAINED_MAX: usize = 100;
/// Directories without secrets that a machine uses: databases of package managers, and caches.
const SKIPPED: [&str; 6] = [
    "/dev",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
];
/// Identities that the build resets in any case.
const RESET: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// Names of files that are keys in forms of their own.
const NAMES: [&str; 2] = ["mok.key", "MOK.priv"];

/// Where [`find`] looks.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The files that a step has written.
    pub upper: &'a Root,
    /// The whole image after it.
    pub image: &'a Root,
    /// Whether packages were installed; else the template's commands have written the files.
    pub has_packages: bool,
    /// The packages that were installed, where the image has no lists of their files that can be read.
    pub contents: &'a [Contents],
}

/// Finds private keys and identities that no package has brought as a file: each machine should draw its own. The files
/// that `upper` spares are left out.
///
/// # Errors
/// If a file cannot be read.
pub fn find(place: Place<'_>) -> Result<Vec<Secret>, PathError> {
    let mut scan = Scan {
        place,
        owned: owners::owned(owners::of_dpkg(place.upper)?.iter().chain(place.contents)),
        secrets: Vec::new(),
    };
    scan.directory(Path::new("/"))?;
    let mut secrets = scan.secrets;
    if secrets.is_empty() {
        return Ok(secrets);
    }
    let mut all = owners::of_dpkg(place.image)?;
    all.extend_from_slice(place.contents);
    let owned = owners::owned(&all);
    secrets.retain(|secret| !owned.contains(&owners::plain(&secret.path)));
    if place.has_packages {
        for secret in secrets.iter_mut().take(EXPLAINED_MAX) {
            secret.packages = owners::makers(&all, &secret.path);
        }
    }
    Ok(secrets)
}

/// A search in progress.
struct Scan<'a> {
    place: Place<'a>,
    /// Files that packages of this step have brought.
    owned: BTreeSet<String>,
    secrets: Vec<Secret>,
}

impl Scan<'_> {
    fn directory(&mut self, directory: &Path) -> Result<(), PathError> {
        let upper = self.place.upper;
        for name in upper.names(directory)? {
            let path = directory.join(name);
            if upper.read_link(&path)?.is_some() {
                continue;
            }
            match upper.mode(&path)?.map(|mode| mode & libc::S_IFMT) {
                Some(libc::S_IFDIR) if !self.is_skipped(&path) => self.directory(&path)?,
                Some(libc::S_IFREG) => self.file(&path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Says whether to leave out a directory. Without lists of the packages' files the test data of a package below
    /// `/usr` looks like a secret.
    fn is_skipped(&self, path: &Path) -> bool {
        let is_unknown = self.place.has_packages && self.owned.is_empty() && path == Path::new("/usr");
        is_unknown || SKIPPED.iter().any(|skipped| path == Path::new(skipped))
    }

    fn file(&mut self, path: &Path) -> Result<(), PathError> {
        let upper = self.place.upper;
        // A name that is no text is in no list and no template either.
        let Some(text) = path.to_str() else { return Ok(()) };
        if upper.is_spared(path) || RESET.contains(&text) || self.owned.contains(&owners::plain(text)) {
            return Ok(());
        }
        if let Some(kind) = kind(path, &upper.head(path, SEARCHED_BYTES)?) {
            self.secrets.push(Secret {
                path: text.to_owned(),
                kind: kind.to_owned(),
                packages: Vec::new(),
            });
        }
        Ok(())
    }
}

/// Returns, in words, what kind of secret a file is, by its path and the beginning of its content; `None` if it is none.
pub fn kind(path: &Path, content: &[u8]) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let text = String::from_utf8_lossy(content);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if name == "machine-id" {
        let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_id.then_some("a machine id");
    }
    if path.ends_with("global/pg_control") {
        return Some("the identity of a database cluster (PostgreSQL's system identifier)");
    }
    let is_dropbear = name.starts_with("dropbear_") && name.ends_with("_host_key");
    let is_private = path.parent().is_some_and(|parent| parent.ends_with("ssl/private"));
    let is_gpg = path.components().any(|part| part.as_os_str() == "private-keys-v1.d");
    let is_key = NAMES.contains(&name) || is_dropbear || is_private || is_gpg || has_key(text) || has_tsig(text);
    is_key.then_some("a private key")
}

/// Says whether a text has a key as name servers share it (named.conf(5), "key").
fn has_tsig(text: &str) -> bool {
    text.contains("algorithm hmac-") && text.contains("secret \"")
}

/// Says whether a text has a private key in a textual encoding (RFC 7468; RFC 4880, 6.2).
fn has_key(text: &str) -> bool {
    let is_begin = |line: &str| {
        let label = line
            .trim_end()
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"));
        label.is_some_and(|label| label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK"))
    };
    let mut lines = text.lines();
    lines.any(is_begin) && lines.any(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    const OPENSSH: &str = "Comment\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";

    #[test]
    fn keys_and_identities_are_told_from_other_files() {
        for (path, content, expected) in [
            ("/etc/app/server.pem", PEM, Some("a private key")),
            ("/var/lib/app/id", OPENSSH, Some("a private key")),
            (
                "/root/key.asc",
                "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ\n",
                Some("a private key"),
            ),
            (
                "/etc/app/rsa",
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n",
                Some("a private key"),
            ),
            ("/etc/ssl/private/any", "x", Some("a private key")),
            ("/var/lib/dkms/mok.key", "x", Some("a private key")),
            (
                "/etc/dropbear/initramfs/dropbear_rsa_host_key",
                "x",
                Some("a private key"),
            ),
            (
                "/opt/app/machine-id",
                "0123456789abcdef0123456789abcdef\n",
                Some("a machine id"),
            ),
            (
                "/etc/named/key",
                "key \"k\" { algorithm hmac-sha256; secret \"eA==\"; };",
                Some("a private key"),
            ),
            (
                "/var/lib/postgresql/17/main/global/pg_control",
                "\u{1}\0",
                Some("the identity of a database cluster (PostgreSQL's system identifier)"),
            ),
            ("/opt/app/machine-id", "uninitialized\n", None),
            ("/etc/ssl/private/empty", "", None),
            ("/etc/app/cert.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n", None),
            ("/etc/app/public", "-----BEGIN PUBLIC KEY-----\nMIIB\n", None),
            ("/usr/lib/x.pyc", "s\0-----BEGIN PRIVATE KEY-----\0x\n", None),
            (
                "/usr/lib/x.py",
                "if '-----BEGIN PRIVATE KEY-----' in x:\n    pass\n",
                None,
            ),
        ] {
            assert_eq!(kind(Path::new(path), content.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_secret_comes_with_the_package_whose_script_made_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        for (path, text) in [
            (
                "/var/lib/dpkg/info/app.list",
                "/.\n/etc\n/etc/app\n/usr\n/usr/lib\n/lib/app.pem\n",
            ),
            ("/var/lib/dpkg/info/tool:amd64.list", "/.\n/etc\n/etc/tool\n"),
            (
                "/var/lib/dpkg/info/tool:amd64.postinst",
                "openssl genrsa -out /etc/app/by-tool.pem\n",
            ),
            ("/etc/app/server.pem", PEM),
            ("/etc/app/by-tool.pem", PEM),
            ("/etc/app/mine.pem", PEM),
            ("/usr/lib/app.pem", PEM),
        ] {
            root.write(path, text, 0o600).unwrap();
        }
        let upper = root.sparing(["/etc/app/mine.pem"]);
        let place = Place {
            upper: &upper,
            image: &root,
            has_packages: true,
            contents: &[],
        };
        let found = find(place).unwrap();
        let found: Vec<_> = found.iter().map(|s| (s.path.as_str(), s.packages.join(" "))).collect();
        let expected = [("/etc/app/by-tool.pem", "tool"), ("/etc/app/server.pem", "app")];
        assert_eq!(found, expected.map(|(path, package)| (path, package.to_owned())));
    }

    /// The image of `.rpm` packages has no list that oic reads: their heads say what they have.
    #[test]
    fn without_dpkg_the_packages_themselves_say_what_they_have() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        for path in ["/etc/pki/tool/server.key", "/etc/app/brought.pem", "/usr/lib/test.pem"] {
            root.write(path, PEM, 0o600).unwrap();
        }
        let contents = |package: &str, files: &[&str], scripts: &str| Contents {
            package: package.to_owned(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            scripts: scripts.to_owned(),
        };
        let all = [
            contents("app", &["/etc/app", "/etc/app/brought.pem", "/usr/lib/test.pem"], ""),
            contents(
                "tool",
                &["/etc/pki/tool"],
                "openssl genrsa -out /etc/pki/tool/server.key",
            ),
        ];
        let find = |contents| {
            let place = Place {
                upper: &root,
                image: &root,
                has_packages: true,
                contents,
            };
            let found = find(place).unwrap();
            found
                .into_iter()
                .map(|s| format!("{} {}", s.path, s.packages.join(" ")))
                .collect::<Vec<_>>()
        };
        assert_eq!(find(&all), ["/etc/pki/tool/server.key tool"]);
        assert_eq!(find(&all[..1]), ["/etc/pki/tool/server.key "]);
    }
}
