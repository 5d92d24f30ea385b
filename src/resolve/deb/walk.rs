//! Which packages apt would choose: a walk in the order in which apt marks
//! packages for installation, without looking back.
//!
//! The walk only proposes. It may end in a set that does not hold (a conflict it
//! met too late); the solver has the last word on everything it says.

use std::collections::{HashMap, HashSet};

use crate::resolve::solver::PackageId;

use super::universe::{Need, Relations, Universe};

/// Deeper chains of dependencies are left to the solver; apt gives up at 3000.
const DEPTH_LIMIT: usize = 1000;

/// What the walk thinks of a package name, under the id of its candidate.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    installed: bool,
    /// The state is not up for discussion: asked for, or without an alternative for what was.
    protected: bool,
    /// Did not work out before; is not tried again.
    discarded: bool,
}

/// How a package came to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Request,
    Dependency,
}

#[derive(Debug)]
struct Walk<'u, 'a> {
    universe: &'u Universe<'a>,
    marks: HashMap<PackageId, Mark>,
    /// Versions asked for explicitly, by candidate.
    chosen: HashMap<PackageId, PackageId>,
}

/// The packages that apt would install for the `requested` ones, which come with
/// the version asked for.
pub(super) fn propose(universe: &Universe<'_>, requested: &[PackageId]) -> HashSet<PackageId> {
    let mut walk = Walk {
        universe,
        marks: HashMap::new(),
        chosen: requested
            .iter()
            .map(|id| (universe.index.candidate(*id), *id))
            .collect(),
    };
    // All that was asked for counts as installed before the first dependency is looked at.
    for package in requested {
        let mark = walk.mark_mut(*package);
        mark.installed = true;
        mark.protected = true;
    }
    for package in requested {
        walk.install(*package, By::Request, 0);
    }
    walk.needed_by(requested)
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

    /// The version of the package's name that may be installed.
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

    /// Whether something that the package needs is missing or something that it excludes is there.
    fn is_broken(&self, relations: &Relations<'_>) -> bool {
        relations.needs.iter().any(|need| !self.is_satisfied(need))
            || relations.excluded().any(|other| self.is_installed(other))
    }

    /// Marks a package and what it needs for installation, and says whether that worked out.
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
        works &= self.install_needs(&relations, &pending, before.protected, by, depth);
        let mark = self.mark_mut(package);
        mark.protected = before.protected;
        if !works && strict {
            mark.installed = false;
            mark.discarded = true;
        }
        works
    }

    /// The needs to look at: those not satisfied yet, and all of a protected package.
    fn pending(&self, relations: &Relations<'_>, protected: bool) -> Vec<usize> {
        let needs = relations.needs.iter().enumerate();
        needs
            .filter(|(_, need)| protected || !self.is_satisfied(need))
            .map(|(at, _)| at)
            .collect()
    }

    /// Unmarks what the package excludes.
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

    fn install_needs(
        &mut self,
        relations: &Relations<'_>,
        pending: &[usize],
        protected: bool,
        by: By,
        depth: usize,
    ) -> bool {
        let mut works = true;
        for need in pending.iter().filter_map(|at| relations.needs.get(*at)) {
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

    /// What could satisfy a need: groups of equals, in the order in which apt tries them.
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

    /// What a protected package cannot do without is protected too.
    fn protect_only_solution(&mut self, need: &Need<'_>, depth: usize) -> bool {
        match only_one(&self.solutions(need)) {
            Some(only) if !self.mark(only).protected => {
                self.mark_mut(only).protected = true;
                self.install(only, By::Dependency, depth + 1)
            }
            _ => true,
        }
    }

    /// What is marked and still needed: leftovers of alternatives that failed are not.
    fn needed_by(&self, requested: &[PackageId]) -> HashSet<PackageId> {
        let mut needed: HashSet<_> = requested.iter().copied().collect();
        let mut queue = requested.to_vec();
        while let Some(package) = queue.pop() {
            let relations = self.universe.relations(package);
            for other in relations.needs.iter().flat_map(Need::packages) {
                if self.is_installed(other) && needed.insert(other) {
                    queue.push(other);
                }
            }
        }
        needed
    }
}

/// The package that all of `solutions` are, if they are but one.
fn only_one(solutions: &[Vec<PackageId>]) -> Option<PackageId> {
    let mut all = solutions.iter().flatten();
    let first = all.next()?;
    all.all(|other| other == first).then_some(*first)
}
