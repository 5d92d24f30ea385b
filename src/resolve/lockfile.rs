//! The lockfile: a resolution written down, so that another build uses exactly the same packages.
//!
//! JSON: `format` (the magic), `version`, `provider`, `repositories`, `requested`, `packages` in the order of
//! installation, `steps` (the packages of each step of the installation), `newest` (the dates of the newest packages; a
//! lockfile may lack it), `recommended` (the packages that came as recommendations; absent if there are none), and
//! `checksum`, the SHA-256 of the compact JSON of all fields before it. The same content gives
//! the same bytes.
//!
//! Invariant: a [`Lockfile`] that was read is complete and has the content that [`Lockfile::to_json`] wrote, and its
//! packages have names and paths that stay inside their directories.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::hint::{Hint, Means};
use crate::package::{ResolvedPackage, Sha256};

const FORMAT: &str = "oic-lockfile";
const VERSION: u32 = 2;
/// Upper limit of a lockfile in bytes; one of 60,000 packages has 30 MB.
const SIZE_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Upper limit of a package file in bytes, beyond any real one.
const PACKAGE_LIMIT_BYTES: u64 = 1 << 40;

/// The content of a lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockfile {
    /// Provider id, such as `debian-debian13-x86_64`.
    pub provider: String,
    /// The repositories that the packages come from.
    pub repositories: Vec<LockedRepository>,
    /// The requested packages, as written.
    pub requested: Vec<String>,
    /// The packages in the order of installation.
    pub packages: Vec<ResolvedPackage>,
    /// The steps of their installation.
    pub steps: Steps,
    /// The packages that are there only because others recommend them.
    pub recommended: Vec<Recommended>,
    /// The dates of its newest packages, once a build has read them from the packages.
    pub newest: Option<Newest>,
}

/// The dates of the newest packages, in seconds since 1970. With them, the keys of all layers are known before any
/// package is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newest {
    /// Of those in the base.
    pub base_seconds: u64,
    /// Of all.
    pub image_seconds: u64,
}

/// The packages of each step of the installation, by [`label`]: two images of the same packages are equal only if the
/// packages came in the same steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// Packages of the base, in the order of installation.
    pub base: Vec<String>,
    /// Packages of the base that the image has in another version.
    pub replaced: Vec<ResolvedPackage>,
    /// Packages that are installed before the initrd is made. All others come after it.
    pub system: Vec<String>,
    /// Packages that were requested, rather than needed by others.
    pub manual: Vec<String>,
}

/// A package that came as a recommendation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recommended {
    /// Its label.
    pub package: String,
    /// The labels of those that recommend it.
    pub by: Vec<String>,
}

/// Returns the label by which [`Steps`] name a package: `name:architecture`.
pub fn label(package: &ResolvedPackage) -> String {
    format!("{}:{}", package.name, package.architecture)
}

/// The state of a repository at the time of the resolution, without its URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// Its id (`repo::Repository::id`).
    pub id: String,
    /// Its suite.
    pub suite: String,
    /// The codename that its metadata states.
    pub codename: String,
    /// The date that its metadata carries, as written there.
    pub date: String,
    /// The digest of its signed metadata.
    pub digest: String,
}

/// The error for a lockfile that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LockfileError {
    /// It is larger than any lockfile.
    #[error("the lockfile has {size_bytes} bytes; more than {SIZE_LIMIT_BYTES} are not accepted")]
    TooLarge {
        /// Its size in bytes.
        size_bytes: usize,
    },
    /// It is not JSON, or not of the form of a lockfile.
    #[error("the lockfile is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is JSON of some other kind.
    #[error("this is no lockfile: its format is {0:?}, not {FORMAT:?}")]
    OtherFormat(String),
    /// It has a version that this program does not know.
    #[error("the lockfile has version {0}; this program reads version {VERSION}")]
    OtherVersion(u32),
    /// Its content does not have its checksum.
    #[error("the lockfile was changed or damaged: its checksum is {expected}, its content has {found}")]
    Checksum {
        /// The checksum in the lockfile.
        expected: Sha256,
        /// The checksum of the content.
        found: Sha256,
    },
    /// A package entry is impossible.
    #[error("the lockfile's entry for package {name:?} is not valid: {reason}")]
    Package {
        /// The package's name.
        name: String,
        /// The mistake in it.
        reason: &'static str,
    },
}

impl LockfileError {
    /// Returns a hint on the next step of the user.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::OtherFormat(_) | Self::TooLarge { .. } => "name the file that a build wrote beside its image".into(),
            _ => Hint::new("make it anew").by(Means::UpdateLock),
        })
    }
}

/// All fields but the checksum.
#[derive(Serialize)]
struct Body<'a> {
    format: &'a str,
    version: u32,
    provider: &'a str,
    repositories: &'a [LockedRepository],
    requested: &'a [String],
    packages: &'a [ResolvedPackage],
    steps: &'a Steps,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    recommended: &'a [Recommended],
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<Newest>,
}

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    body: Body<'a>,
    checksum: Sha256,
}

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u32,
    provider: String,
    repositories: Vec<LockedRepository>,
    requested: Vec<String>,
    packages: Vec<ResolvedPackage>,
    steps: Steps,
    #[serde(default)]
    recommended: Vec<Recommended>,
    #[serde(default)]
    newest: Option<Newest>,
    checksum: Sha256,
}

impl Lockfile {
    fn body(&self) -> Body<'_> {
        Body {
            format: FORMAT,
            version: VERSION,
            provider: &self.provider,
            repositories: &self.repositories,
            requested: &self.requested,
            packages: &self.packages,
            steps: &self.steps,
            recommended: &self.recommended,
            newest: self.newest,
        }
    }

    /// Returns the digest of the content, the same as the file's checksum.
    pub fn digest(&self) -> Sha256 {
        // Strings, numbers and lists always have a JSON form.
        Sha256::of(serde_json::to_vec(&self.body()).unwrap_or_default())
    }

    /// Returns the digest of the provider, the packages and the steps of their installation. It does not depend on the
    /// state of the repositories.
    pub fn seed(&self) -> Sha256 {
        // As above.
        Sha256::of(serde_json::to_vec(&(&self.provider, &self.packages, &self.steps)).unwrap_or_default())
    }

    /// Returns the lockfile's text.
    pub fn to_json(&self) -> String {
        let whole = Whole {
            body: self.body(),
            checksum: self.digest(),
        };
        let mut text = serde_json::to_string_pretty(&whole).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Parses a lockfile's text.
    ///
    /// # Errors
    /// If it is not a lockfile of a known version, was changed, or has entries that no repository could have offered.
    pub fn from_json(text: &[u8]) -> Result<Self, LockfileError> {
        if text.len() > SIZE_LIMIT_BYTES {
            return Err(LockfileError::TooLarge { size_bytes: text.len() });
        }
        let header: Header = serde_json::from_slice(text)?;
        if header.format != FORMAT {
            return Err(LockfileError::OtherFormat(header.format));
        }
        if header.version != VERSION {
            return Err(LockfileError::OtherVersion(header.version));
        }
        let read: Read = serde_json::from_slice(text)?;
        let lockfile = Self {
            provider: read.provider,
            repositories: read.repositories,
            requested: read.requested,
            packages: read.packages,
            steps: read.steps,
            recommended: read.recommended,
            newest: read.newest,
        };
        let found = lockfile.digest();
        if found != read.checksum {
            return Err(LockfileError::Checksum {
                expected: read.checksum,
                found,
            });
        }
        lockfile.check_packages()?;
        Ok(lockfile)
    }

    /// Returns the packages of the base, in the order of installation; `None` if one is not listed.
    pub fn base(&self) -> Option<Vec<ResolvedPackage>> {
        let all: HashMap<String, &ResolvedPackage> = self
            .packages
            .iter()
            .chain(&self.steps.replaced)
            .map(|package| (label(package), package))
            .collect();
        let labels = self.steps.base.iter();
        labels
            .map(|label| all.get(label).map(|package| (*package).clone()))
            .collect()
    }

    fn check_packages(&self) -> Result<(), LockfileError> {
        let repositories: HashSet<_> = self.repositories.iter().map(|repository| &*repository.id).collect();
        let mut seen = HashSet::new();
        let listed = self.packages.iter().map(|package| (package, true));
        for (package, is_listed) in listed.chain(self.steps.replaced.iter().map(|package| (package, false))) {
            let reason = if !is_word(&package.name, "+.-_") {
                "the name has a character that no package name has"
            } else if !is_word(&package.version, "+.-_:~^") {
                "the version has a character that no version has"
            } else if !is_word(&package.architecture, "-_") {
                "the architecture has a character that no architecture has"
            } else if !stays_inside(&package.path) {
                "the path leads out of the repository"
            } else if package.size_bytes > PACKAGE_LIMIT_BYTES {
                "the size is out of bounds"
            } else if !repositories.contains(&*package.repository) {
                "its repository is not listed"
            } else if is_listed && !seen.insert((&*package.name, &*package.architecture)) {
                "it is listed twice"
            } else {
                continue;
            };
            return Err(LockfileError::Package {
                name: package.name.clone(),
                reason,
            });
        }
        Ok(())
    }
}

/// Returns whether `text` begins with a letter or digit and has only those and `others`.
fn is_word(text: &str, others: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty() && !path.contains('\0') && !path.starts_with('/') && path.split('/').all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::test_support::resolution;
    use proptest::prelude::*;

    fn sample() -> Lockfile {
        Lockfile {
            provider: "debian-debian13-x86_64".to_owned(),
            repositories: vec![LockedRepository {
                id: "main".to_owned(),
                suite: "trixie".to_owned(),
                codename: "trixie".to_owned(),
                date: "Sat, 06 Sep 2025 10:22:39 UTC".to_owned(),
                digest: "a1".to_owned(),
            }],
            requested: vec!["b".to_owned()],
            packages: resolution(&["a", "b"], &[(1, 0)], &[1]).packages,
            steps: Steps::default(),
            recommended: Vec::new(),
            newest: None,
        }
    }

    #[test]
    fn dates_change_neither_the_seed_nor_what_older_files_say() {
        let newest = Newest {
            base_seconds: 1,
            image_seconds: 2,
        };
        let dated = Lockfile {
            newest: Some(newest),
            ..sample()
        };
        assert_eq!(dated.seed(), sample().seed());
        assert_eq!(Lockfile::from_json(dated.to_json().as_bytes()).unwrap(), dated);
        assert!(!sample().to_json().contains("newest"));
    }

    #[test]
    fn the_text_is_stable() {
        let text = sample().to_json();
        assert!(text.starts_with("{\n  \"format\": \"oic-lockfile\",\n  \"version\": 2,\n  \"provider\": \"debian-"));
        assert!(text.ends_with(&format!("  \"checksum\": \"{}\"\n}}\n", sample().digest())));
        assert_eq!(Lockfile::from_json(text.as_bytes()).unwrap(), sample());
        // Whitespace is not content.
        let compact: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(Lockfile::from_json(compact.to_string().as_bytes()).unwrap(), sample());
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let text = sample().to_json();
        let error = |text: &str| Lockfile::from_json(text.as_bytes()).unwrap_err();
        let version = text.replace("\"version\": 2,", "\"version\": 1,");
        assert!(matches!(error(&version), LockfileError::OtherVersion(1)));
        let format = text.replace("oic-lockfile", "other");
        assert!(matches!(error(&format), LockfileError::OtherFormat(_)));
        let changed = text.replace("1000", "1001");
        assert!(matches!(error(&changed), LockfileError::Checksum { .. }));
        assert!(matches!(error(&text[..text.len() / 2]), LockfileError::Malformed(_)));
        assert!(matches!(
            error(&text.replacen('{', "{\"x\": 1,", 1)),
            LockfileError::Malformed(_)
        ));
    }

    #[test]
    fn entries_cannot_lead_elsewhere() {
        let refused = |change: fn(&mut ResolvedPackage)| {
            let mut lockfile = sample();
            change(&mut lockfile.packages[0]);
            matches!(
                Lockfile::from_json(lockfile.to_json().as_bytes()),
                Err(LockfileError::Package { .. })
            )
        };
        assert!(refused(|package| package.path = "../../etc/passwd".to_owned()));
        assert!(refused(|package| package.path = "/etc/passwd".to_owned()));
        assert!(refused(|package| package.path = "pool//../../a.deb".to_owned()));
        assert!(!refused(|package| package.path = "pool//a.deb".to_owned()));
        assert!(refused(|package| package.name = "a/b".to_owned()));
        assert!(refused(|package| package.name = "..".to_owned()));
        assert!(refused(|package| package.version = "1/0".to_owned()));
        assert!(refused(|package| package.architecture = String::new()));
        assert!(refused(|package| package.size_bytes = u64::MAX));
        assert!(refused(|package| package.repository = "unknown".to_owned()));
        assert!(refused(|package| package.name = "b".to_owned()));
        assert!(!refused(|_| {}));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            names in prop::collection::btree_set("[a-z0-9][a-z0-9+.-]{1,9}", 0..8),
            text in "\\PC*",
            size_bytes in 0..PACKAGE_LIMIT_BYTES,
        ) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let mut lockfile = sample();
            lockfile.packages = resolution(&names, &[], &[]).packages;
            for package in &mut lockfile.packages {
                package.size_bytes = size_bytes;
            }
            lockfile.requested = vec![text.clone()];
            lockfile.repositories[0].date = text;
            prop_assert_eq!(Lockfile::from_json(lockfile.to_json().as_bytes()).unwrap(), lockfile);
        }

        #[test]
        fn changed_text_is_read_or_refused(at in 0..100_usize, with in "[\\[\\]{}\",:a-z0-9 -]{0,3}", removed in 0..4_usize) {
            let text = sample().to_json();
            let at = text.len() * at / 100;
            let changed = [&text[..at], &with, &text[(at + removed).min(text.len())..]].concat();
            // A parsed lockfile equals its text: written again, it is parsed as the same.
            if let Ok(read) = Lockfile::from_json(changed.as_bytes()) {
                prop_assert_eq!(Lockfile::from_json(read.to_json().as_bytes()).unwrap(), read);
            }
        }
    }
}
