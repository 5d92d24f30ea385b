//! The packages of all repositories as one universe: names, versions, providers, and the needs of each package, parsed
//! on first use.
//!
//! The solver knows requirements and exclusions only. A clause with conditions becomes a *helper*: a package of a name
//! of its own that the needing package requires, in one variant per way to fulfil the clause: without any package of
//! the first condition, of the second, …, or with one of the clause's packages.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::package::{Arch, Capability, Checksum, DependencyKind, RpmDependency, RpmRecord};
use crate::repo::rpm::{FileOwners, lists_file};
use crate::resolve::relations::{self, Clash, Parsed};
use crate::resolve::solver::{self, NameId, PackageId};

use super::clause::{Clause, Set, clauses};
use super::index::{Index, NO_NAME};

/// One clause of a package's needs.
#[derive(Debug)]
pub(super) struct Need<'a> {
    pub(super) kind: DependencyKind,
    /// The dependency as written.
    pub(super) text: &'a str,
    pub(super) clause: Clause,
    /// The helper's name, if the clause has conditions.
    helper: Option<NameId>,
}

impl Need<'_> {
    /// Returns whether the clause binds when `is_there` says which packages there are.
    pub(super) fn binds(&self, is_there: impl Fn(&PackageId) -> bool) -> bool {
        self.clause
            .conditions
            .iter()
            .all(|condition| condition.iter().any(&is_there))
    }
}

impl relations::Need for Need<'_> {
    fn text(&self) -> &str {
        self.text
    }

    fn takes(&self, package: PackageId) -> bool {
        self.clause.packages.contains(&package)
    }

    fn is_hopeless(&self) -> bool {
        self.clause.packages.is_empty()
    }
}

/// The relations of one package.
pub(super) type Relations<'a> = relations::Relations<'a, Need<'a>>;

/// Where the owners of a file are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// In all that is known, and if that is nothing, in file lists that are read for it.
    All,
    /// In what is known already: a recommendation is not worth a download.
    Known,
}

/// One variant of a helper.
#[derive(Debug)]
struct Variant {
    owner: PackageId,
    name: NameId,
    /// Packages of which none may be there.
    absent: Set,
    /// Packages of which one must be there, unless this variant is about absence.
    present: Option<Set>,
}

#[derive(Debug, Default)]
struct Helpers {
    variants: Vec<Variant>,
    /// The ids of the variants of each helper.
    by_name: Vec<Vec<PackageId>>,
}

/// Every package that could be installed on the target.
#[derive(Debug)]
pub(super) struct Universe<'a> {
    pub(super) arch: Arch,
    records: &'a [RpmRecord],
    pub(super) index: Index<'a>,
    /// Owners of files that were looked for in file lists.
    found_files: HashMap<String, Vec<PackageId>>,
    /// Needed files whose owners are unknown.
    unknown_files: RefCell<BTreeSet<String>>,
    relations: Parsed<'a, Need<'a>>,
    helpers: RefCell<Helpers>,
    /// The packages that are likely to be chosen; they decide which variant of a helper is tried first.
    expected: RefCell<HashSet<PackageId>>,
}

impl<'a> Universe<'a> {
    /// Indexes `records`, see [`Index::new`].
    pub(super) fn new(arch: Arch, records: &'a [RpmRecord], without: &[String]) -> Self {
        Self {
            arch,
            records,
            index: Index::new(arch, records, without),
            found_files: HashMap::new(),
            unknown_files: RefCell::default(),
            relations: Parsed::default(),
            helpers: RefCell::default(),
            expected: RefCell::default(),
        }
    }

    /// Returns the files needed so far that only file lists know; the lists were not searched for them yet.
    pub(super) fn unknown_files(&self) -> BTreeSet<String> {
        self.unknown_files.borrow().clone()
    }

    /// Adds the owners of the files `looked_for`; a file without an owner is then known to have none.
    pub(super) fn add_files(&mut self, looked_for: BTreeSet<String>, owners: &FileOwners) {
        for path in looked_for {
            self.found_files.entry(path).or_default();
        }
        let by_digest: HashMap<Checksum, PackageId> = self
            .index
            .packages()
            .filter(|id| owners.contains_key(&self.record(*id).checksum))
            .map(|id| (self.record(id).checksum, id))
            .collect();
        for (digest, paths) in owners {
            for path in paths {
                if let (Some(owners), Some(id)) = (self.found_files.get_mut(path), by_digest.get(digest)) {
                    owners.push(*id);
                }
            }
        }
        self.found_files.values_mut().for_each(|owners| owners.sort_unstable());
        self.forget_relations();
    }

    /// Resets all but the index.
    pub(super) fn forget(&mut self) {
        self.found_files.clear();
        self.expected.take();
        self.forget_relations();
    }

    fn forget_relations(&mut self) {
        self.unknown_files.take();
        self.relations.clear();
        self.helpers.take();
    }

    /// Sets the packages that are likely to be chosen.
    pub(super) fn expect(&self, packages: &HashSet<PackageId>) {
        self.expected.borrow_mut().clone_from(packages);
    }

    /// Returns the record of a package. Ids come only from this universe and are not those of helpers.
    pub(super) fn record(&self, package: PackageId) -> &'a RpmRecord {
        &self.records[package as usize]
    }

    /// Returns the relations of a package.
    pub(super) fn relations(&self, package: PackageId) -> Rc<Relations<'a>> {
        self.relations.get(package, || self.parse(package))
    }

    fn parse(&self, package: PackageId) -> Relations<'a> {
        let record = self.record(package);
        let mut result = Relations::default();
        for (kind, field) in [
            (DependencyKind::PreDepends, &record.requires_pre),
            (DependencyKind::Depends, &record.requires),
        ] {
            for text in field.lines() {
                match self.clauses(text, true, Search::All) {
                    Ok(clauses) => self.add_needs(&mut result, package, (kind, text), clauses),
                    Err(reason) => result.malformed = Some(format!("Requires: {text}: {reason}")),
                }
            }
        }
        for text in record.recommends.lines() {
            // A recommendation that cannot be read is none: the package works without.
            let clauses = self.clauses(text, true, Search::Known).unwrap_or_default().into_iter();
            result.wishes.extend(clauses.map(|clause| Need {
                kind: DependencyKind::Recommends,
                text,
                clause,
                helper: None,
            }));
        }
        for text in record.conflicts.lines() {
            match self.clauses(text, false, Search::All) {
                Ok(clauses) => self.add_conflicts(&mut result, package, text, clauses),
                Err(reason) => result.malformed = Some(format!("Conflicts: {text}: {reason}")),
            }
        }
        for text in record.obsoletes.lines() {
            let Ok(capability) = Capability::parse(text) else {
                continue;
            };
            let own = self.index.name_of(package);
            let named = self.index.versions(capability.name).iter().copied();
            let packages: Set = named
                .filter(|id| self.index.name_of(*id) != own && self.index.is_named(*id, &capability))
                .collect();
            add_clash(&mut result, "Obsoletes", text, packages);
        }
        result
    }

    fn clauses(&self, text: &str, fulfilled: bool, search: Search) -> Result<Vec<Clause>, String> {
        let dependency = RpmDependency::parse(text).map_err(|error| error.to_string())?;
        let mut satisfying = |capability: &Capability<'_>| self.found(capability, search);
        clauses(&dependency, fulfilled, &mut satisfying).map_err(str::to_owned)
    }

    fn add_needs(
        &self,
        relations: &mut Relations<'a>,
        package: PackageId,
        (kind, text): (DependencyKind, &'a str),
        clauses: Vec<Clause>,
    ) {
        for clause in clauses {
            match &clause.conditions[..] {
                [only] if clause.packages.is_empty() => add_clash(relations, "Requires", text, only.clone()),
                conditions => {
                    let helper = (!conditions.is_empty()).then(|| self.add_helper(package, &clause));
                    relations.needs.push(Need {
                        kind,
                        text,
                        clause,
                        helper,
                    });
                }
            }
        }
    }

    /// Adds the conflicts of a package, which never conflicts with a capability of its own (rpm's rule for
    /// `Conflicts`).
    fn add_conflicts(&self, relations: &mut Relations<'a>, package: PackageId, text: &'a str, clauses: Vec<Clause>) {
        let plain = !text.starts_with('(');
        for mut clause in clauses {
            for condition in clause.conditions.iter_mut().filter(|_| plain) {
                condition.retain(|id| *id != package);
            }
            match &clause.conditions[..] {
                [only] if clause.packages.is_empty() => add_clash(relations, "Conflicts", text, only.clone()),
                _ => self.add_needs(relations, package, (DependencyKind::Depends, text), vec![clause]),
            }
        }
    }

    fn add_helper(&self, owner: PackageId, clause: &Clause) -> NameId {
        let helpers = &mut *self.helpers.borrow_mut();
        let name = to_u32(self.index.name_count() + helpers.by_name.len());
        let absent = clause.conditions.iter().map(|condition| Variant {
            owner,
            name,
            absent: condition.clone(),
            present: None,
        });
        let present = (!clause.packages.is_empty()).then(|| Variant {
            owner,
            name,
            absent: Set::new(),
            present: Some(clause.packages.clone()),
        });
        let first = self.records.len() + helpers.variants.len();
        helpers.variants.extend(absent.chain(present));
        let end = self.records.len() + helpers.variants.len();
        helpers.by_name.push((first..end).map(to_u32).collect());
        name
    }

    /// Returns the result of `look` on the variant with a helper's id; `None` for a package.
    fn variant<R>(&self, package: PackageId, look: impl FnOnce(&Variant) -> R) -> Option<R> {
        let at = (package as usize).checked_sub(self.records.len())?;
        self.helpers.borrow().variants.get(at).map(look)
    }

    /// Returns the package that a helper belongs to; a package belongs to itself.
    pub(super) fn owner_of(&self, package: PackageId) -> PackageId {
        self.variant(package, |variant| variant.owner).unwrap_or(package)
    }

    /// Returns the packages that satisfy a capability, preferred first: those that another one obsoletes come last,
    /// then the greater priority is preferred, then the name listed first, and of each name the best version.
    pub(super) fn satisfying(&self, wanted: &Capability<'_>) -> Set {
        self.found(wanted, Search::All)
    }

    /// Does the same as [`Self::satisfying`], as far as `search` goes.
    fn found(&self, wanted: &Capability<'_>, search: Search) -> Set {
        let mut found = self.index.providers(wanted);
        if wanted.name.starts_with('/') {
            found.extend(self.owners(wanted.name, search == Search::All && found.is_empty()));
            found.sort_unstable();
            found.dedup();
        }
        if found.len() > 1 {
            let ranks: HashMap<PackageId, _> = found.iter().map(|id| (*id, self.rank(*id, &found))).collect();
            found.sort_by_key(|id| ranks.get(id).copied());
        }
        found
    }

    /// Returns the owners of a file. If they are `needed` and unknown, the file is noted.
    fn owners(&self, path: &str, needed: bool) -> Vec<PackageId> {
        let listed = self.index.owners(path);
        if !listed.is_empty() {
            return listed.to_vec();
        }
        match self.found_files.get(path) {
            Some(owners) => owners.clone(),
            None => {
                if needed && !lists_file(path) {
                    self.unknown_files.borrow_mut().insert(path.to_owned());
                }
                Vec::new()
            }
        }
    }

    /// Returns the rank of a package among the `candidates` for one need; smaller is better.
    fn rank(&self, package: PackageId, candidates: &[PackageId]) -> (bool, Reverse<i32>, NameId, usize) {
        let obsoleters = self.index.obsoleters(package);
        let name = self.index.name_of(package);
        let versions = self.index.versions_of(name);
        (
            obsoleters.iter().any(|other| candidates.contains(other)),
            Reverse(self.record(package).priority),
            name,
            versions
                .iter()
                .position(|other| *other == package)
                .unwrap_or(usize::MAX),
        )
    }
}

fn add_clash<'a>(relations: &mut Relations<'a>, field: &'static str, text: &'a str, packages: Set) {
    if !packages.is_empty() {
        relations.clashes.push(Clash { field, text, packages });
    }
}

/// Converts an index into an id; ids stay far below this limit, since there are fewer helpers than dependencies in
/// memory.
fn to_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl solver::Universe for Universe<'_> {
    fn no_name(&self) -> NameId {
        NO_NAME
    }

    fn name(&self, package: PackageId) -> NameId {
        let helper = self.variant(package, |variant| variant.name);
        helper.unwrap_or_else(|| self.index.name_of(package))
    }

    fn versions(&self, name: NameId) -> Vec<PackageId> {
        let Some(at) = (name as usize).checked_sub(self.index.name_count()) else {
            return self.index.versions_of(name).to_vec();
        };
        let helpers = self.helpers.borrow();
        let mut variants = helpers.by_name.get(at).cloned().unwrap_or_default();
        let expected = self.expected.borrow();
        // First the variants that fit the expected packages: absence of those not expected, presence if all conditions
        // hold.
        variants.sort_by_key(|id| {
            let variant = helpers.variants.get(*id as usize - self.records.len());
            variant.is_some_and(|variant| variant.absent.iter().any(|package| expected.contains(package)))
        });
        variants
    }

    fn requirements(&self, package: PackageId) -> Vec<Vec<PackageId>> {
        if let Some(present) = self.variant(package, |variant| variant.present.clone()) {
            return present.into_iter().collect();
        }
        let relations = self.relations(package);
        let malformed = relations.malformed.iter().map(|_| Vec::new());
        let needs = relations.needs.iter().map(|need| match need.helper {
            Some(name) => self.versions(name),
            None => need.clause.packages.clone(),
        });
        needs.chain(malformed).collect()
    }

    fn exclusions(&self, package: PackageId) -> Vec<PackageId> {
        if let Some(absent) = self.variant(package, |variant| variant.absent.clone()) {
            return absent;
        }
        self.relations(package).excluded().collect()
    }

    fn describe(&self, package: PackageId) -> String {
        let record = self.record(self.owner_of(package));
        format!("{} {}", record.name, record.evr)
    }
}
