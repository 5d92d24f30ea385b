//! Which server each archive is fetched from.
//!
//! Provider data names no mirror of Debian. In this order the base URL of an archive comes from
//! `--mirror`, the environment (`OIC_MIRROR_DEBIAN`), `mirrors:` of the configuration, the
//! template's `packageRepositories`, the host's apt sources, and last from the provider itself if
//! its vendor has a server of its own. Signatures make any mirror safe.

use std::ffi::OsString;
use std::fmt;

use crate::provider::{Provider, ProviderRepository};
use crate::template::model::{PackageRepository, Template};

const PREFIX: &str = "OIC_MIRROR_";

/// What said where an archive is, in the order of precedence.
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
            Self::Flag => "--mirror",
            Self::Environment => "the environment",
            Self::Config => "the configuration file",
            Self::Template => "the template",
            Self::Host => "the host's apt sources",
            Self::Provider => "the provider",
        })
    }
}

/// No mirror is known, or one cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// Nothing says where the archive is.
    #[error(
        "no mirror is known for the archive {archive}: give --mirror {archive}=URL, set {variable}, \
         write \"mirrors: {{{archive}: URL}}\" into the configuration file, add a repository with the codename {suite} \
         and a url to packageRepositories of the template, or build on a host whose apt sources have the archive"
    )]
    Unknown {
        /// The archive.
        archive: String,
        /// The environment variable for it.
        variable: String,
        /// A suite of the archive.
        suite: String,
    },
    /// The text is no URL.
    #[error("{origin}: {url:?} is not a mirror: it must start with http://, https:// or file:///")]
    BadUrl {
        /// The text.
        url: String,
        /// Where it was given.
        origin: Origin,
    },
    /// A name without a URL, or the other way round.
    #[error(
        "--mirror {0:?} is not a mirror: give URL, or NAME=URL such as debian-security=https://example.org/debian-security"
    )]
    BadFlag(String),
}

/// The environment variable that names the mirror of an archive, such as `OIC_MIRROR_DEBIAN_SECURITY`.
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

/// The mirrors that a program run was given. The template's are added by [`Mirrors::resolve`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Archive name (`None`: the main archive of whatever provider), URL, origin.
    entries: Vec<(Option<String>, String, Origin)>,
}

impl Mirrors {
    /// No mirrors yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a `--mirror` argument: `NAME=URL`, or `URL` for the provider's main archive.
    ///
    /// # Errors
    /// [`MirrorError`] if it is neither.
    pub fn add_flag(&mut self, argument: &str) -> Result<(), MirrorError> {
        let bad = || MirrorError::BadFlag(argument.to_owned());
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match argument.split_once('=') {
            Some((name, url)) if is_name(name) => self.add(Some(name), url, Origin::Flag),
            _ if argument.contains("://") => self.add(None, argument, Origin::Flag),
            _ => Err(bad()),
        }
    }

    /// Adds every `OIC_MIRROR_*` of the environment; other variables are not looked at.
    ///
    /// # Errors
    /// [`MirrorError::BadUrl`].
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
    /// [`MirrorError::BadUrl`].
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
                url: url.to_owned(),
                origin,
            });
        }
        self.entries
            .push((archive.map(str::to_owned), url.trim_end_matches('/').to_owned(), origin));
        Ok(())
    }

    /// The base URL (without a slash at the end) of one of the provider's archives, and what
    /// said so. For another archive than the main one, what names it counts first; else it is
    /// taken to lie beside the main one ([`sibling`]). A plain `--mirror URL` outranks both.
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
        // What has a server of its own is no part of the main archive's server.
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

/// The URL of `archive` on the server of `main_url`: the last path component that is called as
/// the main archive is exchanged (`…/debian` and `…/debian/20250101T000000Z` both work).
fn sibling(main_url: &str, main: &str, archive: &str) -> Option<String> {
    let mut parts: Vec<&str> = main_url.split('/').collect();
    // Scheme, nothing, host: the path starts after them.
    let last = parts.iter().rposition(|part| *part == main).filter(|at| *at > 2)?;
    *parts.get_mut(last)? = archive;
    Some(parts.join("/"))
}

/// The provider's repository that a repository of the template is only a mirror of: it has its
/// codename and brings no key of its own, so it can only be verified with the provider's keys.
pub(super) fn mirrored<'a>(repository: &PackageRepository, provider: &'a Provider) -> Option<&'a ProviderRepository> {
    if !repository.keys.is_empty() || repository.trusted || repository.url.starts_with('/') {
        return None;
    }
    provider.repositories.iter().find(|r| r.suite == repository.codename)
}

#[cfg(test)]
mod tests;
