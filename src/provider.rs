//! Distributions as data: repositories, keys, base packages and default templates of each
//! `(os, dist, arch)`.
//!
//! Invariant: provider data names no mirror of Debian; a downloaded key counts only if its fingerprint is pinned.

mod data;
mod files;
mod keys;
pub mod mirror;
mod repositories;
mod system;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hint::Hint;
use crate::model::ImageType;
use crate::package::Arch;
use crate::repo::{MirrorList, Signed};
use crate::yaml::{Findings, Source, did_you_mean};

pub use data::PROVIDER as SCHEMA;
pub use keys::{KeyProblem, ProviderKey};
pub use repositories::{RepositoryError, known_problems, repositories};
pub use system::{PackageSystem, Policy};

/// One distribution on one architecture.
#[derive(Debug, Clone)]
pub struct Provider {
    /// `os` of its templates.
    pub os: String,
    /// `dist` of its templates.
    pub dist: String,
    /// `arch` of its templates.
    pub arch: Arch,
    /// The package system, with the rules for its packages.
    pub packages: &'static Policy,
    /// Version of the distribution, such as `13`.
    pub release_version: String,
    /// Keyring in the image that its own apt trusts for the provider's repositories; without a keyring, the image gets
    /// no package sources.
    pub image_keyring: Option<String>,
    /// The repositories of its packages.
    pub repositories: Vec<ProviderRepository>,
    /// Names of the packages that every image starts from; dependencies are not listed.
    pub base_packages: Vec<String>,
    /// Its default templates.
    pub defaults: Vec<DefaultTemplate>,
}

/// A repository of a provider, without its mirror.
#[derive(Debug, Clone)]
pub struct ProviderRepository {
    /// Unique in the provider.
    pub id: String,
    /// The archive that holds it; a mirror is configured per archive.
    pub archive: String,
    /// The vendor's own base URL, used if no mirror is configured; without a slash at the end.
    pub base_url: Option<String>,
    /// The vendor's list of mirrors, used if no mirror is configured; only for `.rpm` packages.
    pub mirror_list: Option<MirrorList>,
    /// Suite directory below `dists/`; empty for repositories of `.rpm` packages.
    pub suite: String,
    /// Components; empty for repositories of `.rpm` packages.
    pub components: Vec<String>,
    /// Pin priority (apt_preferences(5)).
    pub priority: i32,
    /// Keys that may sign it.
    pub keys: Vec<ProviderKey>,
    /// The data that must be signed with them.
    pub signed: Signed,
    /// Packages that are never taken from it, as [`PackageFilter::exclude`](crate::package::PackageFilter::exclude).
    pub exclude_packages: Vec<String>,
}

/// The template that a user's template of one image type is merged over.
#[derive(Debug, Clone)]
pub struct DefaultTemplate {
    /// The image type.
    pub image_type: ImageType,
    /// Its text.
    pub source: Arc<Source>,
    /// The directory in the embedded data that its file names are relative to.
    pub directory: String,
    /// The same directory among the user's provider data, which counts first.
    pub overlay: Option<PathBuf>,
}

/// The error for an unknown provider.
#[derive(Debug, Clone, thiserror::Error)]
#[error("there is no provider {wanted}: this version has {}", known.join(", "))]
pub struct ProviderError {
    /// The requested id.
    pub wanted: String,
    /// The known ids.
    pub known: Vec<String>,
}

impl ProviderError {
    /// Returns a hint with the provider that the user probably meant.
    pub fn hint(&self) -> Option<Hint> {
        did_you_mean(&self.wanted, self.known.iter().map(String::as_str))
            .map(|near| format!("did you mean {near}?").into())
    }
}

impl Provider {
    /// Returns the provider id, `{os}-{dist}-{arch}`.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.os, self.dist, self.arch)
    }

    /// Returns the default template for an image type.
    pub fn default_for(&self, image_type: ImageType) -> Option<&DefaultTemplate> {
        self.defaults.iter().find(|default| default.image_type == image_type)
    }

    /// Returns the archives of its repositories, each once, the main one first.
    pub fn archives(&self) -> Vec<&str> {
        let mut archives: Vec<&str> = Vec::new();
        for repository in &self.repositories {
            if !archives.contains(&repository.archive.as_str()) {
                archives.push(&repository.archive);
            }
        }
        archives
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

/// The providers that a program run knows.
#[derive(Debug, Clone)]
pub struct Providers(Vec<Provider>);

impl Providers {
    /// Returns the providers that come with oic.
    ///
    /// # Errors
    /// The findings in a data file; a test proves that there are none.
    pub fn embedded() -> Result<Self, Findings> {
        Self::load(None)
    }

    /// Returns the providers that come with oic, overlaid with the data of the user's directory
    /// (`config_dir`): a file `providers/…` or `keys/…` in it takes the place of the embedded
    /// one of the same name, and a `providers/OS/DIST/provider.yml` of another name adds a
    /// provider.
    ///
    /// # Errors
    /// The findings in a data file, with their places.
    pub fn load(directory: Option<&Path>) -> Result<Self, Findings> {
        data::load_all(&files::Files::new(directory)).map(Self)
    }

    /// Lets certificates with these fingerprints (upper-case hexadecimal digits) count for repositories whose provider
    /// pins none.
    #[must_use]
    pub fn trusting(mut self, fingerprints: &[String]) -> Self {
        let repositories = self.0.iter_mut().flat_map(|provider| &mut provider.repositories);
        for key in repositories.flat_map(|repository| &mut repository.keys) {
            key.trusted = fingerprints.to_vec();
        }
        self
    }

    /// Returns the provider of a template's target.
    ///
    /// # Errors
    /// [`ProviderError`], which lists the known ones.
    pub fn find(&self, os: &str, dist: &str, arch: Arch) -> Result<&Provider, ProviderError> {
        self.by_id(&format!("{os}-{dist}-{arch}"))
    }

    /// Returns the provider with an id such as `debian-debian13-x86_64`.
    ///
    /// # Errors
    /// [`ProviderError`], which lists the known ones.
    pub fn by_id(&self, id: &str) -> Result<&Provider, ProviderError> {
        self.0
            .iter()
            .find(|provider| provider.id() == id)
            .ok_or_else(|| ProviderError {
                wanted: id.to_owned(),
                known: self.0.iter().map(Provider::id).collect(),
            })
    }

    /// Lists all of them.
    pub fn all(&self) -> &[Provider] {
        &self.0
    }

    /// Returns the operating systems, each once.
    pub fn systems(&self) -> Vec<&str> {
        let mut systems: Vec<&str> = self.0.iter().map(|provider| provider.os.as_str()).collect();
        systems.sort_unstable();
        systems.dedup();
        systems
    }

    /// Returns the distributions of an operating system, each once.
    pub fn distributions(&self, os: &str) -> Vec<&str> {
        let own = self.0.iter().filter(|provider| provider.os == os);
        let mut distributions: Vec<&str> = own.map(|provider| provider.dist.as_str()).collect();
        distributions.dedup();
        distributions
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn unknown_providers_are_answered_with_the_known_ones() {
        let providers = Providers::embedded().unwrap();
        assert_eq!(providers.all().len(), 18);
        let error = providers.find("debian", "debian21", Arch::X86_64).unwrap_err();
        assert!(error.to_string().contains("debian-debian13-aarch64"), "{error}");
        assert_eq!(error.hint().as_deref(), Some("did you mean debian-debian12-x86_64?"));
    }

    #[test]
    fn pinned_keys_are_those_of_the_table() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/keys");
        let table = std::fs::read_to_string(root.join("README.md")).unwrap();
        let mut checked = 0;
        for line in table.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('`').collect();
            let output = Command::new("gpg")
                .args(["--show-keys", "--with-colons"])
                .arg(root.join(cells[1]))
                .output()
                .expect("gpg of the package gpg");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let first = text.lines().find_map(|line| line.strip_prefix("fpr:::::::::"));
            assert_eq!(
                first.and_then(|line| line.strip_suffix(':')),
                Some(cells[3]),
                "{}",
                cells[1]
            );
            checked += 1;
        }
        assert_eq!(checked, crate::data::names("keys/").count());
    }
}
