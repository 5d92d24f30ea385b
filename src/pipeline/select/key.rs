//! The key under which a resolution is remembered: all that it depends on.

use serde::Serialize;

use crate::package::{Arch, ForeignArch, PackageFilter, Sha256};
use crate::pipeline::context::Context;
use crate::repo::{ReleaseInfo, Repository};
use crate::resolve;

/// The version of the answers; it counts up when the room makes another answer of the same resolutions.
const VERSION: u32 = 1;

/// All that a resolution depends on, besides what the repositories offer.
#[derive(Debug, Clone, Serialize)]
pub struct Asked<'a> {
    /// The provider's id.
    pub provider: String,
    /// The architecture of the image.
    pub arch: Arch,
    /// The packages that the base starts from.
    pub base: &'a [String],
    /// The packages that the provider's images have in common.
    pub common: &'a [String],
    /// The packages that the image gets: those of the default template, and the template's own.
    pub packages: &'a [String],
    /// The packages that the template itself names.
    pub named: &'a [String],
    /// Names of packages that the image must not have.
    pub removed: &'a [String],
    /// Whether all packages come with what they recommend.
    pub recommends: bool,
    /// The names of those that do in any case.
    pub recommends_of: &'a [String],
    /// The architectures besides that of the image.
    pub foreign: &'a [ForeignArch],
    /// The kernel version that the template wants.
    pub kernel_version: Option<&'a str>,
    /// The packages of the kernel.
    pub kernel_packages: &'a [String],
    /// Ids of the provider's own repositories: the base comes from them alone.
    pub own: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    /// Gives what the request of `context` depends on.
    pub fn of(context: &'a Context<'_>) -> Self {
        let loaded = context.loaded();
        let (template, provider) = (&loaded.template, &loaded.provider);
        Self {
            provider: provider.id(),
            arch: template.target.arch,
            base: &provider.base_packages,
            common: &loaded.default_packages,
            packages: &template.system.packages,
            named: &loaded.own_packages,
            removed: &template.system.removed_packages,
            recommends: template.system.recommends,
            recommends_of: &template.system.recommends_of,
            foreign: &template.system.foreign_architectures,
            kernel_version: template.system.kernel.version.as_deref(),
            kernel_packages: &template.system.kernel.packages,
            own: provider.repositories.iter().map(|own| own.id.as_str()).collect(),
        }
    }
}

/// A repository, as far as a resolution depends on it.
#[derive(Serialize)]
struct Offer<'a> {
    id: &'a str,
    suite: &'a str,
    components: &'a [String],
    keys: Vec<Sha256>,
    signed: String,
    trusted: bool,
    priority: i32,
    allow_packages: &'a [String],
    exclude_packages: &'a [String],
}

impl<'a> Offer<'a> {
    fn of(repository: &'a Repository) -> Self {
        // Taken apart without `..`, so that nothing new is forgotten here.
        let Repository {
            id,
            base_url: _,
            mirror_list: _,
            suite,
            components,
            keys,
            signed,
            trusted,
            priority,
            filter: PackageFilter { allow, exclude },
            // These decide whether there is an answer, not which.
            checks: _,
            // The root is a digest over what they say.
            files: _,
        } = repository;
        Self {
            id,
            suite,
            components,
            keys: keys.iter().map(Sha256::of).collect(),
            signed: format!("{signed:?}"),
            trusted: *trusted,
            priority: *priority,
            allow_packages: allow,
            exclude_packages: exclude,
        }
    }
}

/// The root of a repository's metadata, as far as a resolution depends on it.
#[derive(Serialize)]
struct Root<'a> {
    id: &'a str,
    date: i64,
    suite: &'a str,
    codename: &'a str,
    sha256: Sha256,
}

impl<'a> Root<'a> {
    fn of((id, release): &'a (String, ReleaseInfo)) -> Self {
        // As above.
        let ReleaseInfo {
            date,
            suite,
            codename,
            sha256,
            signer: _,
        } = release;
        Self {
            id,
            date: *date,
            suite,
            codename,
            sha256: *sha256,
        }
    }
}

/// Makes a digest over all inputs of a resolution. The place that a repository was read from is none of them: the
/// repository's digest identifies it.
pub fn key(asked: &Asked<'_>, repositories: &[Repository], releases: &[(String, ReleaseInfo)]) -> Sha256 {
    let inputs = serde_json::json!({
        "program": env!("CARGO_PKG_VERSION"),
        "version": (VERSION, resolve::VERSION),
        "asked": asked,
        "repositories": repositories.iter().map(Offer::of).collect::<Vec<_>>(),
        "releases": releases.iter().map(Root::of).collect::<Vec<_>>(),
    });
    Sha256::of(inputs.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::repo::{MirrorList, Signed};

    fn repository() -> Repository {
        Repository {
            id: "main".into(),
            base_url: "http://a.example/debian".into(),
            mirror_list: None,
            suite: "trixie".into(),
            components: vec!["main".into()],
            keys: vec![b"key".to_vec()],
            signed: Signed::Metadata,
            trusted: false,
            priority: 500,
            filter: PackageFilter::default(),
            checks: Default::default(),
            files: None,
        }
    }

    fn release() -> ReleaseInfo {
        ReleaseInfo {
            date: 1,
            suite: "stable".into(),
            codename: "trixie".into(),
            sha256: Sha256::of("one"),
            signer: None,
        }
    }

    fn key_of<'a>(
        change: impl FnOnce(&mut Asked<'a>, &mut Vec<Repository>, &mut Vec<(String, ReleaseInfo)>),
    ) -> Sha256 {
        let mut asked = Asked {
            provider: "debian-debian13-x86_64".into(),
            arch: Arch::X86_64,
            base: &[],
            common: &[],
            packages: &[],
            named: &[],
            removed: &[],
            recommends: false,
            recommends_of: &[],
            foreign: &[],
            kernel_version: None,
            kernel_packages: &[],
            own: vec!["main"],
        };
        let mut repositories = vec![repository()];
        let mut releases = vec![("main".to_owned(), release())];
        change(&mut asked, &mut repositories, &mut releases);
        key(&asked, &repositories, &releases)
    }

    #[test]
    fn every_input_changes_the_key() {
        let name = ["bash".to_owned()];
        let keys = [
            key_of(|_, _, _| {}),
            key_of(|asked, _, _| asked.provider = "debian-debian12-x86_64".into()),
            key_of(|asked, _, _| asked.arch = Arch::Aarch64),
            key_of(|asked, _, _| asked.base = &name),
            key_of(|asked, _, _| asked.common = &name),
            key_of(|asked, _, _| asked.packages = &name),
            key_of(|asked, _, _| asked.named = &name),
            key_of(|asked, _, _| asked.removed = &name),
            key_of(|asked, _, _| asked.recommends = true),
            key_of(|asked, _, _| asked.recommends_of = &name),
            key_of(|asked, _, _| asked.foreign = &[ForeignArch::I386]),
            key_of(|asked, _, _| asked.kernel_version = Some("6.12")),
            key_of(|asked, _, _| asked.kernel_packages = &name),
            key_of(|asked, _, _| asked.own = vec![]),
            key_of(|_, repositories, _| repositories[0].id = "other".into()),
            key_of(|_, repositories, _| repositories[0].suite = "forky".into()),
            key_of(|_, repositories, _| repositories[0].components.push("contrib".into())),
            key_of(|_, repositories, _| repositories[0].keys[0] = b"another".to_vec()),
            key_of(|_, repositories, _| repositories[0].keys.push(b"another".to_vec())),
            key_of(|_, repositories, _| repositories[0].signed = Signed::Packages),
            key_of(|_, repositories, _| repositories[0].signed = Signed::Both),
            key_of(|_, repositories, _| repositories[0].trusted = true),
            key_of(|_, repositories, _| repositories[0].priority = 501),
            key_of(|_, repositories, _| repositories[0].filter.allow.push("bash".into())),
            key_of(|_, repositories, _| repositories[0].filter.exclude.push("bash".into())),
            key_of(|_, repositories, _| repositories.push(repository())),
            key_of(|_, _, releases| releases[0].0 = "other".into()),
            key_of(|_, _, releases| releases[0].1.date = 2),
            key_of(|_, _, releases| releases[0].1.suite = "oldstable".into()),
            key_of(|_, _, releases| releases[0].1.codename = "bookworm".into()),
            key_of(|_, _, releases| releases[0].1.sha256 = Sha256::of("two")),
            key_of(|_, _, releases| releases.push(("other".into(), release()))),
        ];
        let distinct: BTreeSet<_> = keys.iter().map(Sha256::to_string).collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn where_a_repository_was_read_from_does_not() {
        let same = [
            key_of(|_, repositories, _| repositories[0].base_url = "http://b.example/debian".into()),
            key_of(|_, repositories, _| repositories[0].mirror_list = Some(MirrorList::Plain("http://l".into()))),
            key_of(|_, repositories, _| repositories[0].checks.valid_until = false),
            key_of(|_, _, releases| releases[0].1.signer = Some("F00".into())),
        ];
        assert_eq!(same, [key_of(|_, _, _| {}); 4]);
    }
}
