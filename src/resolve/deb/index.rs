//! Finds packages by name and by `Provides`, among those that the target can install.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::slice;

use crate::package::{Arch, DebVersion, Operator, PackageRecord, Relation, parse_relation};
use crate::resolve::solver::PackageId;

/// Names to packages. Each resolution builds it from all records, so most names, which have one version, cost no
/// allocation.
#[derive(Debug)]
pub(super) struct Index<'a> {
    /// The best version of each name.
    candidates: HashMap<&'a str, PackageId>,
    /// All versions of the names that have several, best first.
    several: HashMap<&'a str, Vec<PackageId>>,
    /// The candidate of each record's name; `None` if the record is not installable.
    candidate_of: Vec<Option<PackageId>>,
    /// Where the chain of a provided name begins in `provided`.
    first_provided: HashMap<&'a str, usize>,
    provided: Vec<Provided<'a>>,
}

/// A `Provides` entry in the chain of its name.
#[derive(Debug)]
struct Provided<'a> {
    owner: PackageId,
    version: Option<&'a str>,
    next: Option<usize>,
}

impl<'a> Index<'a> {
    /// Indexes `records`, without those that cannot be installed: packages of other architectures, those with a name of
    /// `without`, and those pinned to zero or below (apt_preferences(5); apt never makes a candidate of priority 0
    /// either).
    pub(super) fn new(arch: Arch, records: &'a [PackageRecord], without: &[String]) -> Self {
        let mut index = Self {
            candidates: HashMap::with_capacity(records.len()),
            several: HashMap::new(),
            candidate_of: vec![None; records.len()],
            first_provided: HashMap::with_capacity(records.len()),
            provided: Vec::with_capacity(records.len()),
        };
        for (id, record) in (0..).zip(records) {
            let here = &*record.architecture == arch.deb() || &*record.architecture == "all";
            if here && record.priority_pin > 0 && !without.iter().any(|name| **name == *record.name) {
                let first = *index.candidates.entry(&record.name).or_insert(id);
                if first == id {
                    index.candidate_of[id as usize] = Some(id);
                } else {
                    index
                        .several
                        .entry(&record.name)
                        .or_insert_with(|| vec![first])
                        .push(id);
                }
            }
        }
        index.choose_candidates(records);
        // Backwards, because each entry becomes the head of its chain.
        for (at, record) in records.iter().enumerate().rev() {
            if index.candidate_of[at].is_some()
                && !record.provides.is_empty()
                && let Ok(id) = PackageId::try_from(at)
            {
                index.add_provides(id, &record.provides, arch);
            }
        }
        index
    }

    /// Ranks the versions of each name: by pin, then version, then order of the repositories.
    fn choose_candidates(&mut self, records: &'a [PackageRecord]) {
        for (name, versions) in &mut self.several {
            versions.sort_by_cached_key(|id| {
                let record = &records[*id as usize];
                (
                    Reverse(record.priority_pin),
                    Reverse(DebVersion::new(&record.version)),
                    *id,
                )
            });
            // The same version from another repository is the same package.
            let mut seen = HashSet::new();
            let first = versions.first().copied();
            for id in versions.iter() {
                self.candidate_of[*id as usize] = None;
            }
            versions.retain(|id| seen.insert(&*records[*id as usize].version));
            for id in versions.iter() {
                self.candidate_of[*id as usize] = first;
            }
            if let Some(first) = first {
                self.candidates.insert(name, first);
            }
        }
    }

    /// Adds the well-formed entries of a `Provides` field.
    fn add_provides(&mut self, owner: PackageId, field: &'a str, arch: Arch) {
        for element in field.rsplit(',').filter(|element| !element.trim_ascii().is_empty()) {
            let Ok(Some(relation)) = parse_relation(element, arch) else {
                continue;
            };
            let here = relation.qualifier.is_none_or(|qualifier| qualifier == arch.deb());
            let exact = relation.version.is_none_or(|(operator, _)| operator == Operator::Equal);
            if here && exact {
                let at = self.provided.len();
                let next = self.first_provided.insert(relation.name, at);
                let version = relation.version.map(|(_, version)| version);
                self.provided.push(Provided { owner, version, next });
            }
        }
    }

    /// Returns all versions of a name, best first; none if the name is unknown.
    pub(super) fn versions(&self, name: &str) -> &[PackageId] {
        match (self.several.get(name), self.candidates.get(name)) {
            (Some(versions), _) => versions,
            (None, Some(only)) => slice::from_ref(only),
            (None, None) => &[],
        }
    }

    /// Returns the best version of a package's name, which apt calls the candidate.
    pub(super) fn candidate(&self, package: PackageId) -> PackageId {
        self.candidate_of
            .get(package as usize)
            .copied()
            .flatten()
            .unwrap_or(package)
    }

    /// Returns the best version of every name, in the order of the records.
    pub(super) fn candidates(&self) -> impl Iterator<Item = PackageId> {
        let own = |(at, candidate): (usize, &Option<PackageId>)| candidate.filter(|id| *id as usize == at);
        self.candidate_of.iter().enumerate().filter_map(own)
    }

    /// Returns the names of all packages, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.candidates.keys().copied()
    }

    /// Returns the packages whose `Provides` has the name, with the provided version, in the order of the records.
    pub(super) fn providers(&self, name: &str) -> impl Iterator<Item = (PackageId, Option<&'a str>)> {
        let entry = |at: usize| self.provided.get(at);
        let first = self.first_provided.get(name).copied().and_then(entry);
        std::iter::successors(first, move |provided| provided.next.and_then(entry))
            .map(|provided| (provided.owner, provided.version))
    }

    /// Returns all packages that a relation accepts by name and version: versions of the name, then providers.
    pub(super) fn matching(&self, relation: &Relation<'_>, records: &[PackageRecord]) -> Vec<PackageId> {
        let versions = self.versions(relation.name).iter();
        let named = versions.map(|id| (*id, records.get(*id as usize).map(|record| &*record.version)));
        named
            .chain(self.providers(relation.name))
            .filter(|(_, version)| relation.accepts(*version))
            .map(|(id, _)| id)
            .collect()
    }
}
