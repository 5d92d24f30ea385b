//! The packages of all repositories as one universe: names, versions, providers,
//! and what each package needs, parsed when first asked for.

use std::cell::{OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;

use crate::package::{
    Arch, DebVersion, DependencyKind, MultiArch, Operator, PackageRecord, Relation, RelationError, parse_relations,
};
use crate::resolve::solver::{self, NameId, PackageId};

/// A `Provides` entry.
#[derive(Debug, Clone, Copy)]
struct Provided<'a> {
    owner: PackageId,
    version: Option<&'a str>,
}

/// One or-group of `Pre-Depends` or `Depends` with the packages that satisfy it.
#[derive(Debug)]
pub(super) struct Need<'a> {
    pub(super) kind: DependencyKind,
    /// The or-group as written.
    pub(super) text: &'a str,
    /// Per alternative what satisfies it, preferred first (see [`Universe::satisfying`]).
    pub(super) alternatives: Vec<Vec<PackageId>>,
}

/// One relation of `Conflicts` or `Breaks`, with what it hits.
#[derive(Debug)]
pub(super) struct Clash<'a> {
    /// The field's name.
    pub(super) field: &'static str,
    /// The relation as written.
    pub(super) text: &'a str,
    pub(super) packages: Vec<PackageId>,
}

/// The relations of one package.
#[derive(Debug, Default)]
pub(super) struct Relations<'a> {
    pub(super) needs: Vec<Need<'a>>,
    pub(super) clashes: Vec<Clash<'a>>,
    /// A field that cannot be parsed; such a package is never installed.
    pub(super) malformed: Option<(&'static str, RelationError)>,
}

/// Every package that could be installed on the target.
#[derive(Debug)]
pub(super) struct Universe<'a> {
    pub(super) arch: Arch,
    records: &'a [PackageRecord],
    /// Versions per name, best first: pin priority, then version, then order of the repositories.
    names: HashMap<&'a str, Vec<PackageId>>,
    providers: HashMap<&'a str, Vec<Provided<'a>>>,
    relations: RefCell<HashMap<PackageId, Rc<Relations<'a>>>>,
    first_mentions: OnceCell<HashMap<&'a str, u32>>,
}

impl<'a> Universe<'a> {
    /// Indexes `records`. Left out is what cannot be installed: packages of other
    /// architectures, and those pinned to zero or below (apt_preferences(5); apt
    /// never makes a candidate of priority 0 either).
    pub(super) fn new(arch: Arch, records: &'a [PackageRecord]) -> Self {
        let mut names: HashMap<&str, Vec<PackageId>> = HashMap::with_capacity(records.len());
        let mut providers: HashMap<&str, Vec<Provided<'_>>> = HashMap::new();
        for (id, record) in (0..).zip(records) {
            let here = &*record.architecture == arch.deb() || &*record.architecture == "all";
            if !here || record.priority_pin <= 0 {
                continue;
            }
            names.entry(&record.name).or_default().push(id);
            for relation in provides(record, arch) {
                let version = relation.version.map(|(_, version)| version);
                let provided = Provided { owner: id, version };
                providers.entry(relation.name).or_default().push(provided);
            }
        }
        let rank = |id: &PackageId| {
            let record = &records[*id as usize];
            (
                Reverse(record.priority_pin),
                Reverse(DebVersion::new(&record.version)),
                *id,
            )
        };
        for versions in names.values_mut().filter(|versions| versions.len() > 1) {
            versions.sort_by(|a, b| rank(a).cmp(&rank(b)));
            // The same version from another repository is the same package.
            let mut seen = std::collections::HashSet::new();
            versions.retain(|id| seen.insert(&*records[*id as usize].version));
        }
        Self {
            arch,
            records,
            names,
            providers,
            relations: RefCell::default(),
            first_mentions: OnceCell::new(),
        }
    }

    /// What the repository says of a package. Ids come only from this universe.
    pub(super) fn record(&self, package: PackageId) -> &'a PackageRecord {
        &self.records[package as usize]
    }

    /// All versions of a name, best first; empty if there is none.
    pub(super) fn versions_of(&self, name: &str) -> &[PackageId] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// What apt calls the candidate: the best version of the same name.
    pub(super) fn candidate(&self, package: PackageId) -> PackageId {
        self.versions_of(&self.record(package).name)
            .first()
            .copied()
            .unwrap_or(package)
    }

    /// The names of all packages, in no order.
    pub(super) fn package_names(&self) -> impl Iterator<Item = &'a str> {
        self.names.keys().copied()
    }

    /// The packages whose `Provides` has the name, in the order of the repositories.
    pub(super) fn providers_of(&self, name: &str) -> Vec<PackageId> {
        let mut owners: Vec<_> = self
            .providers
            .get(name)
            .into_iter()
            .flatten()
            .map(|p| p.owner)
            .collect();
        owners.dedup();
        owners
    }

    /// The relations of a package.
    pub(super) fn relations(&self, package: PackageId) -> Rc<Relations<'a>> {
        if let Some(known) = self.relations.borrow().get(&package) {
            return Rc::clone(known);
        }
        let parsed = Rc::new(self.parse(package));
        self.relations.borrow_mut().insert(package, Rc::clone(&parsed));
        parsed
    }

    fn parse(&self, package: PackageId) -> Relations<'a> {
        let record = self.record(package);
        let mut result = Relations::default();
        for (kind, field, text) in [
            (DependencyKind::PreDepends, "Pre-Depends", &record.pre_depends),
            (DependencyKind::Depends, "Depends", &record.depends),
        ] {
            match parse_relations(text, self.arch) {
                Ok(groups) => result.needs.extend(groups.into_iter().map(|group| {
                    Need {
                        kind,
                        text: group.text,
                        alternatives: group
                            .alternatives
                            .iter()
                            .map(|relation| self.satisfying(relation))
                            .collect(),
                    }
                })),
                Err(error) => result.malformed = Some((field, error)),
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
                Err(error) => result.malformed = Some((field, error)),
            }
        }
        result
    }

    /// Everything of the universe that has the relation's name or provides it, in a fitting version.
    fn matching(&self, relation: &Relation<'_>) -> Vec<PackageId> {
        let named = self
            .versions_of(relation.name)
            .iter()
            .map(|id| (*id, Some(&*self.record(*id).version)));
        let provided = self
            .providers
            .get(relation.name)
            .into_iter()
            .flatten()
            .map(|p| (p.owner, p.version));
        named
            .chain(provided)
            .filter(|(_, version)| relation.accepts(*version))
            .map(|(id, _)| id)
            .collect()
    }

    /// What satisfies a positive relation, in apt's order of preference: candidates
    /// before other versions, the real package before providers, then essential
    /// packages, then by `Priority`, then the one that the indexes mention last.
    fn satisfying(&self, relation: &Relation<'_>) -> Vec<PackageId> {
        let fits = |id: &PackageId| match relation.qualifier {
            None | Some("native") => true,
            Some("any") => self.record(*id).multi_arch == MultiArch::Allowed,
            Some(other) => other == self.arch.deb(),
        };
        let mut found = self.matching(relation);
        found.retain(fits);
        if found.len() < 2 {
            return found;
        }
        let rank = |id: &PackageId| {
            let record = self.record(*id);
            (
                self.candidate(*id) != *id,
                &*record.name != relation.name,
                !record.essential,
                priority_rank(&record.priority),
            )
        };
        found.sort_by(|a, b| {
            let later_mentioned_first = || {
                let (a, b) = (&*self.record(*a).name, &*self.record(*b).name);
                if a == b {
                    std::cmp::Ordering::Equal
                } else {
                    self.first_mention(b).cmp(&self.first_mention(a))
                }
            };
            rank(a).cmp(&rank(b)).then_with(later_mentioned_first)
        });
        let mut seen = std::collections::HashSet::new();
        found.retain(|id| seen.insert(*id));
        found
    }

    /// What a negative relation of `package` excludes; never its own name, whose
    /// `Provides` may well be what it conflicts with (Debian Policy 7.4).
    fn hit_by(&self, package: PackageId, relation: &Relation<'_>) -> Vec<PackageId> {
        if relation
            .qualifier
            .is_some_and(|arch| !matches!(arch, "any" | "native") && arch != self.arch.deb())
        {
            return Vec::new();
        }
        let own = &self.record(package).name;
        let mut found = self.matching(relation);
        found.retain(|id| self.record(*id).name != *own);
        found
    }

    /// When the indexes first mention a name: apt numbers packages so, and lets the
    /// number decide between providers that are equal otherwise.
    fn first_mention(&self, name: &str) -> u32 {
        let mentions = self.first_mentions.get_or_init(|| first_mentions(self.records));
        mentions.get(name).copied().unwrap_or(u32::MAX)
    }
}

/// The well-formed `Provides` entries for the target; a malformed field provides nothing.
fn provides(record: &PackageRecord, arch: Arch) -> impl Iterator<Item = Relation<'_>> {
    let groups = if record.provides.is_empty() {
        Vec::new()
    } else {
        parse_relations(&record.provides, arch).unwrap_or_default()
    };
    groups
        .into_iter()
        .flat_map(|group| group.alternatives)
        .filter(move |relation| {
            relation.qualifier.is_none_or(|qualifier| qualifier == arch.deb())
                && relation.version.is_none_or(|(operator, _)| operator == Operator::Equal)
        })
}

/// Debian Policy 2.5, most important first; a missing field goes before all, as in apt.
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

/// Numbers every package name by its first appearance: own name, then the relation fields as apt reads them.
fn first_mentions(records: &[PackageRecord]) -> HashMap<&str, u32> {
    let mut mentions = HashMap::with_capacity(records.len());
    for record in records {
        let stanza = record.stanza.as_str();
        let fields = [
            &*record.name,
            &record.pre_depends,
            &record.depends,
            &record.conflicts,
            &record.breaks,
            &record.recommends,
            stanza_field(stanza, "\nSuggests: "),
            &record.replaces,
            stanza_field(stanza, "\nEnhances: "),
            &record.provides,
        ];
        for name in fields.into_iter().flat_map(|field| field.split([',', '|'])) {
            let name = name.trim_ascii_start();
            let end = name.find([' ', '(', '\n']).unwrap_or(name.len());
            let number = u32::try_from(mentions.len()).unwrap_or(u32::MAX);
            mentions.entry(&name[..end]).or_insert(number);
        }
    }
    mentions
}

/// The one-line value of a field that records do not keep.
fn stanza_field<'a>(stanza: &'a str, start: &str) -> &'a str {
    stanza
        .split_once(start)
        .map_or("", |(_, rest)| rest.lines().next().unwrap_or(""))
}

impl solver::Universe for Universe<'_> {
    fn name_limit(&self) -> NameId {
        NameId::try_from(self.records.len()).unwrap_or(NameId::MAX)
    }

    fn name(&self, package: PackageId) -> NameId {
        self.candidate(package)
    }

    fn versions(&self, name: NameId) -> Vec<PackageId> {
        self.versions_of(&self.record(name).name).to_vec()
    }

    fn requirements(&self, package: PackageId) -> Vec<Vec<PackageId>> {
        let relations = self.relations(package);
        let malformed = relations.malformed.iter().map(|_| Vec::new());
        relations
            .needs
            .iter()
            .map(|need| need.alternatives.concat())
            .chain(malformed)
            .collect()
    }

    fn exclusions(&self, package: PackageId) -> Vec<PackageId> {
        let relations = self.relations(package);
        relations
            .clashes
            .iter()
            .flat_map(|clash| clash.packages.iter().copied())
            .collect()
    }

    fn describe(&self, package: PackageId) -> String {
        let record = self.record(package);
        format!("{} {}", record.name, record.version)
    }
}
