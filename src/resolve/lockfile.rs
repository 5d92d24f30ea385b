//! The lockfile: a resolution written down, so that another build uses exactly the
//! same packages.
//!
//! JSON: `format` (the magic), `version`, `provider`, `repositories`, `requested`,
//! `packages` in the order of installation, `steps` (which of them are installed when), and
//! `checksum`, the SHA-256 of the compact JSON of all that stands before it. The same content
//! gives the same bytes.
//!
//! Invariant: a [`Lockfile`] that was read is whole and what [`Lockfile::to_json`]
//! wrote, and its packages have names and paths that stay inside their directories.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::package::{ResolvedPackage, Sha256};

const FORMAT: &str = "oic-lockfile";
const VERSION: u32 = 2;
/// A lockfile of 60,000 packages has 30 MB.
const SIZE_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Larger than any package file that a repository could sensibly offer.
const PACKAGE_LIMIT_BYTES: u64 = 1 << 40;

/// What a lockfile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockfile {
    /// Provider id, such as `debian-debian13-x86_64`.
    pub provider: String,
    /// The repositories that the packages come from.
    pub repositories: Vec<LockedRepository>,
    /// What was asked for, as written.
    pub requested: Vec<String>,
    /// The packages in the order of installation.
    pub packages: Vec<ResolvedPackage>,
    /// When they are installed.
    pub steps: Steps,
}

/// What is installed when, by [`label`]: two images of the same packages are the same only if they came in the same
/// steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// Packages of the base, in the order of installation.
    pub base: Vec<String>,
    /// Those of the base that the image has in another version.
    pub replaced: Vec<ResolvedPackage>,
    /// Packages that are installed before the initrd is made. All others come after it.
    pub system: Vec<String>,
    /// Packages that were asked for, rather than needed by others.
    pub manual: Vec<String>,
}

/// How [`Steps`] name a package: `name:architecture`.
pub fn label(package: &ResolvedPackage) -> String {
    format!("{}:{}", package.name, package.architecture)
}

/// The state of a repository when it was resolved, without where it was read from.
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

/// A lockfile cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LockfileError {
    /// It is larger than any lockfile.
    #[error("the lockfile has {size_bytes} bytes; more than {SIZE_LIMIT_BYTES} are not accepted")]
    TooLarge {
        /// Its size in bytes.
        size_bytes: usize,
    },
    /// It is not JSON, or not what a lockfile looks like.
    #[error("the lockfile is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is JSON of some other kind.
    #[error("this is no lockfile: its format is {0:?}, not {FORMAT:?}")]
    OtherFormat(String),
    /// It has a version that this program does not know.
    #[error("the lockfile has version {0}; this program reads version {VERSION}")]
    OtherVersion(u32),
    /// Its content is not what its checksum says.
    #[error("the lockfile was changed or damaged: its checksum is {expected}, its content has {found}")]
    Checksum {
        /// What the lockfile says.
        expected: Sha256,
        /// What the content has.
        found: Sha256,
    },
    /// A package entry says something impossible.
    #[error("the lockfile's entry for package {name:?} is not valid: {reason}")]
    Package {
        /// The package's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl LockfileError {
    /// What the user can do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::OtherFormat(_) | Self::TooLarge { .. } => "name the file that a build wrote beside its image",
            _ => "write it anew with --update-lock",
        };
        Some(hint.to_owned())
    }
}

/// Everything but the checksum.
#[derive(Serialize)]
struct Body<'a> {
    format: &'a str,
    version: u32,
    provider: &'a str,
    repositories: &'a [LockedRepository],
    requested: &'a [String],
    packages: &'a [ResolvedPackage],
    steps: &'a Steps,
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
        }
    }

    /// The digest of the content, the same as the file's checksum.
    pub fn digest(&self) -> Sha256 {
        // Strings, numbers and lists always have a JSON form.
        Sha256::of(serde_json::to_vec(&self.body()).unwrap_or_default())
    }

    /// The digest of what is installed, and when: the same for as long as the packages are, whatever state the
    /// repositories are in.
    pub fn seed(&self) -> Sha256 {
        // As above.
        Sha256::of(serde_json::to_vec(&(&self.provider, &self.packages, &self.steps)).unwrap_or_default())
    }

    /// The lockfile's text.
    pub fn to_json(&self) -> String {
        let whole = Whole {
            body: self.body(),
            checksum: self.digest(),
        };
        let mut text = serde_json::to_string_pretty(&whole).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads a lockfile's text.
    ///
    /// # Errors
    /// If it is no lockfile of a known version, was changed, or has entries that no
    /// repository could have offered.
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

    /// The packages of the base, in the order of installation. `None` if one is not listed.
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

/// Whether `text` begins with a letter or digit and has only those and `others`.
fn is_word(text: &str, others: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty() && !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | ".."))
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
        }
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
        fn never_panics(text in "[{}\",:a-z0-9 ]{0,60}") {
            let _ = Lockfile::from_json(text.as_bytes());
        }
    }
}
