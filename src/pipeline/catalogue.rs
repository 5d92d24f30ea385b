//! What the repositories offer, in the package format of the provider: loaded, looked at, resolved.

use std::collections::{BTreeSet, HashSet};

use crate::package::{DebVersion, Evr, PackageRecord, Resolution, RpmRecord};
use crate::provider::PackageSystem;
use crate::repo::{LoadOptions, ReleaseInfo, Repository, deb, rpm};
use crate::resolve::rpm::groups::{Expanded, expand, is_group};
use crate::resolve::{self, Request};

use super::{BuildError, Context, local};

/// The indexes of all repositories. Records stand in the order of the indexes.
#[derive(Debug)]
pub(super) enum Catalogue {
    Deb {
        indexes: Vec<deb::LoadedIndex>,
        records: Vec<PackageRecord>,
    },
    Rpm {
        indexes: Vec<rpm::LoadedIndex>,
        records: Vec<RpmRecord>,
    },
}

impl Catalogue {
    /// Loads and verifies the indexes of `repositories`, and makes those of plain directories. Where a
    /// repository was found through a list of mirrors, its base URL becomes that of the mirror.
    pub fn load(context: &Context<'_>, repositories: &mut [Repository]) -> Result<Self, BuildError> {
        let options = options(context);
        let (transport, progress, cancel) = (&context.fetcher, context.progress, context.cancel);
        match context.request.loaded.provider.package_system {
            PackageSystem::Deb => {
                let (plain, served) = split(repositories, local::deb_directory);
                let mut indexes = deb::load_all(&served, &options, transport, progress, cancel)?;
                for (repository, directory) in plain {
                    indexes.push(local::load_debs(&repository, &directory, options.arch, cancel)?);
                }
                Ok(Self::Deb {
                    indexes,
                    records: Vec::new(),
                })
            }
            PackageSystem::Rpm => {
                let (plain, served) = split(repositories, local::rpm_directory);
                let mut indexes = rpm::load_all(&served, &options, transport, progress, cancel)?;
                for (repository, directory) in plain {
                    indexes.push(local::load_rpms(&repository, &directory, options.arch, cancel)?);
                }
                for repository in repositories.iter_mut() {
                    if let Some(index) = indexes.iter().find(|index| index.repository_id == repository.id) {
                        repository.base_url.clone_from(&index.base_url);
                    }
                }
                Ok(Self::Rpm {
                    indexes,
                    records: Vec::new(),
                })
            }
        }
    }

    /// Makes one list of all records, those of the repositories `own` first, and says how many these are.
    pub fn gather(&mut self, own: &BTreeSet<&str>) -> usize {
        match self {
            Self::Deb { indexes, records } => gather(indexes, records, own, |index| {
                (&index.repository_id, &mut index.records)
            }),
            Self::Rpm { indexes, records } => gather(indexes, records, own, |index| {
                (&index.repository_id, &mut index.records)
            }),
        }
    }

    /// The versions of a package, the newest first.
    pub fn versions(&self, name: &str) -> Vec<&str> {
        match self {
            Self::Deb { records, .. } => {
                let named = records.iter().filter(|record| *record.name == *name);
                let mut versions: Vec<&str> = named.map(|record| &*record.version).collect();
                versions.sort_by(|a, b| DebVersion::new(b).cmp(&DebVersion::new(a)));
                versions
            }
            Self::Rpm { records, .. } => {
                let named = records.iter().filter(|record| *record.name == *name);
                let mut versions: Vec<&str> = named.map(|record| &*record.evr).collect();
                versions.sort_by(|a, b| Evr::new(b).cmp(&Evr::new(a)));
                versions
            }
        }
    }

    /// Resolves `request` among the first `count` records.
    pub fn resolve(
        &self,
        context: &Context<'_>,
        repositories: &[Repository],
        request: &Request,
        count: usize,
    ) -> Result<Resolution, BuildError> {
        match self {
            Self::Deb { records, .. } => Ok(resolve::deb::resolve(request, records.get(..count).unwrap_or(records))?),
            Self::Rpm { indexes, records } => {
                let options = options(context);
                let further = further(context, repositories, indexes, &options);
                let records = records.get(..count).unwrap_or(records);
                resolve::rpm::resolve(request, records, |paths| Ok(further.owners(paths)?))
            }
        }
    }

    /// Puts packages in the place of groups; an index of groups is read only if there is one in `asked`.
    pub fn expand(
        &self,
        context: &Context<'_>,
        repositories: &[Repository],
        asked: Vec<String>,
    ) -> Result<Expanded, BuildError> {
        match self {
            Self::Rpm { indexes, records } if asked.iter().any(|text| is_group(text)) => {
                let options = options(context);
                let groups = further(context, repositories, indexes, &options).groups()?;
                let known: HashSet<&str> = records.iter().map(|record| &*record.name).collect();
                Ok(expand(&asked, &groups, |name| known.contains(name))?)
            }
            // A template has no groups of Debian packages.
            Self::Rpm { .. } | Self::Deb { .. } => Ok(Expanded {
                packages: asked,
                absent: Vec::new(),
            }),
        }
    }

    /// The root of each repository's metadata, with the repository's id.
    pub fn releases(&self) -> Vec<(&str, &ReleaseInfo)> {
        match self {
            Self::Deb { indexes, .. } => indexes
                .iter()
                .map(|index| (&*index.repository_id, &index.release))
                .collect(),
            Self::Rpm { indexes, .. } => indexes
                .iter()
                .map(|index| (&*index.repository_id, &index.release))
                .collect(),
        }
    }

    /// What the user should know of the repositories.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Deb { .. } => Vec::new(),
            Self::Rpm { indexes, .. } => indexes.iter().flat_map(|index| index.notes.clone()).collect(),
        }
    }
}

fn options(context: &Context<'_>) -> LoadOptions {
    let request = context.request;
    LoadOptions {
        arch: request.loaded.template.target.arch,
        metadata_dir: context.workspace.metadata(),
        now: request.now,
        offline: request.offline,
        workers: request.workers,
    }
}

fn further<'a>(
    context: &'a Context<'_>,
    repositories: &'a [Repository],
    loaded: &'a [rpm::LoadedIndex],
    options: &'a LoadOptions,
) -> rpm::Further<'a> {
    rpm::Further {
        repositories,
        loaded,
        options,
        transport: &context.fetcher,
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

fn gather<I, R>(
    indexes: &mut [I],
    records: &mut Vec<R>,
    own: &BTreeSet<&str>,
    parts: fn(&mut I) -> (&String, &mut Vec<R>),
) -> usize {
    let mut added = Vec::new();
    for index in indexes {
        let (id, of_index) = parts(index);
        match own.contains(id.as_str()) {
            true => records.append(of_index),
            false => added.append(of_index),
        }
    }
    let own_count = records.len();
    records.append(&mut added);
    own_count
}
