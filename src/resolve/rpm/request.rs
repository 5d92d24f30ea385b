//! Finds the packages of the universe that a request names.

use crate::package::{Arch, Capability, Evr, glob};
use crate::resolve::ResolveError;
use crate::resolve::answer::{Root, unify};
use crate::resolve::error::similar;
use crate::resolve::solver::PackageId;

use super::universe::Universe;

/// Returns the parts of `(name if other)`; `None` for any other form.
pub(super) fn conditional(text: &str) -> Option<(&str, Capability<'_>)> {
    let (name, other) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(" if ")?;
    Some((name, Capability::parse(other).ok()?))
}

/// Looks up all requested packages; `recommending` are those whose recommendations are wanted.
pub(super) fn roots(
    universe: &Universe<'_>,
    asked: &[&str],
    recommending: &[String],
) -> Result<Vec<Root>, ResolveError> {
    let mut roots = Vec::new();
    for text in asked {
        let recommending = recommending.iter().any(|one| one == text);
        let found = look_up(universe, text)?.into_iter();
        roots.extend(found.map(|root| Root { recommending, ..root }));
    }
    unify(universe, &mut roots);
    Ok(roots)
}

/// Looks up a name, a name with a version or an architecture or both, a pattern, a path, or a capability.
fn look_up(universe: &Universe<'_>, text: &str) -> Result<Vec<Root>, ResolveError> {
    if let Some((name, version)) = text.split_once('=').filter(|_| !text.starts_with('/')) {
        return Ok(vec![versioned(universe, text, name, version)?]);
    }
    if text.is_empty() {
        return Err(ResolveError::Malformed { text: text.to_owned() });
    }
    if glob::is_pattern(text) {
        return matching(universe, text);
    }
    let found = named(universe, text)
        .or_else(|| with_arch(universe, text))
        .or_else(|| with_version(universe, text))
        .or_else(|| provided(universe, text));
    match found {
        Some(root) => Ok(vec![root]),
        None => Err(unknown(universe, text)),
    }
}

fn unknown(universe: &Universe<'_>, text: &str) -> ResolveError {
    let other = text
        .rsplit_once('.')
        .and_then(|(name, arch)| Some((name, arch.parse::<Arch>().ok()?)));
    match other {
        Some((name, arch)) if arch != universe.arch && !universe.index.versions(name).is_empty() => {
            ResolveError::OtherArchitecture {
                text: text.to_owned(),
                architecture: arch.to_string(),
                target: universe.arch.rpm(),
            }
        }
        _ => ResolveError::UnknownPackage {
            name: text.to_owned(),
            similar: similar(text, universe.index.names()),
        },
    }
}

/// Looks up all versions of a name; packages that obsolete the best of them come before, as with dnf.
fn named(universe: &Universe<'_>, name: &str) -> Option<Root> {
    let versions = universe.index.versions(name);
    let mut candidates = universe.index.obsoleters(*versions.first()?);
    candidates.extend(versions);
    Some(Root::new(candidates))
}

/// Looks up `name=version`, where the version may lack release and epoch.
fn versioned(universe: &Universe<'_>, text: &str, name: &str, version: &str) -> Result<Root, ResolveError> {
    if name.is_empty() || version.is_empty() {
        return Err(ResolveError::Malformed { text: text.to_owned() });
    }
    let versions = universe.index.versions(name);
    if versions.is_empty() {
        return Err(unknown(universe, name));
    }
    let wanted = Evr::new(version);
    let fits = |id: &&PackageId| Evr::new(&universe.record(**id).evr).cmp_bound(&wanted).is_eq();
    let candidates: Vec<_> = versions.iter().filter(fits).copied().collect();
    if candidates.is_empty() {
        return Err(ResolveError::NoSuchVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            available: versions.iter().map(|id| universe.record(*id).evr.to_string()).collect(),
        });
    }
    Ok(Root {
        exact: true,
        ..Root::new(candidates)
    })
}

/// Looks up `name.arch`.
fn with_arch(universe: &Universe<'_>, text: &str) -> Option<Root> {
    let (name, arch) = text.rsplit_once('.')?;
    let versions = universe.index.versions(name).iter();
    let candidates: Vec<_> = versions
        .filter(|id| &*universe.record(**id).arch == arch)
        .copied()
        .collect();
    (!candidates.is_empty()).then(|| Root::new(candidates))
}

/// Looks up `name-[epoch:]version[-release][.arch]`.
fn with_version(universe: &Universe<'_>, text: &str) -> Option<Root> {
    let known = ["noarch", universe.arch.rpm()];
    let without_arch = text.rsplit_once('.').filter(|(_, arch)| known.contains(arch));
    let forms = [Some((text, None)), without_arch.map(|(rest, arch)| (rest, Some(arch)))];
    for (text, arch) in forms.into_iter().flatten() {
        let hyphens = text.rmatch_indices('-').take(2).map(|(at, _)| at);
        for at in hyphens {
            let (name, version) = (text.get(..at)?, text.get(at + 1..)?);
            let wanted = Evr::new(version);
            let fits = |id: &&PackageId| {
                let record = universe.record(**id);
                let own = Evr::new(&record.evr);
                // A version without an epoch matches any epoch.
                let own = Evr {
                    epoch: if wanted.epoch.is_empty() { "" } else { own.epoch },
                    ..own
                };
                own.cmp_bound(&wanted).is_eq() && arch.is_none_or(|arch| &*record.arch == arch)
            };
            let candidates: Vec<_> = universe.index.versions(name).iter().filter(fits).copied().collect();
            if !candidates.is_empty() {
                return Some(Root {
                    exact: true,
                    ..Root::new(candidates)
                });
            }
        }
    }
    None
}

/// Looks up a path, or another capability that packages provide.
fn provided(universe: &Universe<'_>, text: &str) -> Option<Root> {
    let candidates = universe.satisfying(&Capability::parse(text).ok()?);
    (!candidates.is_empty()).then(|| Root::new(candidates))
}

/// Looks up all matching names, or else all packages whose full name matches.
fn matching(universe: &Universe<'_>, pattern: &str) -> Result<Vec<Root>, ResolveError> {
    let mut names: Vec<_> = universe
        .index
        .names()
        .filter(|name| glob::matches(pattern, name))
        .collect();
    names.sort_unstable();
    if !names.is_empty() {
        return Ok(names.into_iter().filter_map(|name| named(universe, name)).collect());
    }
    let mut all: Vec<Vec<PackageId>> = Vec::new();
    for id in universe.index.packages() {
        let record = universe.record(id);
        let full = format!("{}-{}.{}", record.name, record.evr, record.arch);
        let without_arch = full.strip_suffix(&format!(".{}", record.arch));
        if glob::matches(pattern, &full) || without_arch.is_some_and(|full| glob::matches(pattern, full)) {
            let name = universe.index.name_of(id);
            match all
                .iter_mut()
                .find(|same| same.first().is_some_and(|first| universe.index.name_of(*first) == name))
            {
                Some(same) => same.push(id),
                None => all.push(vec![id]),
            }
        }
    }
    if all.is_empty() {
        return Err(ResolveError::NothingMatches {
            pattern: pattern.to_owned(),
        });
    }
    let mut roots = Vec::new();
    for mut same in all {
        let rank = |id: &PackageId| {
            let versions = universe.index.versions_of(universe.index.name_of(*id));
            versions.iter().position(|other| other == id)
        };
        same.sort_by_key(rank);
        roots.push(Root::new(same));
    }
    Ok(roots)
}
