//! Finds the packages that apt would choose: a walk in the order in which apt marks packages for installation, without
//! backtracking.
//!
//! The walk only proposes. Its set may not hold (because of a conflict met too late); the solver then corrects it.

use std::collections::{HashMap, HashSet};

use crate::resolve::answer::{Proposal, Root};
use crate::resolve::solver::PackageId;

use super::universe::{Need, Relations, Universe};

/// The depth beyond which chains of dependencies are left to the solver; apt gives up at 3000.
const DEPTH_LIMIT: usize = 1000;

/// The walk's state of a package name, under the id of its candidate.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    installed: bool,
    /// The state is final: the package is requested, or a protected package needs just it or excludes it.
    protected: bool,
    /// An attempt failed, or a protected package excludes it; it is not tried again.
    discarded: bool,
}

/// The reason for a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Request,
    Dependency,
}

#[derive(Debug)]
struct Walk<'u, 'a> {
    universe: &'u Universe<'a>,
    marks: HashMap<PackageId, Mark>,
    /// Explicitly requested versions, by candidate.
    chosen: HashMap<PackageId, PackageId>,
    /// Recommendations are followed at present.
    follows: bool,
    /// The packages whose recommendations were followed.
    wishing: HashSet<PackageId>,
}

/// Returns the packages that apt would install for `roots`, one after the other.
pub(super) fn propose(universe: &Universe<'_>, roots: &[Root]) -> Proposal {
    let requested: Vec<_> = roots.iter().map(Root::preferred).collect();
    let mut walk = Walk {
        universe,
        marks: HashMap::new(),
        chosen: requested
            .iter()
            .map(|id| (universe.index.candidate(*id), *id))
            .collect(),
        follows: false,
        wishing: HashSet::new(),
    };
    // All requested packages count as installed before the first dependency is examined.
    for package in &requested {
        let mark = walk.mark_mut(*package);
        mark.installed = true;
        mark.protected = true;
    }
    for root in roots {
        walk.follows = root.recommending;
        walk.install(root.preferred(), By::Request, 0);
    }
    Proposal {
        packages: walk.needed_by(&requested),
        wishing: walk.wishing,
    }
}

impl Walk<'_, '_> {
    fn mark(&self, package: PackageId) -> Mark {
        self.marks
            .get(&self.universe.index.candidate(package))
            .copied()
            .unwrap_or_default()
    }

    fn mark_mut(&mut self, package: PackageId) -> &mut Mark {
        self.marks.entry(self.universe.index.candidate(package)).or_default()
    }

    /// Returns the version of the package's name that may be installed.
    fn candidate(&self, package: PackageId) -> PackageId {
        let candidate = self.universe.index.candidate(package);
        self.chosen.get(&candidate).copied().unwrap_or(candidate)
    }

    fn is_installed(&self, package: PackageId) -> bool {
        self.candidate(package) == package && self.mark(package).installed
    }

    fn is_satisfied(&self, need: &Need<'_>) -> bool {
        need.packages().any(|package| self.is_installed(package))
    }

    /// Returns whether a need of the package is missing or a package that it excludes is installed.
    fn is_broken(&self, relations: &Relations<'_>) -> bool {
        relations.needs.iter().any(|need| !self.is_satisfied(need))
            || relations.excluded().any(|other| self.is_installed(other))
    }

    /// Marks a package and its needs for installation, and returns whether that succeeded.
    fn install(&mut self, package: PackageId, by: By, depth: usize) -> bool {
        let before = self.mark(package);
        let relations = self.universe.relations(package);
        let impossible = before.discarded || relations.malformed.is_some() || depth > DEPTH_LIMIT;
        if impossible || (by == By::Dependency && before.protected && !before.installed) {
            return false;
        }
        if !before.protected && before.installed && !self.is_broken(&relations) {
            return true;
        }
        let strict = !before.protected && by == By::Dependency;
        let pending = self.pending(&relations, before.protected);
        let mut works = self.make_room(&relations, before.protected, strict);
        if !works && strict {
            return false;
        }
        let mark = self.mark_mut(package);
        mark.installed = true;
        mark.protected = true;
        let needs = pending.iter().filter_map(|at| relations.needs.get(*at));
        works &= self.install_needs(needs, before.protected, by, depth);
        if self.follows && (works || !strict) {
            self.install_wishes(package, &relations, depth);
        }
        let mark = self.mark_mut(package);
        mark.protected = before.protected;
        if !works && strict {
            mark.installed = false;
            mark.discarded = true;
        }
        works
    }

    /// Returns the indexes of the needs to examine: those not satisfied yet, and all of a protected package.
    fn pending(&self, relations: &Relations<'_>, protected: bool) -> Vec<usize> {
        let needs = relations.needs.iter().enumerate();
        needs
            .filter(|(_, need)| protected || !self.is_satisfied(need))
            .map(|(at, _)| at)
            .collect()
    }

    /// Unmarks the packages that this one excludes, and returns whether none of them is protected.
    fn make_room(&mut self, relations: &Relations<'_>, protected: bool, strict: bool) -> bool {
        let mut works = true;
        for other in relations.clashes.iter().flat_map(|clash| &clash.packages) {
            if self.candidate(*other) != *other || self.mark(*other).discarded {
                continue;
            }
            let mark = self.mark_mut(*other);
            if mark.installed && mark.protected {
                works = false;
                if strict {
                    break;
                }
                continue;
            }
            mark.installed = false;
            if protected {
                mark.discarded = true;
                mark.protected = true;
            }
        }
        works
    }

    fn install_needs<'n>(
        &mut self,
        needs: impl Iterator<Item = &'n Need<'n>>,
        protected: bool,
        by: By,
        depth: usize,
    ) -> bool {
        let mut works = true;
        for need in needs {
            works &= if !self.is_satisfied(need) {
                self.install_one_of(need, protected, depth)
            } else if protected {
                self.protect_only_solution(need, depth)
            } else {
                true
            };
            if !works && !protected && by == By::Dependency {
                break;
            }
        }
        works
    }

    /// Marks what a package recommends, as far as that can be installed.
    fn install_wishes(&mut self, package: PackageId, relations: &Relations<'_>, depth: usize) {
        self.wishing.insert(package);
        for wish in &relations.wishes {
            if !self.is_satisfied(wish) {
                self.install_one_of(wish, false, depth);
            }
        }
    }

    /// Returns the packages that could satisfy a need: groups of equals, in the order in which apt tries them.
    fn solutions(&self, need: &Need<'_>) -> Vec<Vec<PackageId>> {
        let mut solutions = Vec::new();
        for alternative in &need.alternatives {
            let mut fitting = alternative.packages.clone();
            fitting.retain(|id| {
                let mark = self.mark(*id);
                self.candidate(*id) == *id && !mark.discarded && (mark.installed || !mark.protected)
            });
            solutions.extend(
                self.universe
                    .group_by_rank(alternative, fitting, |id| self.mark(id).protected),
            );
        }
        solutions
    }

    fn install_one_of(&mut self, need: &Need<'_>, protected: bool, depth: usize) -> bool {
        let solutions = self.solutions(need);
        let only = only_one(&solutions);
        for mut group in solutions {
            self.universe.sort_by_mention(&mut group);
            for solution in group {
                if protected && only.is_some() {
                    let mark = self.mark_mut(solution);
                    mark.installed = true;
                    mark.protected = true;
                }
                if self.install(solution, By::Dependency, depth + 1) {
                    return true;
                }
            }
        }
        false
    }

    /// Protects the only solution of a protected package's need, and returns whether its installation succeeded.
    fn protect_only_solution(&mut self, need: &Need<'_>, depth: usize) -> bool {
        match only_one(&self.solutions(need)) {
            Some(only) if !self.mark(only).protected => {
                self.mark_mut(only).protected = true;
                self.install(only, By::Dependency, depth + 1)
            }
            _ => true,
        }
    }

    /// Returns the marked packages that are still needed, without leftovers of failed alternatives.
    fn needed_by(&self, requested: &[PackageId]) -> HashSet<PackageId> {
        let mut needed: HashSet<_> = requested.iter().copied().collect();
        let mut queue = requested.to_vec();
        while let Some(package) = queue.pop() {
            let relations = self.universe.relations(package);
            let wishes = relations.wishes.iter().filter(|_| self.wishing.contains(&package));
            for other in relations.needs.iter().chain(wishes).flat_map(Need::packages) {
                if self.is_installed(other) && needed.insert(other) {
                    queue.push(other);
                }
            }
        }
        needed
    }
}

/// Returns the package that all of `solutions` are; `None` if they differ.
fn only_one(solutions: &[Vec<PackageId>]) -> Option<PackageId> {
    let mut all = solutions.iter().flatten();
    let first = all.next()?;
    all.all(|other| other == first).then_some(*first)
}
