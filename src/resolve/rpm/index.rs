//! Finds packages by name, by `Provides` and by their files.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::package::{Arch, Capability, Evr, Operator, RpmRecord};
use crate::resolve::solver::{NameId, PackageId};

/// A version range as written; all versions if absent.
type Range<'a> = Option<(Operator, Evr<'a>)>;

/// Names, capabilities and files to packages. Each resolution builds it from all records; the index of files only if it
/// is used.
#[derive(Debug)]
pub(super) struct Index<'a> {
    records: &'a [RpmRecord],
    /// Names, by the order of their first record. Id 0 stays without packages.
    ids: HashMap<&'a str, NameId>,
    /// All versions of each name, best first.
    versions: Vec<Vec<PackageId>>,
    /// The name of each record; 0 if the record cannot be installed.
    name_of: Vec<NameId>,
    /// Where the chain of a provided name begins in `provided`.
    first_provided: HashMap<&'a str, usize>,
    provided: Vec<Provided<'a>>,
    /// The packages that obsolete a name, with the obsolete versions.
    obsoletes: HashMap<&'a str, Vec<(PackageId, Range<'a>)>>,
    files: OnceCell<HashMap<&'a str, Vec<PackageId>>>,
}

/// A `Provides` entry in the chain of its name.
#[derive(Debug)]
struct Provided<'a> {
    owner: PackageId,
    range: Range<'a>,
    next: Option<usize>,
}

/// The name without packages.
pub(super) const NO_NAME: NameId = 0;

impl<'a> Index<'a> {
    /// Indexes `records`, without those that cannot be installed: packages of other architectures, those with a name of
    /// `without`, and those of a repository whose priority is zero or below.
    pub(super) fn new(arch: Arch, records: &'a [RpmRecord], without: &[String]) -> Self {
        let mut index = Self {
            records,
            ids: HashMap::with_capacity(records.len()),
            versions: vec![Vec::new()],
            name_of: vec![NO_NAME; records.len()],
            first_provided: HashMap::with_capacity(records.len() * 2),
            provided: Vec::with_capacity(records.len() * 4),
            obsoletes: HashMap::new(),
            files: OnceCell::new(),
        };
        for (id, record) in (0..).zip(records) {
            let here = &*record.arch == arch.rpm() || &*record.arch == "noarch";
            if here && record.priority > 0 && !without.iter().any(|name| **name == *record.name) {
                let fresh = NameId::try_from(index.versions.len()).unwrap_or(NO_NAME);
                let name = *index.ids.entry(&record.name).or_insert(fresh);
                if name == fresh {
                    index.versions.push(Vec::new());
                }
                index.versions[name as usize].push(id);
                index.name_of[id as usize] = name;
            }
        }
        index.sort_versions();
        // Backwards, because each entry becomes the head of its chain.
        for (at, record) in records.iter().enumerate().rev() {
            if index.name_of[at] != NO_NAME
                && let Ok(id) = PackageId::try_from(at)
            {
                index.add(id, record);
            }
        }
        index
    }

    /// Ranks the versions of each name: by priority, then version, then order of the repositories.
    fn sort_versions(&mut self) {
        for versions in self.versions.iter_mut().filter(|versions| versions.len() > 1) {
            let record = |id: &PackageId| &self.records[*id as usize];
            versions.sort_by_cached_key(|id| {
                let record = record(id);
                let native = &*record.arch != "noarch";
                (Reverse(record.priority), Reverse(Evr::new(&record.evr)), !native, *id)
            });
            // The same version from another repository is the same package.
            let mut seen = HashSet::new();
            versions.retain(|id| {
                let first = seen.insert(&*record(id).evr);
                if !first {
                    self.name_of[*id as usize] = NO_NAME;
                }
                first
            });
        }
    }

    /// Adds the `Provides` and `Obsoletes` of a package; malformed lines are ignored.
    fn add(&mut self, owner: PackageId, record: &'a RpmRecord) {
        for capability in record
            .provides
            .lines()
            .rev()
            .filter_map(|line| Capability::parse(line).ok())
        {
            let at = self.provided.len();
            let next = self.first_provided.insert(capability.name, at);
            self.provided.push(Provided {
                owner,
                range: capability.range,
                next,
            });
        }
        for capability in record.obsoletes.lines().filter_map(|line| Capability::parse(line).ok()) {
            let entry = self.obsoletes.entry(capability.name).or_default();
            entry.push((owner, capability.range));
        }
    }

    /// Returns all versions of a name, best first; none if the name is unknown.
    pub(super) fn versions(&self, name: &str) -> &[PackageId] {
        self.versions_of(self.ids.get(name).copied().unwrap_or(NO_NAME))
    }

    /// Returns all versions of a name by its id.
    pub(super) fn versions_of(&self, name: NameId) -> &[PackageId] {
        self.versions.get(name as usize).map_or(&[], Vec::as_slice)
    }

    /// Returns the id of a package's name.
    pub(super) fn name_of(&self, package: PackageId) -> NameId {
        self.name_of.get(package as usize).copied().unwrap_or(NO_NAME)
    }

    /// Returns the number of ids that names take.
    pub(super) fn name_count(&self) -> usize {
        self.versions.len()
    }

    /// Returns the names of all packages, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.ids.keys().copied()
    }

    /// Returns all packages that can be installed, in the order of the records.
    pub(super) fn packages(&self) -> impl Iterator<Item = PackageId> {
        let installable = |(id, name): (PackageId, &NameId)| (*name != NO_NAME).then_some(id);
        (0..).zip(&self.name_of).filter_map(installable)
    }

    /// Returns the packages that provide `wanted`, by their names too, in the order of the records; files are not
    /// considered.
    pub(super) fn providers(&self, wanted: &Capability<'_>) -> Vec<PackageId> {
        let entry = |at: usize| self.provided.get(at);
        let first = self.first_provided.get(wanted.name).copied().and_then(entry);
        let chain = std::iter::successors(first, move |provided| provided.next.and_then(entry));
        let mut found: Vec<_> = chain
            .filter(|provided| {
                let name = wanted.name;
                let range = provided.range;
                Capability { name, range }.ranges_overlap(wanted)
            })
            .map(|provided| provided.owner)
            .collect();
        // Every package provides its name, even if its index does not say so.
        let named = self.versions(wanted.name).iter().copied();
        found.extend(named.filter(|id| self.is_named(*id, wanted)));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns whether a package's own name and version are `wanted`.
    pub(super) fn is_named(&self, package: PackageId, wanted: &Capability<'_>) -> bool {
        let Some(record) = self.records.get(package as usize) else {
            return false;
        };
        let own = Capability {
            name: &record.name,
            range: Some((Operator::Equal, Evr::new(&record.evr))),
        };
        own.overlaps(wanted)
    }

    /// Returns the packages that have the file `path` according to the records.
    pub(super) fn owners(&self, path: &str) -> &[PackageId] {
        let files = self.files.get_or_init(|| {
            let mut files: HashMap<&str, Vec<PackageId>> = HashMap::new();
            for id in self.packages() {
                for file in self.records[id as usize].files.lines() {
                    files.entry(file).or_default().push(id);
                }
            }
            files
        });
        files.get(path).map_or(&[], Vec::as_slice)
    }

    /// Returns the packages of other names that obsolete `package`.
    pub(super) fn obsoleters(&self, package: PackageId) -> Vec<PackageId> {
        let Some(record) = self.records.get(package as usize) else {
            return Vec::new();
        };
        let all = self.obsoletes.get(&*record.name).into_iter().flatten();
        let found = all.filter(|(owner, range)| {
            let name = &*record.name;
            let meant = Capability { name, range: *range };
            self.name_of(*owner) != self.name_of(package) && self.is_named(package, &meant)
        });
        found.map(|(owner, _)| *owner).collect()
    }
}
