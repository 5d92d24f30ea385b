//! Makes a resolution from a proposal and a request, by the rules of every package format.

use std::collections::{HashMap, HashSet};

use crate::package::{Dependency, DependencyKind, Resolution, ResolvedPackage};

use super::order::install_order;
use super::solver::{self, Conditions, Contradiction, PackageId};

/// The packages as a resolution sees them, beyond what the solver needs.
pub(super) trait Catalogue: solver::Universe {
    /// Returns, for each need of `package`, the first of `chosen` that satisfies it.
    fn satisfiers(&self, package: PackageId, chosen: &HashSet<PackageId>) -> Vec<(PackageId, DependencyKind)>;
    /// Returns, for each thing that `package` recommends, the first of `chosen` that is it.
    fn wished(&self, package: PackageId, chosen: &HashSet<PackageId>) -> Vec<PackageId>;
    /// Returns the package's name.
    fn label(&self, package: PackageId) -> &str;
    /// Returns whether the package, with its needs, comes before all others.
    fn goes_first(&self, package: PackageId) -> bool;
    /// Returns what the resolution keeps of the package.
    fn resolved(&self, package: PackageId) -> ResolvedPackage;
    /// Returns whether the package can be installed, rather than being a helper of the encoding.
    fn is_real(&self, package: PackageId) -> bool;
}

/// A requirement of the request.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// The packages that fulfil it, best first; never empty.
    pub(super) candidates: Vec<PackageId>,
    /// The requirement comes from an essential package, not from a requested name.
    pub(super) implied: bool,
    /// The request names a version.
    pub(super) exact: bool,
    /// What the package and its needs recommend is wanted too.
    pub(super) recommending: bool,
}

/// The packages that a walk proposes.
#[derive(Debug, Clone, Default)]
pub(super) struct Proposal {
    pub(super) packages: HashSet<PackageId>,
    /// Those of which the recommendations were followed.
    pub(super) wishing: HashSet<PackageId>,
}

impl Proposal {
    /// Returns the proposed packages that the others recommend, in ascending order.
    fn wished(&self, universe: &impl Catalogue) -> Vec<PackageId> {
        let wished = self.wishing.iter().flat_map(|id| universe.wished(*id, &self.packages));
        let mut wished: Vec<_> = wished.collect();
        wished.sort_unstable();
        wished.dedup();
        wished
    }
}

impl Root {
    pub(super) fn new(candidates: Vec<PackageId>) -> Self {
        Self {
            candidates,
            implied: false,
            exact: false,
            recommending: false,
        }
    }

    /// Returns the candidate that is chosen if nothing excludes it.
    pub(super) fn preferred(&self) -> PackageId {
        self.candidates.first().copied().unwrap_or_default()
    }

    /// Returns the best candidate among `chosen`.
    pub(super) fn fulfilled_by(&self, chosen: &HashSet<PackageId>) -> Option<PackageId> {
        self.candidates.iter().copied().find(|id| chosen.contains(id))
    }
}

/// Applies a requested version also to the requests for the same name alone.
pub(super) fn unify(universe: &impl Catalogue, roots: &mut [Root]) {
    let exact: HashMap<_, _> = roots
        .iter()
        .filter(|root| root.exact)
        .map(|root| (universe.name(root.preferred()), root.candidates.clone()))
        .collect();
    for root in roots.iter_mut().filter(|root| !root.exact) {
        if let Some(candidates) = exact.get(&universe.name(root.preferred())) {
            root.candidates.clone_from(candidates);
        }
    }
}

/// Returns the proposal if it holds, else a solution that departs from it only where it must.
pub(super) fn decide(universe: &impl Catalogue, roots: &[Root], proposal: Proposal) -> Result<Proposal, Contradiction> {
    let mut all: Vec<_> = proposal.packages.iter().map(|package| vec![*package]).collect();
    all.sort_unstable();
    let exactly = Conditions {
        roots: all,
        ..Conditions::default()
    };
    let real = |packages: Vec<PackageId>| -> HashSet<_> {
        packages
            .into_iter()
            .filter(|package| universe.is_real(*package))
            .collect()
    };
    if roots.iter().all(|root| root.fulfilled_by(&proposal.packages).is_some())
        && let Ok(packages) = solver::solve(universe, &exactly)
        && real(packages).len() == proposal.packages.len()
    {
        return Ok(proposal);
    }
    tracing::debug!("the first choice does not hold; searching for a solution near it");
    let near = Conditions {
        roots: roots.iter().map(|root| root.candidates.clone()).collect(),
        wished: proposal.wished(universe),
        favoured: proposal.packages,
    };
    let chosen = real(solver::solve(universe, &near)?);
    let mut wishing = proposal.wishing;
    wishing.retain(|id| chosen.contains(id));
    Ok(Proposal {
        packages: needed(universe, roots, &chosen, &wishing),
        wishing,
    })
}

/// Returns the packages of `chosen` that the roots lead to; the solver may keep leftovers of its search.
fn needed(
    universe: &impl Catalogue,
    roots: &[Root],
    chosen: &HashSet<PackageId>,
    wishing: &HashSet<PackageId>,
) -> HashSet<PackageId> {
    let mut queue: Vec<_> = roots.iter().filter_map(|root| root.fulfilled_by(chosen)).collect();
    let mut needed: HashSet<_> = queue.iter().copied().collect();
    while let Some(package) = queue.pop() {
        let mut others: Vec<_> = universe
            .satisfiers(package, chosen)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        if wishing.contains(&package) {
            others.extend(universe.wished(package, chosen));
        }
        for other in others {
            if needed.insert(other) {
                queue.push(other);
            }
        }
    }
    needed
}

/// The needs of each package, with the packages that satisfy them.
type Edges = HashMap<PackageId, Vec<(PackageId, DependencyKind)>>;

/// Puts the chosen packages in the order of installation and finds the edges between them.
pub(super) fn arrange(universe: &impl Catalogue, roots: &[Root], decided: &Proposal) -> Resolution {
    let chosen = &decided.packages;
    let mut packages: Vec<_> = chosen.iter().copied().collect();
    packages.sort_unstable();
    let mut edges: Edges = packages
        .iter()
        .map(|id| (*id, universe.satisfiers(*id, chosen)))
        .collect();
    let first = closure(universe, &packages, &edges);
    packages.sort_by_key(|id| (!first.contains(id), universe.label(*id)));
    for id in decided.wishing.iter().filter(|id| chosen.contains(id)) {
        let wished = universe.wished(*id, chosen).into_iter();
        let wished = wished.map(|other| (other, DependencyKind::Recommends));
        edges.entry(*id).or_default().extend(wished);
    }
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
        packages: order.iter().map(|old| universe.resolved(packages[*old])).collect(),
        dependencies,
        requested,
    }
}

/// Returns the packages that go first, with all their needs.
fn closure(universe: &impl Catalogue, packages: &[PackageId], edges: &Edges) -> HashSet<PackageId> {
    let mut queue: Vec<_> = packages.iter().copied().filter(|id| universe.goes_first(*id)).collect();
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
