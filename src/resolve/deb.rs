//! Resolution of deb packages: all that Debian Policy chapter 7 and
//! apt_preferences(5) say, with apt's choice where there are several answers.
//!
//! First a walk finds out what apt would choose, then the solver checks that and,
//! where it does not hold, finds what does while staying close to it.

mod explain;
mod index;
mod mention;
mod request;
mod universe;
mod walk;

use std::collections::{HashMap, HashSet};

use crate::package::{Dependency, PackageRecord, Resolution, ResolvedPackage};

use super::order::install_order;
use super::solver::{self, PackageId, Wanted};
use super::{Request, ResolveError};
use request::Root;
use universe::Universe;

/// Finds the packages to install for `request` among `records`.
///
/// `records` are those of all repositories, in the order of the repositories;
/// a version that several offer is taken from the first. The packages of the
/// result are in the order of installation: what a package needs comes before it,
/// essential packages with what they need come before all others.
///
/// # Errors
/// If something is asked for that does not exist, or if no set of packages
/// fulfils the request; the error says who needs or excludes whom.
pub fn resolve(request: &Request, records: &[PackageRecord]) -> Result<Resolution, ResolveError> {
    let universe = Universe::new(request.arch, records);
    let roots = request::roots(&universe, request)?;
    let requested: Vec<_> = roots.iter().map(Root::preferred).collect();
    let proposal = walk::propose(&universe, &requested);
    let packages = decide(&universe, &roots, proposal)?;
    Ok(arrange(&universe, &roots, &packages))
}

/// The walk's proposal if it holds, else a solution that departs from it only where it must.
fn decide(
    universe: &Universe<'_>,
    roots: &[Root],
    proposal: HashSet<PackageId>,
) -> Result<HashSet<PackageId>, ResolveError> {
    let mut all: Vec<_> = proposal.iter().map(|package| vec![*package]).collect();
    all.sort_unstable();
    let exactly = Wanted {
        roots: all,
        favoured: HashSet::new(),
    };
    if let Ok(packages) = solver::solve(universe, &exactly)
        && packages.len() == proposal.len()
    {
        return Ok(proposal);
    }
    tracing::debug!("apt's first choice does not hold; searching for a solution near it");
    let near = Wanted {
        roots: roots.iter().map(|root| root.candidates.clone()).collect(),
        favoured: proposal,
    };
    match solver::solve(universe, &near) {
        Ok(packages) => Ok(needed(universe, roots, &packages.into_iter().collect())),
        Err(contradiction) => Err(explain::unsolvable(universe, roots, &contradiction)),
    }
}

/// Those of `chosen` that the roots lead to; the solver may keep leftovers of its search.
fn needed(universe: &Universe<'_>, roots: &[Root], chosen: &HashSet<PackageId>) -> HashSet<PackageId> {
    let mut queue: Vec<_> = roots.iter().filter_map(|root| root.fulfilled_by(chosen)).collect();
    let mut needed: HashSet<_> = queue.iter().copied().collect();
    while let Some(package) = queue.pop() {
        for (other, _) in satisfiers(universe, package, chosen) {
            if needed.insert(other) {
                queue.push(other);
            }
        }
    }
    needed
}

/// For each need of `package` the first of `chosen` that satisfies it.
fn satisfiers(
    universe: &Universe<'_>,
    package: PackageId,
    chosen: &HashSet<PackageId>,
) -> Vec<(PackageId, crate::package::DependencyKind)> {
    let relations = universe.relations(package);
    let needs = relations.needs.iter();
    needs
        .filter_map(|need| {
            let satisfier = need.packages().find(|candidate| chosen.contains(candidate))?;
            Some((satisfier, need.kind))
        })
        .collect()
}

/// Puts the chosen packages in order and names the edges between them.
fn arrange(universe: &Universe<'_>, roots: &[Root], chosen: &HashSet<PackageId>) -> Resolution {
    let mut packages: Vec<_> = chosen.iter().copied().collect();
    let edges: HashMap<_, _> = packages
        .iter()
        .map(|id| (*id, satisfiers(universe, *id, chosen)))
        .collect();
    let first = essential_closure(universe, &packages, &edges);
    packages.sort_by_key(|id| (!first.contains(id), &universe.record(*id).name));
    let place: HashMap<_, _> = packages.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut dependencies = Vec::new();
    for (from, id) in packages.iter().enumerate() {
        for (to, kind) in edges.get(id).into_iter().flatten() {
            if let Some(to) = place.get(to).copied().filter(|to| *to != from) {
                dependencies.push(Dependency { from, to, kind: *kind });
            }
        }
    }
    let order = install_order(packages.len(), &dependencies);
    let mut position = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        position[*old] = new;
    }
    for edge in &mut dependencies {
        (edge.from, edge.to) = (position[edge.from], position[edge.to]);
    }
    dependencies.sort_unstable();
    dependencies.dedup_by_key(|edge| (edge.from, edge.to));
    let mut requested: Vec<_> = roots
        .iter()
        .filter(|root| !root.implied)
        .filter_map(|root| place.get(&root.fulfilled_by(chosen)?).map(|at| position[*at]))
        .collect();
    requested.sort_unstable();
    requested.dedup();
    Resolution {
        packages: order
            .iter()
            .map(|old| resolved(universe.record(packages[*old])))
            .collect(),
        dependencies,
        requested,
    }
}

/// Essential packages and all that they need.
fn essential_closure(
    universe: &Universe<'_>,
    packages: &[PackageId],
    edges: &HashMap<PackageId, Vec<(PackageId, crate::package::DependencyKind)>>,
) -> HashSet<PackageId> {
    let mut queue: Vec<_> = packages
        .iter()
        .copied()
        .filter(|id| universe.record(*id).essential)
        .collect();
    let mut closure: HashSet<_> = queue.iter().copied().collect();
    while let Some(package) = queue.pop() {
        for (other, _) in edges.get(&package).into_iter().flatten() {
            if closure.insert(*other) {
                queue.push(*other);
            }
        }
    }
    closure
}

fn resolved(record: &PackageRecord) -> ResolvedPackage {
    ResolvedPackage {
        name: record.name.to_string(),
        version: record.version.to_string(),
        architecture: record.architecture.to_string(),
        repository: record.repository.to_string(),
        path: record.path.to_string(),
        size_bytes: record.size_bytes,
        installed_size_bytes: record.installed_size_bytes,
        sha256: record.sha256,
        stanza: record.stanza.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests;
