//! What the repositories offer, in the package format of the provider: verified, loaded, looked at, resolved.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::package::{Arch, DebVersion, Evr, PackageRecord, Resolution, RpmRecord, Sha256};
use crate::provider::PackageSystem;
use crate::repo::rpm::FileOwners;
use crate::repo::{LoadOptions, Loader, ReleaseInfo, Repository, deb, rpm};
use crate::resolve::rpm::groups::{Expanded, expand, is_group};
use crate::resolve::{self, Wanted};

use super::{BuildError, Context, local};

/// The roots of all repositories' metadata, verified; and the indexes of plain directories, which have no root.
#[derive(Debug)]
pub(super) enum Heads {
    Deb {
        served: Vec<deb::Head>,
        plain: Vec<deb::LoadedIndex>,
    },
    Rpm {
        served: Vec<rpm::Head>,
        plain: Vec<rpm::LoadedIndex>,
    },
}

impl Heads {
    /// Verifies what `repositories` say of their indexes, which are not read, and makes those of plain directories.
    pub fn verify(context: &Context<'_>, repositories: &[Repository]) -> Result<Self, BuildError> {
        let loader = loader(context);
        let (arch, cancel) = (loader.options.arch, context.cancel);
        match context.request.loaded.provider.package_system {
            PackageSystem::Deb => {
                let (directories, served) = split(repositories, local::deb_directory);
                let served = loader.heads::<deb::Deb>(&served)?;
                let plain = directories
                    .iter()
                    .map(|(repository, directory)| local::load_debs(repository, directory, arch, cancel));
                let plain = plain.collect::<Result<_, _>>()?;
                Ok(Self::Deb { served, plain })
            }
            PackageSystem::Rpm => {
                let (directories, served) = split(repositories, local::rpm_directory);
                let served = loader.heads::<rpm::Rpm>(&served)?;
                let plain = directories
                    .iter()
                    .map(|(repository, directory)| local::load_rpms(repository, directory, arch, cancel));
                let plain = plain.collect::<Result<_, _>>()?;
                Ok(Self::Rpm { served, plain })
            }
        }
    }

    /// The root of each repository's metadata, with the repository's id.
    pub fn releases(&self) -> Vec<(String, ReleaseInfo)> {
        match self {
            Self::Deb { served, plain } => {
                let heads = served
                    .iter()
                    .map(|head| (head.repository_id().to_owned(), head.release()));
                let plain = plain
                    .iter()
                    .map(|index| (index.repository_id.clone(), index.release.clone()));
                heads.chain(plain).collect()
            }
            Self::Rpm { served, plain } => {
                let heads = served
                    .iter()
                    .map(|head| (head.repository_id().to_owned(), head.release()));
                let plain = plain
                    .iter()
                    .map(|index| (index.repository_id.clone(), index.release.clone()));
                heads.chain(plain).collect()
            }
        }
    }

    /// Gives each of `repositories` that was found through a list of mirrors the base URL of the mirror.
    pub fn place(&self, repositories: &mut [Repository]) {
        if let Self::Rpm { served, .. } = self {
            place(repositories, |id| {
                let head = served.iter().find(|head| head.repository_id() == id)?;
                Some(head.base_url())
            });
        }
    }

    /// What the user should know of the repositories.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Deb { .. } => Vec::new(),
            Self::Rpm { served, .. } => served.iter().flat_map(rpm::Head::notes).collect(),
        }
    }

    /// Loads the indexes. The records of the repositories `own` come first.
    pub fn load(&self, context: &Context<'_>, own: &BTreeSet<&str>) -> Result<Catalogue, BuildError> {
        let loader = loader(context);
        match self {
            Self::Deb { served, plain } => {
                let mut indexes = loader.load::<deb::Deb>(served)?;
                indexes.extend(plain.iter().cloned());
                let (own_count, records) = gather(&mut indexes, own, |index| {
                    (index.repository_id.as_str(), &mut index.records)
                });
                Ok(Catalogue {
                    own_count,
                    records: Records::Deb { indexes, records },
                })
            }
            Self::Rpm { served, plain } => {
                let mut indexes = loader.load::<rpm::Rpm>(served)?;
                indexes.extend(plain.iter().cloned());
                let (own_count, records) = gather(&mut indexes, own, |index| {
                    (index.repository_id.as_str(), &mut index.records)
                });
                Ok(Catalogue {
                    own_count,
                    records: Records::Rpm {
                        indexes,
                        records,
                        owners: Mutex::default(),
                    },
                })
            }
        }
    }
}

/// The records of all repositories.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// How many of them are of the provider's repositories: the first.
    own_count: usize,
    records: Records,
}

#[derive(Debug)]
enum Records {
    /// The records were taken out of the indexes.
    Deb {
        indexes: Vec<deb::LoadedIndex>,
        records: Vec<PackageRecord>,
    },
    Rpm {
        indexes: Vec<rpm::LoadedIndex>,
        records: Vec<RpmRecord>,
        /// Who has the files that were looked for in file lists, by path.
        owners: Mutex<BTreeMap<String, Vec<Sha256>>>,
    },
}

impl Catalogue {
    /// The versions of a package, the newest first.
    pub fn versions(&self, name: &str) -> Vec<&str> {
        match &self.records {
            Records::Deb { records, .. } => {
                let named = records.iter().filter(|record| *record.name == *name);
                let mut versions: Vec<&str> = named.map(|record| &*record.version).collect();
                versions.sort_by(|a, b| DebVersion::new(b).cmp(&DebVersion::new(a)));
                versions
            }
            Records::Rpm { records, .. } => {
                let named = records.iter().filter(|record| *record.name == *name);
                let mut versions: Vec<&str> = named.map(|record| &*record.evr).collect();
                versions.sort_by(|a, b| Evr::new(b).cmp(&Evr::new(a)));
                versions
            }
        }
    }

    /// The root of each repository's metadata, with the repository's id.
    pub fn releases(&self) -> Vec<(String, ReleaseInfo)> {
        match &self.records {
            Records::Deb { indexes, .. } => {
                let indexes = indexes.iter();
                indexes
                    .map(|index| (index.repository_id.clone(), index.release.clone()))
                    .collect()
            }
            Records::Rpm { indexes, .. } => {
                let indexes = indexes.iter();
                indexes
                    .map(|index| (index.repository_id.clone(), index.release.clone()))
                    .collect()
            }
        }
    }

    /// As [`Heads::place`]: an index may have come from another mirror in the end.
    pub fn place(&self, repositories: &mut [Repository]) {
        if let Records::Rpm { indexes, .. } = &self.records {
            place(repositories, |id| {
                let index = indexes.iter().find(|index| index.repository_id == id)?;
                Some(index.base_url.as_str())
            });
        }
    }

    /// Whether there are records besides those of the provider's repositories.
    pub fn has_others(&self) -> bool {
        let count = match &self.records {
            Records::Deb { records, .. } => records.len(),
            Records::Rpm { records, .. } => records.len(),
        };
        self.own_count < count
    }

    /// What requests are resolved from: all records, or those of the provider's repositories alone.
    pub fn resolver(&self, arch: Arch, only_own: bool) -> Resolver<'_> {
        let count = if only_own { self.own_count } else { usize::MAX };
        match &self.records {
            Records::Deb { records, .. } => {
                let records = records.get(..count).unwrap_or(records);
                Resolver::Deb(Box::new(resolve::deb::Resolver::new(arch, records)))
            }
            Records::Rpm { records, .. } => {
                let records = records.get(..count).unwrap_or(records);
                Resolver::Rpm(Box::new(resolve::rpm::Resolver::new(arch, records)))
            }
        }
    }

    /// Puts packages in the place of groups; an index of groups is read only if there is one in `asked`.
    pub fn expand(
        &self,
        context: &Context<'_>,
        repositories: &[Repository],
        asked: &[String],
    ) -> Result<Expanded, BuildError> {
        match &self.records {
            Records::Rpm { indexes, records, .. } if asked.iter().any(|text| is_group(text)) => {
                let loader = &loader(context);
                let further = rpm::Further {
                    repositories,
                    loaded: indexes,
                    loader,
                };
                let groups = further.groups()?;
                let known: HashSet<&str> = records.iter().map(|record| &*record.name).collect();
                Ok(expand(asked, &groups, |name| known.contains(name))?)
            }
            // A template has no groups of Debian packages.
            Records::Rpm { .. } | Records::Deb { .. } => Ok(Expanded {
                packages: asked.to_vec(),
                absent: Vec::new(),
            }),
        }
    }

    /// Who has the files `paths`; those that were asked for before are not looked for again.
    fn owners(
        &self,
        context: &Context<'_>,
        repositories: &[Repository],
        paths: &BTreeSet<String>,
    ) -> Result<FileOwners, BuildError> {
        let Records::Rpm { indexes, owners, .. } = &self.records else {
            return Ok(FileOwners::new());
        };
        let mut known = owners.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: BTreeSet<String> = paths
            .iter()
            .filter(|path| !known.contains_key(*path))
            .cloned()
            .collect();
        if !unknown.is_empty() {
            let loader = &loader(context);
            let further = rpm::Further {
                repositories,
                loaded: indexes,
                loader,
            };
            let found = further.owners(&unknown)?;
            known.extend(unknown.into_iter().map(|path| (path, Vec::new())));
            for (package, paths) in found {
                for path in paths {
                    known.entry(path).or_default().push(package);
                }
            }
        }
        let mut asked = FileOwners::new();
        for path in paths {
            for package in known.get(path).into_iter().flatten() {
                asked.entry(*package).or_default().push(path.clone());
            }
        }
        Ok(asked)
    }
}

/// Records of a [`Catalogue`], indexed.
#[derive(Debug)]
pub(super) enum Resolver<'a> {
    Deb(Box<resolve::deb::Resolver<'a>>),
    Rpm(Box<resolve::rpm::Resolver<'a>>),
}

impl Resolver<'_> {
    /// Resolves `wanted`; file lists are those of `catalogue`, which has the records, from `repositories`.
    pub fn resolve(
        &mut self,
        context: &Context<'_>,
        (catalogue, repositories): (&Catalogue, &[Repository]),
        wanted: &Wanted<'_>,
    ) -> Result<Resolution, BuildError> {
        match self {
            Self::Deb(resolver) => Ok(resolver.resolve(wanted)?),
            Self::Rpm(resolver) => resolver.resolve(wanted, |paths| catalogue.owners(context, repositories, paths)),
        }
    }
}

fn loader<'a>(context: &'a Context<'_>) -> Loader<'a> {
    let request = context.request;
    Loader {
        options: LoadOptions {
            arch: request.loaded.template.target.arch,
            metadata_dir: context.workspace.metadata(),
            now: request.now,
            offline: request.offline,
            workers: request.workers,
            jobs: request.jobs,
        },
        transport: &context.fetcher,
        progress: context.progress,
        cancel: context.cancel,
    }
}

type Plain = Vec<(Repository, std::path::PathBuf)>;

/// Repositories that are plain directories, and those that have an index.
fn split(
    repositories: &[Repository],
    directory: fn(&Repository) -> Option<std::path::PathBuf>,
) -> (Plain, Vec<Repository>) {
    let (mut plain, mut served) = (Vec::new(), Vec::new());
    for repository in repositories {
        match directory(repository) {
            Some(directory) => plain.push((repository.clone(), directory)),
            None => served.push(repository.clone()),
        }
    }
    (plain, served)
}

fn place<'a>(repositories: &mut [Repository], base_url: impl Fn(&str) -> Option<&'a str>) {
    for repository in repositories {
        if let Some(base_url) = base_url(&repository.id) {
            base_url.clone_into(&mut repository.base_url);
        }
    }
}

/// One list of all records that are taken out of `indexes`, which have the `parts` id and records; those of the repositories
/// `own` first, and how many these are. Otherwise they stand in the order of the indexes.
fn gather<I, R>(
    indexes: &mut [I],
    own: &BTreeSet<&str>,
    parts: impl Fn(&mut I) -> (&str, &mut Vec<R>),
) -> (usize, Vec<R>) {
    let (mut records, mut added) = (Vec::new(), Vec::new());
    for index in indexes {
        let (id, taken) = parts(index);
        match own.contains(id) {
            true if records.is_empty() => std::mem::swap(&mut records, taken),
            true => records.append(taken),
            false => added.append(taken),
        }
    }
    let own_count = records.len();
    records.append(&mut added);
    (own_count, records)
}
