//! Resolution of RPM packages: all that rpm-dependencies(7) says but weak dependencies, with dnf's
//! choice where that is unique.
//!
//! As for deb, a walk proposes what dnf would choose, then the solver checks that and, where it does
//! not hold, finds what does while staying close to it. Rich dependencies become clauses, see `clause`.

mod clause;
mod facts;
pub mod groups;
mod index;
mod request;
mod universe;
mod walk;

use std::collections::BTreeSet;

use crate::package::{Arch, Resolution, RpmRecord};
use crate::repo::rpm::FileOwners;

use super::answer::{arrange, decide};
use super::explain::unsolvable;
use super::{Request, ResolveError, Wanted};
use universe::Universe;

/// What several requests are resolved from: records, indexed once.
#[derive(Debug)]
pub struct Resolver<'a>(Universe<'a>);

impl<'a> Resolver<'a> {
    /// Indexes `records`, those of all repositories for `arch`, in the order of the repositories; a version that
    /// several offer is taken from the first.
    pub fn new(arch: Arch, records: &'a [RpmRecord]) -> Self {
        Self(Universe::new(arch, records))
    }

    /// Finds the packages to install for `wanted`, which is for the same architecture, without weak dependencies.
    ///
    /// Of several providers the one from the repository of greatest priority is taken, then the newest version, then
    /// what the repositories list first. `find_files` is asked, at most a few times, who has files that somebody needs
    /// and that primary indexes do not list ([`crate::repo::rpm::lists_file`]).
    ///
    /// # Errors
    /// If something is asked for that does not exist, or if no set of packages fulfils the request (the
    /// error says who needs or excludes whom), or what `find_files` says.
    pub fn resolve<E: From<ResolveError>>(
        &mut self,
        wanted: &Wanted<'_>,
        mut find_files: impl FnMut(&BTreeSet<String>) -> Result<FileOwners, E>,
    ) -> Result<Resolution, E> {
        let universe = &mut self.0;
        // The answer must not depend on what was asked before.
        universe.forget();
        loop {
            let answer = resolve_once(wanted, universe);
            let unknown = universe.unknown_files();
            if unknown.is_empty() {
                return Ok(answer?);
            }
            let owners = find_files(&unknown)?;
            universe.add_files(unknown, &owners);
        }
    }
}

/// [`Resolver::resolve`] for one request.
///
/// # Errors
/// As there.
pub fn resolve<E: From<ResolveError>>(
    request: &Request,
    records: &[RpmRecord],
    find_files: impl FnMut(&BTreeSet<String>) -> Result<FileOwners, E>,
) -> Result<Resolution, E> {
    Resolver::new(request.arch, records).resolve(&request.wanted(), find_files)
}

/// The answer as far as files are known.
fn resolve_once(wanted: &Wanted<'_>, universe: &Universe<'_>) -> Result<Resolution, ResolveError> {
    let texts = wanted.packages.iter().map(String::as_str);
    let (mut conditional, mut asked): (Vec<_>, Vec<_>) = texts.partition(|text| request::conditional(text).is_some());
    loop {
        let roots = request::roots(universe, &asked)?;
        let proposal = walk::propose(universe, &roots);
        universe.expect(&proposal);
        let packages =
            decide(universe, &roots, proposal).map_err(|contradiction| unsolvable(universe, &roots, &contradiction))?;
        let met = conditional.extract_if(.., |text| {
            let other = request::conditional(text).map(|(_, other)| universe.satisfying(&other));
            other.is_some_and(|other| other.iter().any(|id| packages.contains(id)))
        });
        let met: Vec<_> = met.filter_map(|text| Some(request::conditional(text)?.0)).collect();
        if met.is_empty() {
            return Ok(arrange(universe, &roots, &packages));
        }
        asked.extend(met);
    }
}

#[cfg(test)]
mod tests;
