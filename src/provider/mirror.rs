//! The choice of the server of each archive.
//!
//! Provider data names no mirror of Debian. In this order the base URL of an archive comes from
//! `--mirror`, the environment (`OIC_MIRROR_DEBIAN`), `mirrors:` of the configuration, the
//! template's `packageRepositories`, the host's apt sources, and last from the provider itself if
//! its vendor has a server of its own. Signatures make any mirror safe.

use std::ffi::OsString;
use std::fmt;

use crate::fetch::{Credentials, shown};
use crate::hint::{Hint, Means};
use crate::model::{PackageRepository, Template};
use crate::provider::{Provider, ProviderRepository};

const PREFIX: &str = "OIC_MIRROR_";

/// The sources of a mirror, in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `--mirror`.
    Flag,
    /// `OIC_MIRROR_*`.
    Environment,
    /// `mirrors:` of the configuration file.
    Config,
    /// `packageRepositories` of the template.
    Template,
    /// The apt sources of the build host.
    Host,
    /// The provider: its vendor's own server.
    Provider,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "the command line",
            Self::Environment => "the environment",
            Self::Config => "the configuration file",
            Self::Template => "the template",
            Self::Host => "the host's apt sources",
            Self::Provider => "the provider",
        })
    }
}

/// An error in a mirror, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// No source names a mirror of the archive.
    #[error("no mirror is known for the archive {archive}")]
    Unknown {
        /// The archive.
        archive: String,
        /// The environment variable for it.
        variable: String,
        /// A suite of the archive.
        suite: String,
    },
    /// The text is not a URL.
    #[error("{origin}: {url:?} is not a mirror: it must start with http://, https:// or file:///")]
    BadUrl {
        /// The text, without name and password.
        url: String,
        /// The source of the text.
        origin: Origin,
    },
    /// A name without a URL, or the other way round.
    #[error("{0:?} is not a mirror: give URL, or NAME=URL such as debian-security=https://example.org/debian-security")]
    BadFlag(String),
}

impl MirrorError {
    /// Returns a hint on the next step of the user, if anything helps.
    pub fn hint(&self) -> Option<Hint> {
        let Self::Unknown {
            archive,
            variable,
            suite,
        } = self
        else {
            return None;
        };
        let text = format!(
            "name it on the command line as {archive}=URL, set {variable}, write \"mirrors: {{{archive}: URL}}\" into the \
             configuration file, add a repository with the codename {suite} and a url to packageRepositories of the \
             template, or build on a host whose apt sources have the archive"
        );
        Some(Hint::new(text).by(Means::Mirror))
    }
}

/// Returns the environment variable that names the mirror of an archive, such as `OIC_MIRROR_DEBIAN_SECURITY`.
pub fn variable(archive: &str) -> String {
    let name: String = archive
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("{PREFIX}{name}")
}

/// The mirrors that a program run was started with. [`Mirrors::resolve`] adds those of the template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Archive name (`None`: the main archive of any provider), URL, origin.
    entries: Vec<(Option<String>, String, Origin)>,
    /// Names and passwords from their URLs, which nothing shows.
    credentials: Credentials,
}

impl Mirrors {
    /// Makes an empty list of mirrors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a `--mirror` argument: `NAME=URL`, or `URL` for the provider's main archive.
    ///
    /// # Errors
    /// [`MirrorError`] if it is neither.
    pub fn add_flag(&mut self, argument: &str) -> Result<(), MirrorError> {
        let bad = || MirrorError::BadFlag(shown(argument));
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match argument.split_once('=') {
            Some((name, url)) if is_name(name) => self.add(Some(name), url, Origin::Flag),
            _ if argument.contains("://") => self.add(None, argument, Origin::Flag),
            _ => Err(bad()),
        }
    }

    /// Adds every `OIC_MIRROR_*` of the environment; other variables are ignored.
    ///
    /// # Errors
    /// [`MirrorError::BadUrl`] for a value that is not a URL.
    pub fn add_environment(&mut self, variables: &[(OsString, OsString)]) -> Result<(), MirrorError> {
        for (name, url) in variables.iter().filter(|(_, url)| !url.is_empty()) {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            let archive = name.to_ascii_lowercase().replace('_', "-");
            self.add(Some(&archive), &url.to_string_lossy(), Origin::Environment)?;
        }
        Ok(())
    }

    /// Adds the mirror of one archive.
    ///
    /// # Errors
    /// [`MirrorError::BadUrl`] if `url` is not one.
    pub fn add_archive(&mut self, archive: &str, url: &str, origin: Origin) -> Result<(), MirrorError> {
        self.add(Some(archive), url, origin)
    }

    fn add(&mut self, archive: Option<&str>, url: &str, origin: Origin) -> Result<(), MirrorError> {
        let usable = ["http://", "https://", "file:///"].iter().any(|scheme| {
            url.strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        });
        if !usable {
            return Err(MirrorError::BadUrl {
                url: shown(url),
                origin,
            });
        }
        let url = self.credentials.take_from(url.trim_end_matches('/'));
        self.entries.push((archive.map(str::to_owned), url, origin));
        Ok(())
    }

    /// Returns the names and passwords that the URLs had.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns the base URL (without a slash at the end) of one of the provider's archives, and its origin. For another
    /// archive than the main one, a mirror of its own counts first; without one, the archive is assumed to lie beside
    /// the main one ([`sibling`]). A plain `--mirror URL` outranks both.
    ///
    /// # Errors
    /// [`MirrorError::Unknown`] with all the ways to name a mirror.
    pub fn resolve(
        &self,
        provider: &Provider,
        template: &Template,
        archive: &str,
    ) -> Result<(String, Origin), MirrorError> {
        let mut entries: Vec<(&str, &str, Origin)> = Vec::new();
        let main = provider.archives().first().copied().unwrap_or(archive);
        for (name, url, origin) in &self.entries {
            entries.push((name.as_deref().unwrap_or(main), url, *origin));
        }
        for repository in &template.repositories {
            if let Some(mirrored) = mirrored(repository, provider) {
                entries.push((&mirrored.archive, &repository.url, Origin::Template));
            }
        }
        for repository in &provider.repositories {
            if let Some(url) = &repository.base_url {
                entries.push((&repository.archive, url, Origin::Provider));
            }
        }
        entries.sort_by_key(|(.., origin)| *origin);

        let named = entries
            .iter()
            .find(|(name, ..)| *name == archive)
            .map(|(_, url, origin)| ((*url).to_owned(), *origin));
        // An archive with a server of its own is not on the main archive's server.
        let has_own = provider
            .repositories
            .iter()
            .any(|repository| repository.archive == archive && repository.base_url.is_some());
        let beside = || {
            let mut mains = entries
                .iter()
                .filter(|(name, ..)| *name == main && archive != main && !has_own);
            mains.find_map(|(_, url, origin)| Some((sibling(url, main, archive)?, *origin)))
        };
        if let Some((_, Origin::Flag)) = &named {
            return named.ok_or_else(|| unknown(provider, archive));
        }
        if let Some(flagged) = beside().filter(|(_, origin)| *origin == Origin::Flag) {
            return Ok(flagged);
        }
        named.or_else(beside).ok_or_else(|| unknown(provider, archive))
    }
}

fn unknown(provider: &Provider, archive: &str) -> MirrorError {
    let suite = provider
        .repositories
        .iter()
        .find(|r| r.archive == archive)
        .map(|r| r.suite.clone());
    MirrorError::Unknown {
        archive: archive.to_owned(),
        variable: variable(archive),
        suite: suite.unwrap_or_default(),
    }
}

/// Returns the URL of `archive` on the server of `main_url`: the last path component with the name of the main archive
/// is replaced (`…/debian` and `…/debian/20250101T000000Z` both work).
fn sibling(main_url: &str, main: &str, archive: &str) -> Option<String> {
    let mut parts: Vec<&str> = main_url.split('/').collect();
    // Scheme, nothing, host: the path starts after them.
    let last = parts.iter().rposition(|part| *part == main).filter(|at| *at > 2)?;
    *parts.get_mut(last)? = archive;
    Some(parts.join("/"))
}

/// Returns the provider's repository that `repository` of the template is only a mirror of: both have one codename, and
/// the template's brings no key of its own, so it can only be verified with the provider's keys.
pub(super) fn mirrored<'a>(repository: &PackageRepository, provider: &'a Provider) -> Option<&'a ProviderRepository> {
    if !repository.keys.is_empty() || repository.trusted || repository.url.starts_with('/') {
        return None;
    }
    provider.repositories.iter().find(|r| r.suite == repository.codename)
}

#[cfg(test)]
mod tests;
