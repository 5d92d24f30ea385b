//! Turns a contradiction in the problem into sentences.

use std::collections::{HashMap, VecDeque};

use super::ResolveError;
use super::answer::{Catalogue, Root};
use super::solver::{Contradiction, PackageId};

/// The packages as an explanation sees them.
pub(super) trait Facts: Catalogue {
    /// Returns the version, as shown to a reader.
    fn version(&self, package: PackageId) -> &str;
    /// Returns the need of `parent` that `needed` satisfies, as written.
    fn need_text(&self, parent: PackageId, needed: PackageId) -> String;
    /// Returns sentences on the needs of `package` that no package satisfies, or on why it cannot be installed at all.
    fn missing(&self, package: PackageId) -> Vec<String>;
    /// Returns the reason why `a` excludes `b`: the field and the relation as written.
    fn clash_text(&self, a: PackageId, b: PackageId) -> Option<String>;
    /// Returns the package that a helper of the encoding belongs to; a package belongs to itself.
    fn owner(&self, package: PackageId) -> PackageId;
}

/// The number of causes shown; more do not help a reader.
const CAUSES_SHOWN: usize = 4;

/// Makes the error for a request without a solution: for each cause the chain that leads to it.
pub(super) fn unsolvable(universe: &impl Facts, roots: &[Root], contradiction: &Contradiction) -> ResolveError {
    let contradiction = &between_owners(universe, contradiction);
    let mut story = Story {
        universe,
        reached_from: reached_from(contradiction),
        lines: Vec::new(),
        asked_for: Vec::new(),
    };
    let missing = contradiction
        .needs
        .iter()
        .filter(|(_, candidates)| candidates.is_empty());
    let mut causes = 0;
    for parent in missing.filter_map(|(parent, _)| *parent).take(CAUSES_SHOWN) {
        story.tell_missing(parent);
        causes += 1;
    }
    let any_missing = causes > 0;
    for (a, b) in contradiction.excludes.iter().take(CAUSES_SHOWN.saturating_sub(causes)) {
        story.tell_exclusion(*a, *b);
        causes += 1;
    }
    for (a, b) in contradiction.same_name.iter().take(CAUSES_SHOWN.saturating_sub(causes)) {
        story.tell_same_name(*a, *b);
    }
    let hint = match (&story.asked_for[..], any_missing) {
        ([], _) => None,
        ([only], true) => Some(format!(
            "add the repository that has what is missing, or leave out {only}"
        )),
        (names, true) => Some(format!(
            "add the repository that has what is missing, or leave out one of {}",
            names.join(", ")
        )),
        ([only], false) => Some(format!("leave out {only}")),
        (names, false) => Some(format!("leave out one of {}", names.join(", "))),
    };
    if story.lines.is_empty() {
        let names = roots
            .iter()
            .filter(|root| !root.implied)
            .map(|root| story.name(root.preferred()).to_owned());
        story.lines = vec![format!(
            "nothing fulfils all of {}",
            names.collect::<Vec<_>>().join(", ")
        )];
    }
    ResolveError::Unsolvable {
        reasons: story.lines,
        asked_for: story.asked_for,
        hint,
    }
}

/// Returns the contradiction with every helper of the encoding replaced by the package that it belongs to.
fn between_owners(universe: &impl Facts, contradiction: &Contradiction) -> Contradiction {
    let owner = |id: PackageId| universe.owner(id);
    let pairs = |pairs: &[(PackageId, PackageId)]| -> Vec<_> {
        let owners = pairs.iter().map(|(a, b)| (owner(*a), owner(*b)));
        owners.filter(|(a, b)| a != b).collect()
    };
    let needs = contradiction.needs.iter().map(|(parent, candidates)| {
        let parent = parent.map(owner);
        let others = candidates.iter().map(|id| owner(*id)).filter(|id| Some(*id) != parent);
        (parent, candidates.is_empty(), others.collect::<Vec<_>>())
    });
    Contradiction {
        needs: needs
            .filter(|(_, missing, others)| *missing || !others.is_empty())
            .map(|(parent, _, others)| (parent, others))
            .collect(),
        excludes: pairs(&contradiction.excludes),
        same_name: pairs(&contradiction.same_name),
    }
}

/// Returns, for every package of the contradiction, the nearest one that needs it (`None`: the request itself).
fn reached_from(contradiction: &Contradiction) -> HashMap<PackageId, Option<PackageId>> {
    let mut reached = HashMap::new();
    let mut queue = VecDeque::from([None]);
    while let Some(parent) = queue.pop_front() {
        for (_, candidates) in contradiction.needs.iter().filter(|(from, _)| *from == parent) {
            for candidate in candidates {
                reached.entry(*candidate).or_insert_with(|| {
                    queue.push_back(Some(*candidate));
                    parent
                });
            }
        }
    }
    reached
}

struct Story<'s, U> {
    universe: &'s U,
    reached_from: HashMap<PackageId, Option<PackageId>>,
    lines: Vec<String>,
    /// Names at the start of the chains so far.
    asked_for: Vec<String>,
}

impl<'s, U: Facts> Story<'s, U> {
    fn name(&self, package: PackageId) -> &'s str {
        self.universe.label(package)
    }

    fn full(&self, package: PackageId) -> String {
        format!("{} {}", self.name(package), self.universe.version(package))
    }

    fn line(&mut self, line: String) {
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// Adds the chain of needs from the request down to `package`.
    fn tell_chain(&mut self, package: PackageId) {
        let mut chain = vec![package];
        while let Some(Some(parent)) = chain.last().and_then(|last| self.reached_from.get(last)) {
            if chain.contains(parent) {
                break;
            }
            chain.push(*parent);
        }
        if let Some(first) = chain.last().copied() {
            let name = self.name(first).to_owned();
            self.line(format!("{} is asked for", self.full(first)));
            if !self.asked_for.contains(&name) {
                self.asked_for.push(name);
            }
        }
        for pair in chain.windows(2).rev() {
            if let [needed, parent] = *pair {
                let relation = self.universe.need_text(parent, needed);
                self.line(format!(
                    "{} needs {relation}, here {}",
                    self.full(parent),
                    self.full(needed)
                ));
            }
        }
    }

    fn tell_missing(&mut self, parent: PackageId) {
        self.tell_chain(parent);
        for line in self.universe.missing(parent) {
            self.line(line);
        }
    }

    fn tell_exclusion(&mut self, a: PackageId, b: PackageId) {
        self.tell_chain(a);
        self.tell_chain(b);
        let clash = self.universe.clash_text(a, b);
        let reason = clash.map_or(String::new(), |clash| format!(" ({clash})"));
        self.line(format!(
            "{} cannot be together with {}{reason}",
            self.full(a),
            self.full(b)
        ));
    }

    fn tell_same_name(&mut self, a: PackageId, b: PackageId) {
        self.tell_chain(a);
        self.tell_chain(b);
        self.line(format!(
            "only one version of {} can be installed: {} or {}",
            self.name(a),
            self.universe.version(a),
            self.universe.version(b)
        ));
    }
}
