//! The packages of all repositories as one universe: names, versions, providers, and the needs of each package, parsed
//! on first use.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::rc::Rc;

use crate::package::{
    Arch, DependencyKind, MultiArch, OrGroup, PackageRecord, Relation, RelationError, Targets, parse_relations,
};
use crate::resolve::relations::{self, Clash, Parsed};
use crate::resolve::solver::{self, NameId, PackageId};

use super::index::Index;
use super::mention;

/// One or-group of `Pre-Depends`, `Depends` or `Recommends` with the packages that satisfy it.
#[derive(Debug)]
pub(super) struct Need<'a> {
    pub(super) kind: DependencyKind,
    /// The or-group as written.
    pub(super) text: &'a str,
    /// Its alternatives, preferred first.
    pub(super) alternatives: Vec<Alternative<'a>>,
}

/// One alternative of a need.
#[derive(Debug)]
pub(super) struct Alternative<'a> {
    /// The name that a package must have or provide.
    name: &'a str,
    /// The packages that satisfy it, preferred first (see [`Universe::satisfying`]).
    pub(super) packages: Vec<PackageId>,
}

impl Need<'_> {
    /// Returns all packages that satisfy it, preferred first; packages may be repeated.
    pub(super) fn packages(&self) -> impl Iterator<Item = PackageId> {
        self.alternatives
            .iter()
            .flat_map(|alternative| alternative.packages.iter().copied())
    }
}

impl relations::Need for Need<'_> {
    fn text(&self) -> &str {
        self.text
    }

    fn takes(&self, package: PackageId) -> bool {
        self.packages().any(|id| id == package)
    }

    fn is_hopeless(&self) -> bool {
        self.packages().next().is_none()
    }
}

/// The relations of one package.
pub(super) type Relations<'a> = relations::Relations<'a, Need<'a>>;

/// Every package that could be installed on the target.
#[derive(Debug)]
pub(super) struct Universe<'a> {
    pub(super) arch: Arch,
    records: &'a [PackageRecord],
    pub(super) index: Index<'a>,
    relations: Parsed<'a, Need<'a>>,
}

impl<'a> Universe<'a> {
    /// Indexes `records`, see [`Index::new`].
    pub(super) fn new(targets: Targets<'_>, records: &'a [PackageRecord], without: &[String]) -> Self {
        Self {
            arch: targets.native,
            records,
            index: Index::new(targets, records, without),
            relations: Parsed::default(),
        }
    }

    /// Returns the record of a package. Ids come only from this universe.
    pub(super) fn record(&self, package: PackageId) -> &'a PackageRecord {
        &self.records[package as usize]
    }

    /// Returns the relations of a package.
    pub(super) fn relations(&self, package: PackageId) -> Rc<Relations<'a>> {
        self.relations.get(package, || self.parse(package))
    }

    fn parse(&self, package: PackageId) -> Relations<'a> {
        let record = self.record(package);
        let place = self.place(package);
        let mut result = Relations::default();
        for (kind, field, text) in [
            (DependencyKind::PreDepends, "Pre-Depends", &record.pre_depends),
            (DependencyKind::Depends, "Depends", &record.depends),
        ] {
            match parse_relations(text, self.arch) {
                Ok(groups) => result
                    .needs
                    .extend(groups.iter().map(|group| self.need(place, kind, group))),
                Err(error) => result.malformed = Some(malformed(field, &error)),
            }
        }
        for (field, text) in [("Conflicts", &record.conflicts), ("Breaks", &record.breaks)] {
            match parse_relations(text, self.arch) {
                Ok(groups) => result
                    .clashes
                    .extend(
                        groups
                            .into_iter()
                            .flat_map(|group| group.alternatives)
                            .map(|relation| Clash {
                                field,
                                text: relation.text,
                                packages: self.hit_by(package, &relation),
                            }),
                    ),
                Err(error) => result.malformed = Some(malformed(field, &error)),
            }
        }
        result.clashes.extend(self.clash_of_architectures(package));
        // A malformed recommendation is none: the package works without.
        let wishes = parse_relations(&record.recommends, self.arch).unwrap_or_default();
        let wishes = wishes
            .iter()
            .map(|group| self.need(place, DependencyKind::Recommends, group));
        result.wishes.extend(wishes);
        result
    }

    /// Makes the need of a package of the architecture at `place`.
    fn need(&self, place: usize, kind: DependencyKind, group: &OrGroup<'a>) -> Need<'a> {
        Need {
            kind,
            text: group.text,
            alternatives: group
                .alternatives
                .iter()
                .map(|relation| self.satisfying(place, relation))
                .collect(),
        }
    }

    /// Returns the place of a package's architecture, see [`Index::place`].
    pub(super) fn place(&self, package: PackageId) -> usize {
        self.index.place(&self.record(package).architecture).unwrap_or_default()
    }

    /// Returns the packages of the same name and another architecture that `package` cannot be together with: all, or
    /// for `Multi-Arch: same` those of another version or without this field (deb-control(5), "Multi-Arch").
    fn clash_of_architectures(&self, package: PackageId) -> Option<Clash<'a>> {
        if !self.index.has_foreign() {
            return None;
        }
        let (record, place) = (self.record(package), self.place(package));
        let mut packages: Vec<_> = self.index.all_versions(&record.name).collect();
        packages.retain(|id| {
            let other = self.record(*id);
            let same = [record, other].iter().all(|one| one.multi_arch == MultiArch::Same);
            self.place(*id) != place && !(same && other.version == record.version)
        });
        let text = match record.multi_arch {
            MultiArch::Same => "same, which needs the same version of all architectures",
            MultiArch::Foreign => "foreign, of which one architecture is enough",
            MultiArch::Allowed => "allowed, of which one architecture can be there",
            MultiArch::No => "no, of which one architecture can be there",
        };
        let field = "Multi-Arch";
        (!packages.is_empty()).then_some(Clash { field, text, packages })
    }

    /// Finds the packages that satisfy a positive relation of a package of the architecture at `place`, in apt's order
    /// of preference.
    fn satisfying(&self, place: usize, relation: &Relation<'a>) -> Alternative<'a> {
        let fits = |id: &PackageId| match relation.qualifier {
            None | Some("native") => self.place(*id) == place || self.record(*id).multi_arch == MultiArch::Foreign,
            Some("any") => self.record(*id).multi_arch == MultiArch::Allowed,
            Some(other) => self.index.place(other) == Some(self.place(*id)),
        };
        let mut packages = self.index.matching(relation, self.records);
        packages.retain(fits);
        if packages.len() > 1 {
            packages.sort_by_key(|id| self.rank(relation.name, *id));
            let mut seen = HashSet::new();
            packages.retain(|id| seen.insert(*id));
        }
        Alternative {
            name: relation.name,
            packages,
        }
    }

    /// Returns apt's rank of a package for a relation to `name`, smaller is better: candidates before other versions,
    /// the real package before providers, then essential ones, then by `Priority`, then the machine's own architecture.
    fn rank(&self, name: &str, package: PackageId) -> (bool, bool, bool, u8, usize) {
        let record = self.record(package);
        (
            self.index.candidate(package) != package,
            &*record.name != name,
            !record.essential,
            priority_rank(&record.priority),
            self.place(package),
        )
    }

    /// Divides the packages that satisfy an alternative into groups that apt tries one after the other: those that are
    /// `settled` already, then by rank. Inside a group the order of [`Self::sort_by_mention`] decides.
    pub(super) fn group_by_rank(
        &self,
        alternative: &Alternative<'_>,
        mut packages: Vec<PackageId>,
        settled: impl Fn(PackageId) -> bool,
    ) -> Vec<Vec<PackageId>> {
        let rank = |id: &PackageId| (!settled(*id), self.rank(alternative.name, *id));
        packages.sort_by_key(rank);
        packages
            .chunk_by(|a, b| rank(a) == rank(b))
            .map(<[_]>::to_vec)
            .collect()
    }

    /// Sorts equal packages in apt's order: the later the indexes first mention a package, the better. (Apt numbers
    /// packages so, and prefers the higher number.) This reads the relations of all packages, so it is called only when
    /// the order matters.
    pub(super) fn sort_by_mention(&self, packages: &mut [PackageId]) {
        if packages.len() > 1 {
            let names = packages.iter().map(|id| &*self.record(*id).name);
            let mentions = mention::first_mentions(self.records, names);
            packages.sort_by_key(|id| Reverse(mentions.get(&*self.record(*id).name).copied()));
        }
    }

    /// Returns the packages that a negative relation of `package` excludes; never those of its own name, whose
    /// `Provides` may well have the name in conflict (Debian Policy 7.4).
    fn hit_by(&self, package: PackageId, relation: &Relation<'_>) -> Vec<PackageId> {
        if relation
            .qualifier
            .is_some_and(|arch| !matches!(arch, "any" | "native") && self.index.place(arch).is_none())
        {
            return Vec::new();
        }
        let named = relation.qualifier.and_then(|arch| self.index.place(arch));
        let own = &self.record(package).name;
        let mut found = self.index.matching(relation, self.records);
        found.retain(|id| self.record(*id).name != *own && named.is_none_or(|place| self.place(*id) == place));
        found
    }
}

fn malformed(field: &str, error: &RelationError) -> String {
    format!("its {field} field is malformed ({error})")
}

/// Returns the rank of a priority (Debian Policy 2.5), most important first; a missing field comes before all, as in
/// apt.
fn priority_rank(priority: &str) -> u8 {
    match priority {
        "" => 0,
        "required" => 1,
        "important" => 2,
        "standard" => 3,
        "optional" => 4,
        _ => 5,
    }
}

impl solver::Universe for Universe<'_> {
    fn no_name(&self) -> NameId {
        // Names are the numbers of records.
        NameId::try_from(self.records.len()).unwrap_or(NameId::MAX)
    }

    fn name(&self, package: PackageId) -> NameId {
        self.index.candidate(package)
    }

    fn versions(&self, name: NameId) -> Vec<PackageId> {
        self.index
            .versions_at(self.place(name), &self.record(name).name)
            .to_vec()
    }

    fn requirements(&self, package: PackageId) -> Vec<Vec<PackageId>> {
        let relations = self.relations(package);
        let malformed = relations.malformed.iter().map(|_| Vec::new());
        relations
            .needs
            .iter()
            .map(|need| need.packages().collect())
            .chain(malformed)
            .collect()
    }

    fn exclusions(&self, package: PackageId) -> Vec<PackageId> {
        self.relations(package).excluded().collect()
    }

    fn describe(&self, package: PackageId) -> String {
        let record = self.record(package);
        match self.place(package) {
            0 => format!("{} {}", record.name, record.version),
            _ => format!("{}:{} {}", record.name, record.architecture, record.version),
        }
    }
}
