//! Turns the part of a problem that contradicts itself into sentences.

use std::collections::{HashMap, VecDeque};

use crate::resolve::ResolveError;
use crate::resolve::solver::{Contradiction, PackageId};

use super::request::Root;
use super::universe::Universe;

/// More causes than this do not help a reader.
const CAUSES_SHOWN: usize = 4;

/// The error for a request without a solution: for each cause the chain that leads to it.
pub(super) fn unsolvable(universe: &Universe<'_>, roots: &[Root], contradiction: &Contradiction) -> ResolveError {
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
        hint,
    }
}

/// For every package of the contradiction the nearest one that needs it (`None`: it was asked for).
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

struct Story<'s, 'a> {
    universe: &'s Universe<'a>,
    reached_from: HashMap<PackageId, Option<PackageId>>,
    lines: Vec<String>,
    /// Names at the start of the chains told.
    asked_for: Vec<String>,
}

impl<'a> Story<'_, 'a> {
    fn name(&self, package: PackageId) -> &'a str {
        &self.universe.record(package).name
    }

    fn full(&self, package: PackageId) -> String {
        let record = self.universe.record(package);
        format!("{} {}", record.name, record.version)
    }

    fn line(&mut self, line: String) {
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// Who wants `package`, from the request down to it.
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
                let relation = self.need_text(parent, needed);
                self.line(format!(
                    "{} needs {relation}, here {}",
                    self.full(parent),
                    self.full(needed)
                ));
            }
        }
    }

    /// The or-group of `parent` that `needed` satisfies, as written.
    fn need_text(&self, parent: PackageId, needed: PackageId) -> &'a str {
        let relations = self.universe.relations(parent);
        let need = relations
            .needs
            .iter()
            .find(|need| need.packages().any(|id| id == needed));
        need.map_or(self.name(needed), |need| need.text)
    }

    fn tell_missing(&mut self, parent: PackageId) {
        self.tell_chain(parent);
        let relations = self.universe.relations(parent);
        if let Some((field, error)) = &relations.malformed {
            let line = format!(
                "{} cannot be installed: its {field} field is malformed ({error})",
                self.full(parent)
            );
            self.line(line);
        }
        for need in relations.needs.iter().filter(|need| need.packages().next().is_none()) {
            let name = need.text.split([' ', ':', '(', '|']).next().unwrap_or(need.text);
            let available = self.universe.index.versions(name);
            let available: Vec<_> = available.iter().map(|id| &*self.universe.record(*id).version).collect();
            let known = match available[..] {
                [] => String::new(),
                _ => format!(" ({name} is available as {})", available.join(", ")),
            };
            self.line(format!(
                "{} needs {}, which no repository has{known}",
                self.full(parent),
                need.text
            ));
        }
    }

    fn tell_exclusion(&mut self, a: PackageId, b: PackageId) {
        self.tell_chain(a);
        self.tell_chain(b);
        let relations = self.universe.relations(a);
        let clash = relations.clashes.iter().find(|clash| clash.packages.contains(&b));
        let reason = clash.map_or(String::new(), |clash| format!(" ({}: {})", clash.field, clash.text));
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
            self.universe.record(a).version,
            self.universe.record(b).version
        ));
    }
}
