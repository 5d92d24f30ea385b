//! The SAT solver behind a resolution, without the meaning of any package format.
//!
//! A [`Universe`] says which packages exist, what each requires (lists of candidates, preferred first) and what each
//! excludes; [`solve`] finds a set that fulfils all of it. The solver asks only for packages that can be reached from
//! the roots.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use resolvo::conflict::{ConflictCause, ConflictEdge, ConflictNode};
use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, DenseId, Dependencies, DependencyProvider, Interner,
    KnownDependencies, Problem, Requirement, Solver, SolverCache, StringId, UnsolvableOrCancelled, VersionSetId,
    VersionSetUnionId,
};

/// A package version: an index into the records of the universe.
pub(super) type PackageId = u32;
/// A name; all versions of a package share it and exclude each other.
pub(super) type NameId = u32;

/// The packages as the solver sees them.
pub(super) trait Universe {
    /// Returns a name without packages.
    fn no_name(&self) -> NameId;
    /// Returns the name of a package; a solution has at most one package of a name.
    fn name(&self, package: PackageId) -> NameId;
    /// Returns all packages of a name, best first.
    fn versions(&self, name: NameId) -> Vec<PackageId>;
    /// Returns the candidates of every requirement, preferred first; an empty list cannot be fulfilled.
    fn requirements(&self, package: PackageId) -> Vec<Vec<PackageId>>;
    /// Returns the packages that `package` excludes.
    fn exclusions(&self, package: PackageId) -> Vec<PackageId>;
    /// Describes a package for the solver's own log.
    fn describe(&self, package: PackageId) -> String;
}

/// The conditions of a solution.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    /// One candidate of each must be in the solution.
    pub(super) roots: Vec<Vec<PackageId>>,
    /// Candidates that come before all others.
    pub(super) favoured: HashSet<PackageId>,
    /// Packages that are in the solution if that is possible.
    pub(super) wished: Vec<PackageId>,
}

/// The needs and exclusions of the part of the problem that has no solution.
#[derive(Debug, Clone, Default)]
pub(super) struct Contradiction {
    /// Requirements; `None` as parent is the request itself; without candidates, none exists.
    pub(super) needs: Vec<(Option<PackageId>, Vec<PackageId>)>,
    /// Pairs in which the first excludes the second.
    pub(super) excludes: Vec<(PackageId, PackageId)>,
    /// Pairs of one name.
    pub(super) same_name: Vec<(PackageId, PackageId)>,
}

/// Finds packages that fulfil `wanted`, in ascending order.
///
/// # Errors
/// [`Contradiction`]: the part of the problem that contradicts itself.
pub(super) fn solve(universe: &impl Universe, wanted: &Conditions) -> Result<Vec<PackageId>, Contradiction> {
    let provider = Provider {
        universe,
        favoured: &wanted.favoured,
        tables: RefCell::default(),
    };
    let requirements = wanted
        .roots
        .iter()
        .map(|candidates| provider.requirement(candidates))
        .collect();
    let mut solver = Solver::new(provider);
    let wished = wanted.wished.iter().copied().map(Package::from_raw);
    let problem = Problem::new().requirements(requirements).soft_requirements(wished);
    match solver.solve(problem) {
        Ok(solution) => {
            let mut packages: Vec<_> = solution.into_iter().map(DenseId::into_raw).collect();
            packages.sort_unstable();
            Ok(packages)
        }
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => Err(contradiction(&conflict, &solver)),
        // oic never cancels the solver.
        Err(UnsolvableOrCancelled::Cancelled(_)) => Err(Contradiction::default()),
    }
}

#[derive(Debug)]
enum NameTag {}
#[derive(Debug)]
enum PackageTag {}
type Name = DenseId<NameTag>;
type Package = DenseId<PackageTag>;

/// Packages of one name: those in the list, or all but those.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Set {
    name: NameId,
    packages: Vec<PackageId>,
    inverted: bool,
}

#[derive(Debug, Default)]
struct Tables {
    sets: Vec<Set>,
    set_ids: HashMap<Set, VersionSetId>,
    unions: Vec<Vec<VersionSetId>>,
    union_ids: HashMap<Vec<VersionSetId>, VersionSetUnionId>,
}

/// A translator between the universe and resolvo's questions.
struct Provider<'u, U> {
    universe: &'u U,
    favoured: &'u HashSet<PackageId>,
    tables: RefCell<Tables>,
}

impl<U: Universe> Provider<'_, U> {
    /// Returns one list of candidates as resolvo's union of sets, each of one name, in the order of preference.
    fn requirement(&self, candidates: &[PackageId]) -> ConditionalRequirement {
        let mut ordered = candidates.to_vec();
        let mut seen = HashSet::new();
        ordered.retain(|package| seen.insert(*package));
        ordered.sort_by_key(|package| !self.favoured.contains(package));
        let sets: Vec<_> = ordered
            .chunk_by(|a, b| self.universe.name(*a) == self.universe.name(*b))
            .map(|run| self.set(self.universe.name(run[0]), run.to_vec(), false))
            .collect();
        let requirement = match sets[..] {
            [] => Requirement::Single(self.set(self.universe.no_name(), Vec::new(), false)),
            [only] => Requirement::Single(only),
            _ => Requirement::Union(self.union(sets)),
        };
        requirement.into()
    }

    /// Returns the exclusions of `package`, as sets that the others of the same name must be in.
    fn exclusions(&self, package: PackageId) -> Vec<VersionSetId> {
        let mut excluded = self.universe.exclusions(package);
        excluded.sort_unstable_by_key(|other| (self.universe.name(*other), *other));
        excluded.dedup();
        excluded
            .chunk_by(|a, b| self.universe.name(*a) == self.universe.name(*b))
            .map(|run| self.set(self.universe.name(run[0]), run.to_vec(), true))
            .collect()
    }

    fn set(&self, name: NameId, packages: Vec<PackageId>, inverted: bool) -> VersionSetId {
        let set = Set {
            name,
            packages,
            inverted,
        };
        let tables = &mut *self.tables.borrow_mut();
        *tables.set_ids.entry(set).or_insert_with_key(|set| {
            tables.sets.push(set.clone());
            VersionSetId(to_u32(tables.sets.len() - 1))
        })
    }

    fn union(&self, sets: Vec<VersionSetId>) -> VersionSetUnionId {
        let tables = &mut *self.tables.borrow_mut();
        *tables.union_ids.entry(sets).or_insert_with_key(|sets| {
            tables.unions.push(sets.clone());
            VersionSetUnionId(to_u32(tables.unions.len() - 1))
        })
    }
}

/// Converts a table index into an id; tables stay far below this limit: there are fewer sets than relations in memory.
fn to_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl<U: Universe> Interner for Provider<'_, U> {
    type NameId = Name;
    type SolvableId = Package;

    fn display_solvable(&self, solvable: Package) -> impl Display + '_ {
        self.universe.describe(solvable.into_raw())
    }

    fn display_name(&self, name: Name) -> impl Display + '_ {
        name.into_raw()
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        version_set.0
    }

    fn display_string(&self, string_id: StringId) -> impl Display + '_ {
        string_id.0
    }

    fn version_set_name(&self, version_set: VersionSetId) -> Name {
        let tables = self.tables.borrow();
        let set = tables.sets.get(version_set.0 as usize);
        Name::from_raw(set.map_or(self.universe.no_name(), |set| set.name))
    }

    fn solvable_name(&self, solvable: Package) -> Name {
        Name::from_raw(self.universe.name(solvable.into_raw()))
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        let sets = self.tables.borrow().unions.get(union.0 as usize).cloned();
        sets.unwrap_or_default().into_iter()
    }

    fn resolve_condition(&self, _condition: ConditionId) -> Condition {
        // oic makes no requirement with a condition.
        Condition::Requirement(VersionSetId(0))
    }
}

impl<U: Universe> DependencyProvider for Provider<'_, U> {
    async fn filter_candidates(&self, candidates: &[Package], set: VersionSetId, inverse: bool) -> Vec<Package> {
        let tables = self.tables.borrow();
        let Some(set) = tables.sets.get(set.0 as usize) else {
            return Vec::new();
        };
        candidates
            .iter()
            .copied()
            .filter(|package| (set.packages.contains(&package.into_raw()) != set.inverted) != inverse)
            .collect()
    }

    async fn get_candidates(&self, name: Name) -> Option<Candidates<Package>> {
        let name = name.into_raw();
        let versions = if name == self.universe.no_name() {
            Vec::new()
        } else {
            self.universe.versions(name)
        };
        Some(Candidates {
            candidates: versions.into_iter().map(Package::from_raw).collect(),
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _solver: &SolverCache<Self>, solvables: &mut [Package]) {
        let Some(first) = solvables.first() else { return };
        let versions = self.universe.versions(self.universe.name(first.into_raw()));
        solvables.sort_by_key(|package| {
            let package = package.into_raw();
            let rank = versions.iter().position(|other| *other == package);
            (!self.favoured.contains(&package), rank)
        });
    }

    async fn get_dependencies(&self, solvable: Package) -> Dependencies {
        let package = solvable.into_raw();
        let requirements = self.universe.requirements(package);
        Dependencies::Known(KnownDependencies {
            requirements: requirements.iter().map(|list| self.requirement(list)).collect(),
            constrains: self.exclusions(package),
        })
    }
}

/// Turns resolvo's graph of the conflict into plain lists, in its (deterministic) order.
fn contradiction<U: Universe>(
    conflict: &resolvo::conflict::Conflict,
    solver: &Solver<Provider<'_, U>>,
) -> Contradiction {
    let graph = conflict.graph(solver).graph;
    let mut result = Contradiction::default();
    let package = |node| match graph.node_weight(node) {
        Some(ConflictNode::Solvable(package)) => Some(package.into_raw()),
        _ => None,
    };
    for edge in graph.edge_indices() {
        let (Some((from, to)), Some(weight)) = (graph.edge_endpoints(edge), graph.edge_weight(edge)) else {
            continue;
        };
        match (weight, package(from), package(to)) {
            (ConflictEdge::Requires(requirement), parent, _) => {
                let candidates = candidates_of(*requirement, solver.provider());
                if !result.needs.contains(&(parent, candidates.clone())) {
                    result.needs.push((parent, candidates));
                }
            }
            (ConflictEdge::Conflict(ConflictCause::Constrains(_)), Some(a), Some(b)) => result.excludes.push((a, b)),
            (ConflictEdge::Conflict(_), Some(a), Some(b)) => result.same_name.push((a, b)),
            (ConflictEdge::Conflict(_), _, _) => {}
        }
    }
    result
}

fn candidates_of<U: Universe>(requirement: Requirement, provider: &Provider<'_, U>) -> Vec<PackageId> {
    let sets = match requirement {
        Requirement::Single(set) => vec![set],
        Requirement::Union(union) => provider.version_sets_in_union(union).collect(),
    };
    let tables = provider.tables.borrow();
    sets.iter()
        .filter_map(|set| tables.sets.get(set.0 as usize))
        .flat_map(|set| set.packages.iter().copied())
        .collect()
}
