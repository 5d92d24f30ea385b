//! Finds packages by name and by `Provides`, among those that the target can install.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::slice;

use crate::package::{Arch, DebVersion, Operator, PackageRecord, Relation, Targets, parse_relation};
use crate::resolve::solver::PackageId;

/// The packages of one architecture, by name. Each resolution builds it from all records, so most names, which have one
/// version, cost no allocation.
#[derive(Debug)]
struct Names<'a> {
    /// The best version of each name.
    candidates: HashMap<&'a str, PackageId>,
    /// All versions of the names that have several, best first.
    several: HashMap<&'a str, Vec<PackageId>>,
}

impl<'a> Names<'a> {
    fn add(&mut self, name: &'a str, id: PackageId) {
        let first = *self.candidates.entry(name).or_insert(id);
        if first != id {
            self.several.entry(name).or_insert_with(|| vec![first]).push(id);
        }
    }

    /// Ranks the versions of each name: by pin, then version, then order of the repositories. Adds the candidate of
    /// each package to `candidate_of`.
    fn choose_candidates(&mut self, records: &'a [PackageRecord], candidate_of: &mut [Option<PackageId>]) {
        for id in self.candidates.values() {
            candidate_of[*id as usize] = Some(*id);
        }
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
                candidate_of[*id as usize] = None;
            }
            versions.retain(|id| seen.insert(&*records[*id as usize].version));
            for id in versions.iter() {
                candidate_of[*id as usize] = first;
            }
            if let Some(first) = first {
                self.candidates.insert(name, first);
            }
        }
    }

    /// Returns all versions of a name, best first; none if the name is unknown.
    fn versions(&self, name: &str) -> &[PackageId] {
        match (self.several.get(name), self.candidates.get(name)) {
            (Some(versions), _) => versions,
            (None, Some(only)) => slice::from_ref(only),
            (None, None) => &[],
        }
    }
}

/// Names to packages.
#[derive(Debug)]
pub(super) struct Index<'a> {
    /// The machine's own architecture with the packages for all, then the foreign ones; with their names.
    names: Vec<(&'static str, Names<'a>)>,
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
    pub(super) fn new(targets: Targets<'_>, records: &'a [PackageRecord], without: &[String]) -> Self {
        let names = targets.deb().enumerate().map(|(at, arch)| {
            let names = Names {
                candidates: HashMap::with_capacity(if at == 0 { records.len() } else { 0 }),
                several: HashMap::new(),
            };
            (arch, names)
        });
        let mut index = Self {
            names: names.collect(),
            candidate_of: vec![None; records.len()],
            first_provided: HashMap::with_capacity(records.len()),
            provided: Vec::with_capacity(records.len()),
        };
        for (id, record) in (0..).zip(records) {
            if let Some(at) = index.place(&record.architecture)
                && record.priority_pin > 0
                && !without.iter().any(|name| **name == *record.name)
            {
                index.names[at].1.add(&record.name, id);
            }
        }
        for (_, names) in &mut index.names {
            names.choose_candidates(records, &mut index.candidate_of);
        }
        // Backwards, because each entry becomes the head of its chain.
        for (at, record) in records.iter().enumerate().rev() {
            if index.candidate_of[at].is_some()
                && !record.provides.is_empty()
                && let Ok(id) = PackageId::try_from(at)
            {
                index.add_provides(id, record, targets.native);
            }
        }
        index
    }

    /// Returns the place of an architecture among those of the machine, the first of which is its own; `None` for one
    /// that it does not run. Packages for all count as the machine's own.
    pub(super) fn place(&self, architecture: &str) -> Option<usize> {
        match architecture {
            "all" => Some(0),
            _ => self.names.iter().position(|(name, _)| *name == architecture),
        }
    }

    /// Adds the well-formed entries of a `Provides` field.
    fn add_provides(&mut self, owner: PackageId, record: &'a PackageRecord, native: Arch) {
        let own = self.place(&record.architecture);
        for element in record
            .provides
            .rsplit(',')
            .filter(|element| !element.trim_ascii().is_empty())
        {
            let Ok(Some(relation)) = parse_relation(element, native) else {
                continue;
            };
            let here = relation.qualifier.is_none_or(|qualifier| self.place(qualifier) == own);
            let exact = relation.version.is_none_or(|(operator, _)| operator == Operator::Equal);
            if here && exact {
                let at = self.provided.len();
                let next = self.first_provided.insert(relation.name, at);
                let version = relation.version.map(|(_, version)| version);
                self.provided.push(Provided { owner, version, next });
            }
        }
    }

    /// Returns all versions of a name of the machine's own architecture, best first; none if the name is unknown.
    pub(super) fn versions(&self, name: &str) -> &[PackageId] {
        self.versions_at(0, name)
    }

    /// Returns all versions of a name of the architecture at a [`Self::place`], best first.
    pub(super) fn versions_at(&self, place: usize, name: &str) -> &[PackageId] {
        self.names.get(place).map_or(&[], |(_, names)| names.versions(name))
    }

    /// Returns all versions of a name of the first foreign architecture that has it, best first.
    pub(super) fn foreign_versions(&self, name: &str) -> &[PackageId] {
        let foreign = self.names.iter().skip(1).map(|(_, names)| names.versions(name));
        foreign.into_iter().find(|versions| !versions.is_empty()).unwrap_or(&[])
    }

    /// Returns all versions of a name of any architecture, the machine's own first.
    pub(super) fn all_versions(&self, name: &str) -> impl Iterator<Item = PackageId> {
        self.names
            .iter()
            .flat_map(move |(_, names)| names.versions(name).iter().copied())
    }

    /// Returns whether there are several architectures.
    pub(super) fn has_foreign(&self) -> bool {
        self.names.len() > 1
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

    /// Returns the names of all packages of the machine's own architecture, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let own = self.names.first().into_iter();
        own.flat_map(|(_, names)| names.candidates.keys().copied())
    }

    /// Returns the packages whose `Provides` has the name, with the provided version, in the order of the records.
    pub(super) fn providers(&self, name: &str) -> impl Iterator<Item = (PackageId, Option<&'a str>)> {
        let entry = |at: usize| self.provided.get(at);
        let first = self.first_provided.get(name).copied().and_then(entry);
        std::iter::successors(first, move |provided| provided.next.and_then(entry))
            .map(|provided| (provided.owner, provided.version))
    }

    /// Returns all packages of any architecture that a relation accepts by name and version: versions of the name, then
    /// providers.
    pub(super) fn matching(&self, relation: &Relation<'_>, records: &[PackageRecord]) -> Vec<PackageId> {
        let versions = self.all_versions(relation.name);
        let named = versions.map(|id| (id, records.get(id as usize).map(|record| &*record.version)));
        named
            .chain(self.providers(relation.name))
            .filter(|(_, version)| relation.accepts(*version))
            .map(|(id, _)| id)
            .collect()
    }
}
