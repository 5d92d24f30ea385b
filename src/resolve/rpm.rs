//! Resolution of RPM packages, by the rules of rpm-dependencies(7), with dnf's choice where that is unique. Of weak
//! dependencies `Recommends` is followed where that is asked for.
//!
//! As for deb, a walk proposes the packages that dnf would choose. Then the solver checks the proposal and, where it
//! does not hold, finds a solution close to it. Rich dependencies become clauses, see `clause`.

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

/// A resolver of several requests over the same records, which are indexed once.
#[derive(Debug)]
pub struct Resolver<'a>(Universe<'a>);

impl<'a> Resolver<'a> {
    /// Indexes `records`, those of all repositories for `arch`, in the order of the repositories; a version that
    /// several offer is taken from the first. Packages with a name of `without` are left out.
    pub fn new(arch: Arch, records: &'a [RpmRecord], without: &[String]) -> Self {
        Self(Universe::new(arch, records, without))
    }

    /// Finds the packages to install for `wanted`, which is for the same architecture.
    ///
    /// Of several providers the resolver takes the one from the repository of greatest priority, then the newest
    /// version, then the one that the repositories list first. It calls `find_files`, at most a few times, to find the
    /// owners of files that packages need and that primary indexes do not list ([`crate::repo::rpm::lists_file`]).
    ///
    /// # Errors
    /// If a requested package does not exist, or if no set of packages fulfils the request (the error says which
    /// package needs or excludes which), or the errors of `find_files`.
    pub fn resolve<E: From<ResolveError>>(
        &mut self,
        wanted: &Wanted<'_>,
        mut find_files: impl FnMut(&BTreeSet<String>) -> Result<FileOwners, E>,
    ) -> Result<Resolution, E> {
        let universe = &mut self.0;
        // The answer must not depend on earlier requests.
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

/// Does the same as [`Resolver::resolve`] for one request.
///
/// # Errors
/// Those of [`Resolver::resolve`].
pub fn resolve<E: From<ResolveError>>(
    request: &Request,
    records: &[RpmRecord],
    find_files: impl FnMut(&BTreeSet<String>) -> Result<FileOwners, E>,
) -> Result<Resolution, E> {
    Resolver::new(request.arch, records, &[]).resolve(&request.wanted(), find_files)
}

/// Resolves `wanted` with the owners of files known so far.
fn resolve_once(wanted: &Wanted<'_>, universe: &Universe<'_>) -> Result<Resolution, ResolveError> {
    let texts = wanted.packages.iter().map(String::as_str);
    let (mut conditional, mut asked): (Vec<_>, Vec<_>) = texts.partition(|text| request::conditional(text).is_some());
    loop {
        let roots = request::roots(universe, &asked, wanted.recommending)?;
        let proposal = walk::propose(universe, &roots);
        universe.expect(&proposal.packages);
        let decided =
            decide(universe, &roots, proposal).map_err(|contradiction| unsolvable(universe, &roots, &contradiction))?;
        let met = conditional.extract_if(.., |text| {
            let other = request::conditional(text).map(|(_, other)| universe.satisfying(&other));
            other.is_some_and(|other| other.iter().any(|id| decided.packages.contains(id)))
        });
        let met: Vec<_> = met.filter_map(|text| Some(request::conditional(text)?.0)).collect();
        if met.is_empty() {
            return Ok(arrange(universe, &roots, &decided));
        }
        asked.extend(met);
    }
}

#[cfg(test)]
mod tests;
