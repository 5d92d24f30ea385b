//! Finds the packages that dnf would choose: first all needs without a choice, then the preferred package of the
//! others, one at a time, as libsolv propagates before it decides.
//!
//! The walk only proposes; the solver checks and corrects it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use crate::resolve::answer::{Proposal, Root};
use crate::resolve::solver::{NameId, PackageId, Universe as _};

use super::universe::{Need, Relations, Universe};

#[derive(Clone)]
struct Walk<'u, 'a> {
    universe: &'u Universe<'a>,
    /// The chosen package of each name.
    chosen: HashMap<NameId, PackageId>,
    excluded: HashSet<PackageId>,
    /// Chosen packages whose needs were not examined yet.
    fresh: VecDeque<PackageId>,
    /// Needs that leave a choice, as indexes into the relations.
    open: VecDeque<(Rc<Relations<'a>>, usize)>,
    /// Needs whose conditions do not hold yet.
    waiting: Vec<(Rc<Relations<'a>>, usize)>,
    /// A need was met that none of its packages can fulfil any more.
    stuck: bool,
}

/// Returns the packages to propose for `roots`.
pub(super) fn propose(universe: &Universe<'_>, roots: &[Root]) -> Proposal {
    let mut walk = Walk {
        universe,
        chosen: HashMap::new(),
        excluded: HashSet::new(),
        fresh: VecDeque::new(),
        open: VecDeque::new(),
        waiting: Vec::new(),
        stuck: false,
    };
    for root in roots {
        let fulfilled = root.candidates.iter().any(|id| walk.is_chosen(id));
        if !fulfilled {
            walk.choose_first(&root.candidates);
        }
    }
    walk.run();
    let first = roots.iter().position(|root| root.recommending);
    let wishing = first.map_or_else(HashSet::new, |first| walk.follow(roots, first));
    Proposal {
        packages: walk.chosen.into_values().collect(),
        wishing,
    }
}

impl<'a> Walk<'_, 'a> {
    fn run(&mut self) {
        loop {
            while let Some(package) = self.fresh.pop_front() {
                let relations = self.universe.relations(package);
                for at in 0..relations.needs.len() {
                    self.meet((Rc::clone(&relations), at));
                }
            }
            for waiting in std::mem::take(&mut self.waiting) {
                self.meet(waiting);
            }
            if !self.fresh.is_empty() {
                continue;
            }
            let Some((relations, at)) = self.open.pop_front() else {
                return;
            };
            if let Some(need) = relations.needs.get(at).filter(|need| !self.is_met(need)) {
                self.choose_first(&need.clause.packages);
            }
        }
    }

    /// Adds what is recommended by the recommending ones of `roots` and by all that they bring, as far as it fits; the
    /// `first` of them comes after the packages that count as installed. Returns the packages whose recommendations were
    /// followed.
    fn follow(&mut self, roots: &[Root], first: usize) -> HashSet<PackageId> {
        let of = |roots: &[Root], is_wanted: fn(&Root) -> bool| -> Vec<PackageId> {
            let wanted = roots.iter().filter(|root| is_wanted(root));
            let chosen = wanted.flat_map(|root| root.candidates.iter().copied());
            chosen.filter(|id| self.is_chosen(id)).collect()
        };
        let recommending = of(roots, |root| root.recommending);
        let installed = self.closure(of(roots.get(..first).unwrap_or_default(), |_| true));
        let mut wishing = BTreeSet::new();
        let mut added = recommending.clone();
        while !added.is_empty() {
            let reached = self.closure(added).into_iter();
            wishing.extend(reached.filter(|id| !installed.contains(id) || recommending.contains(id)));
            // All of them: what was added may be the condition of a recommendation.
            added = self.grant(&wishing);
        }
        wishing.into_iter().collect()
    }

    /// Returns `packages` with all chosen ones that they need, in ascending order.
    fn closure(&self, packages: Vec<PackageId>) -> BTreeSet<PackageId> {
        let mut closure: BTreeSet<_> = packages.iter().copied().collect();
        let mut queue = packages;
        while let Some(package) = queue.pop() {
            let relations = self.universe.relations(package);
            let chosen = relations.needs.iter().flat_map(|need| need.clause.packages.iter());
            queue.extend(chosen.copied().filter(|id| self.is_chosen(id) && closure.insert(*id)));
        }
        closure
    }

    /// Chooses what `packages` recommend, each with its needs, unless that is impossible; returns what was chosen.
    fn grant(&mut self, packages: &BTreeSet<PackageId>) -> Vec<PackageId> {
        let mut granted = Vec::new();
        for package in packages {
            let relations = self.universe.relations(*package);
            for wish in &relations.wishes {
                if !wish.binds(|id| self.is_chosen(id)) || self.is_met(wish) {
                    continue;
                }
                let mut attempt = Self {
                    stuck: false,
                    ..self.clone()
                };
                attempt.choose_first(&wish.clause.packages);
                attempt.run();
                if !attempt.stuck {
                    *self = attempt;
                    granted.extend(wish.clause.packages.iter().copied().filter(|id| self.is_chosen(id)));
                }
            }
        }
        granted
    }

    /// Chooses the package of a need without a choice; other needs are kept for later.
    fn meet(&mut self, (relations, at): (Rc<Relations<'a>>, usize)) {
        let Some(need) = relations.needs.get(at) else { return };
        if !need.binds(|id| self.is_chosen(id)) {
            self.waiting.push((relations, at));
            return;
        }
        if self.is_met(need) {
            return;
        }
        let mut names = need.clause.packages.iter().filter(|id| self.is_possible(**id));
        let first = names.next().map(|id| self.universe.name(*id));
        let only_one = names.all(|id| Some(self.universe.name(*id)) == first);
        match only_one {
            true => self.choose_first(&need.clause.packages),
            false => self.open.push_back((relations, at)),
        }
    }

    fn is_met(&self, need: &Need<'_>) -> bool {
        need.clause.packages.iter().any(|id| self.is_chosen(id))
    }

    fn is_chosen(&self, package: &PackageId) -> bool {
        self.chosen.get(&self.universe.name(*package)) == Some(package)
    }

    /// Returns whether a package can join the chosen ones: its name is free, and neither side excludes the other.
    fn is_possible(&self, package: PackageId) -> bool {
        if self.excluded.contains(&package) || self.chosen.contains_key(&self.universe.name(package)) {
            return false;
        }
        let relations = self.universe.relations(package);
        relations.malformed.is_none() && !relations.excluded().any(|other| self.is_chosen(&other))
    }

    fn choose_first(&mut self, candidates: &[PackageId]) {
        let Some(package) = candidates.iter().copied().find(|id| self.is_possible(*id)) else {
            self.stuck = true;
            return;
        };
        self.chosen.insert(self.universe.name(package), package);
        let relations = self.universe.relations(package);
        self.excluded.extend(relations.excluded());
        self.fresh.push_back(package);
    }
}
