//! Finds the packages of the universe that a request names.

use crate::package::{DebVersion, glob};
use crate::resolve::answer::{Root, unify};
use crate::resolve::error::similar;
use crate::resolve::solver::PackageId;
use crate::resolve::{ResolveError, Wanted};

use super::universe::Universe;

/// Looks up all requested packages; essential packages come first.
pub(super) fn roots(universe: &Universe<'_>, wanted: &Wanted<'_>) -> Result<Vec<Root>, ResolveError> {
    let mut roots = Vec::new();
    if wanted.include_essential {
        let essential = universe.index.candidates().filter(|id| universe.record(*id).essential);
        roots.extend(essential.map(|id| Root {
            implied: true,
            ..Root::new(universe.index.versions(&universe.record(id).name).to_vec())
        }));
    }
    for text in wanted.packages {
        let recommending = wanted.recommending.contains(text);
        let found = look_up(universe, text)?.into_iter();
        roots.extend(found.map(|root| Root { recommending, ..root }));
    }
    unify(universe, &mut roots);
    Ok(roots)
}

/// Looks up `name[:architecture][=version]`, where the name may be a glob, or `name_version`.
fn look_up(universe: &Universe<'_>, text: &str) -> Result<Vec<Root>, ResolveError> {
    let pinned = pinned(universe, text);
    let text = pinned.as_deref().unwrap_or(text);
    let (rest, version) = match text.split_once('=') {
        Some((rest, version)) => (rest, Some(version)),
        None => (text, None),
    };
    let (name, arch) = match rest.split_once(':') {
        Some((name, arch)) => (name, Some(arch)),
        None => (rest, None),
    };
    if name.is_empty() || version.is_some_and(str::is_empty) {
        return Err(ResolveError::Malformed { text: text.to_owned() });
    }
    let place = match arch {
        None | Some("any" | "native") => Some(0),
        Some(arch) => universe.index.place(arch),
    };
    let Some(place) = place else {
        return Err(ResolveError::OtherArchitecture {
            text: text.to_owned(),
            architecture: arch.unwrap_or_default().to_owned(),
            target: universe.arch.deb(),
        });
    };
    if place > 0 {
        return Ok(vec![root(universe, (place, name), rest, version)?]);
    }
    if !glob::is_pattern(name) {
        return Ok(vec![root(universe, (0, name), name, version)?]);
    }
    let mut names: Vec<_> = universe
        .index
        .names()
        .filter(|other| glob::matches(name, other))
        .collect();
    if names.is_empty() {
        return Err(ResolveError::NothingMatches {
            pattern: text.to_owned(),
        });
    }
    names.sort_unstable();
    let root = |name| root(universe, (0, name), name, version);
    names.into_iter().map(root).collect()
}

/// Looks up a name of the architecture at `place`; the user calls it `told`.
fn root(
    universe: &Universe<'_>,
    (place, name): (usize, &str),
    told: &str,
    version: Option<&str>,
) -> Result<Root, ResolveError> {
    let mut versions = universe.index.versions_at(place, name);
    if versions.is_empty() && !told.contains(':') {
        // As with apt, one of another architecture if the machine's own has none.
        versions = universe.index.foreign_versions(name);
    }
    if versions.is_empty() {
        return virtual_root(universe, place, told);
    }
    let Some(wanted) = version else {
        return Ok(Root::new(versions.to_vec()));
    };
    let fits = |id: &PackageId| DebVersion::new(&universe.record(*id).version) == DebVersion::new(wanted);
    let candidates: Vec<_> = versions.iter().copied().filter(fits).collect();
    if candidates.is_empty() {
        return Err(ResolveError::NoSuchVersion {
            name: told.to_owned(),
            version: wanted.to_owned(),
            available: versions
                .iter()
                .map(|id| universe.record(*id).version.to_string())
                .collect(),
        });
    }
    Ok(Root {
        exact: true,
        ..Root::new(candidates)
    })
}

/// Returns `name[:architecture]=version` for a `text` of the form `name_version[_architecture][.deb]`, as files of
/// packages are named and older templates have it: no name of a package has a `_` (Debian Policy 5.6.7). The version may
/// lack its epoch, as in names of files; the best version that fits gives it.
fn pinned(universe: &Universe<'_>, text: &str) -> Option<String> {
    let text = text.strip_suffix(".deb").unwrap_or(text);
    let mut parts = text.split('_').filter(|_| !text.contains('='));
    let (name, version) = (parts.next()?, parts.next()?);
    let arch = parts.next().map_or_else(String::new, |arch| format!(":{arch}"));
    // A file name has the colon of an epoch encoded.
    let version = version.replace("%3a", ":");
    let versions = universe.index.versions(name).iter();
    let mut known = versions.map(|id| &*universe.record(*id).version);
    let fits = |known: &&str| *known == version || known.split_once(':').is_some_and(|(_, rest)| rest == version);
    let found = known.find(fits);
    Some(format!("{name}{arch}={}", found.unwrap_or(&version)))
}

/// Looks up a name that only `Provides` fields have; it can be requested if it leaves no choice, as with apt.
fn virtual_root(universe: &Universe<'_>, place: usize, told: &str) -> Result<Root, ResolveError> {
    let name = told.split(':').next().unwrap_or(told);
    let providers = universe.index.providers(name).map(|(owner, _)| owner);
    let is_here = |id: &PackageId| universe.place(*id) == place && universe.index.candidate(*id) == *id;
    let mut providers: Vec<_> = providers.filter(is_here).collect();
    providers.dedup();
    match providers[..] {
        [only] => Ok(Root::new(vec![only])),
        [] => Err(ResolveError::UnknownPackage {
            name: told.to_owned(),
            similar: similar(name, universe.index.names()),
        }),
        _ => {
            let mut names: Vec<_> = providers
                .iter()
                .map(|id| universe.record(*id).name.to_string())
                .collect();
            names.sort_unstable();
            Err(ResolveError::Virtual {
                name: told.to_owned(),
                providers: names,
            })
        }
    }
}
