//! What repositories offer: verified, loaded, queried, resolved, in any package format.
//!
//! [`Heads`], [`Catalogue`] and [`Resolver`] are what a build sees. Behind them is one generic implementation for all
//! that implement [`Offer`].

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::package::{Resolution, Targets};
use crate::repo::{self, Format, Index, Loader, ReleaseInfo, Repository};
use crate::resolve::Wanted;
use crate::resolve::rpm::groups::Expanded;

use super::error::SystemError;
use super::offered::Offered;

/// What a repository format adds so that packages can be chosen from its repositories.
pub trait Offer: Format {
    /// The memory of indexes that are read only when a request needs them.
    type Memory: Debug + Default + Send + Sync;

    /// Gives the directory, if `repository` is a directory of package files without an index.
    fn directory(repository: &Repository) -> Option<PathBuf>;

    /// Makes the index of a directory of package files, or of the files that `repository` names; these have no
    /// `directory`.
    ///
    /// # Errors
    /// If the packages carry no signature, or one of them is damaged.
    fn index(
        repository: &Repository,
        directory: &Path,
        targets: Targets<'_>,
        cancel: &Cancel,
    ) -> Result<Index<Self>, SystemError>;

    /// Gives a package's name.
    fn name(record: &Self::Record) -> &str;

    /// Gives a package's full version.
    fn version(record: &Self::Record) -> &str;

    /// Compares two full versions.
    fn compare(a: &str, b: &str) -> Ordering;

    /// Gives what a package is, in one line; empty if the repository does not say.
    fn summary(record: &Self::Record) -> &str;

    /// Gives all that people read of a package.
    fn describe(record: &Self::Record) -> Offered;

    /// Puts packages in the place of groups, where the format has groups.
    ///
    /// # Errors
    /// If a group does not exist, or an index of groups cannot be loaded.
    fn expand(_offered: &Records<Self>, _source: Source<'_>, asked: &[String]) -> Result<Expanded, SystemError> {
        Ok(Expanded::of(asked))
    }

    /// Indexes `records`, which are those of `offered` or a part of them, as far as they are for `targets`, without
    /// packages with a name of `without`.
    fn resolver<'a>(
        offered: &'a Records<Self>,
        records: &'a [Self::Record],
        source: Source<'a>,
        targets: Targets<'_>,
        without: &[String],
    ) -> Box<dyn Resolver + 'a>;
}

/// The place to read more that belongs to what was loaded.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)] // a loader has none
pub struct Source<'a> {
    /// The loader.
    pub loader: &'a Loader<'a>,
    /// The repositories, each with the base URL where it was found.
    pub repositories: &'a [Repository],
}

/// The roots of all repositories' metadata, verified; and the indexes of plain directories, which have no root.
pub trait Heads: Debug + Send + Sync {
    /// Gives the root of each repository's metadata, with the repository's id.
    fn releases(&self) -> Vec<(String, ReleaseInfo)>;

    /// Gives each of `repositories` that was found through a list of mirrors the base URL of the mirror.
    fn place(&self, repositories: &mut [Repository]);

    /// Lists what the user should know of the repositories.
    fn notes(&self) -> Vec<String>;

    /// Loads the indexes. The records of the repositories `own`, given by their ids, come first.
    ///
    /// # Errors
    /// [`SystemError`] of the first repository, in order, that cannot be used.
    fn load(&self, loader: &Loader<'_>, own: &BTreeSet<&str>) -> Result<Box<dyn Catalogue>, SystemError>;
}

/// The records of all repositories.
pub trait Catalogue: Debug + Send + Sync {
    /// Gives the versions of a package, the newest first.
    fn versions(&self, name: &str) -> Vec<&str>;

    /// Gives the packages for which `is_wanted` is true of name and summary: by name, of each the newest version first.
    fn offered(&self, is_wanted: &dyn Fn(&str, &str) -> bool) -> Vec<Offered>;

    /// Gives all names, each once, in order.
    fn names(&self) -> BTreeSet<&str>;

    /// Gives the root of each repository's metadata, with the repository's id.
    fn releases(&self) -> Vec<(String, ReleaseInfo)>;

    /// Does the same as [`Heads::place`]: an index may have come from another mirror in the end.
    fn place(&self, repositories: &mut [Repository]);

    /// Says whether there are records besides those of the provider's repositories.
    fn has_others(&self) -> bool;

    /// Puts packages in the place of groups; reads an index of groups only if `asked` names a group.
    ///
    /// # Errors
    /// If a group does not exist, or an index of groups cannot be loaded.
    fn expand(&self, source: Source<'_>, asked: &[String]) -> Result<Expanded, SystemError>;

    /// Gives the resolver of all records without packages with a name of `without`, or of those of the provider's
    /// repositories and the machine's own architecture alone.
    fn resolver<'a>(&'a self, source: Source<'a>, only_own: bool, without: &[String]) -> Box<dyn Resolver + 'a>;
}

/// Records of a [`Catalogue`], indexed.
pub trait Resolver {
    /// Finds the packages to install for `wanted`, in the order of installation.
    ///
    /// # Errors
    /// If no set of packages satisfies `wanted`, or an index that it takes cannot be loaded.
    fn resolve(&mut self, wanted: &Wanted<'_>) -> Result<Resolution, SystemError>;
}

/// Verifies what `repositories` say of their indexes, which are not read, and makes those of plain directories.
///
/// # Errors
/// [`SystemError`] of the first repository, in order, that cannot be used.
pub fn verify<F: Offer>(loader: &Loader<'_>, repositories: &[Repository]) -> Result<Box<dyn Heads>, SystemError> {
    let (mut directories, mut served) = (Vec::new(), Vec::new());
    for repository in repositories {
        let named = repository.files.as_ref().map(|_| PathBuf::new());
        match named.or_else(|| F::directory(repository)) {
            Some(directory) => directories.push((repository, directory)),
            None => served.push(repository.clone()),
        }
    }
    let served = loader.heads::<F>(&served)?;
    let plain = directories
        .iter()
        .map(|(repository, directory)| F::index(repository, directory, loader.options.targets(), loader.work.cancel));
    let plain = plain.collect::<Result<_, _>>()?;
    Ok(Box::new(Verified { served, plain }))
}

/// The [`Heads`] of one format.
#[derive(Debug)]
struct Verified<F: Offer> {
    served: Vec<repo::Head<F>>,
    plain: Vec<Index<F>>,
}

impl<F: Offer> Heads for Verified<F> {
    fn releases(&self) -> Vec<(String, ReleaseInfo)> {
        let heads = self.served.iter();
        let heads = heads.map(|head| (head.repository_id().to_owned(), head.release()));
        heads.chain(releases(&self.plain)).collect()
    }

    fn place(&self, repositories: &mut [Repository]) {
        let heads = self.served.iter();
        place(repositories, heads.map(|head| (head.repository_id(), head.base_url())));
    }

    fn notes(&self) -> Vec<String> {
        self.served.iter().flat_map(repo::Head::notes).collect()
    }

    fn load(&self, loader: &Loader<'_>, own: &BTreeSet<&str>) -> Result<Box<dyn Catalogue>, SystemError> {
        let mut indexes = loader.load(&self.served)?;
        indexes.extend(self.plain.iter().cloned());
        Ok(Box::new(Records::gather(indexes, own)))
    }
}

/// The [`Catalogue`] of one format.
#[derive(Debug)]
pub struct Records<F: Offer> {
    /// The indexes of all repositories; their records were taken out.
    pub indexes: Vec<Index<F>>,
    /// The records of all repositories.
    pub records: Vec<F::Record>,
    /// Number of records of the provider's repositories: they come first.
    own_count: usize,
    /// What was read of other indexes.
    pub memory: F::Memory,
}

impl<F: Offer> Records<F> {
    /// Makes one list of all records, those of the repositories `own` first, otherwise in the order of `indexes`.
    fn gather(mut indexes: Vec<Index<F>>, own: &BTreeSet<&str>) -> Self {
        let (mut records, mut added) = (Vec::new(), Vec::new());
        for index in &mut indexes {
            match own.contains(index.repository_id.as_str()) {
                // The first list is long and is not copied.
                true if records.is_empty() => std::mem::swap(&mut records, &mut index.records),
                true => records.append(&mut index.records),
                false => added.append(&mut index.records),
            }
        }
        let own_count = records.len();
        records.append(&mut added);
        Self {
            indexes,
            records,
            own_count,
            memory: F::Memory::default(),
        }
    }
}

impl<F: Offer> Catalogue for Records<F> {
    fn versions(&self, name: &str) -> Vec<&str> {
        let named = self.records.iter().filter(|record| F::name(record) == name);
        let mut versions: Vec<&str> = named.map(F::version).collect();
        versions.sort_by(|a, b| F::compare(b, a));
        versions
    }

    fn offered(&self, is_wanted: &dyn Fn(&str, &str) -> bool) -> Vec<Offered> {
        let mut wanted: Vec<&F::Record> = self
            .records
            .iter()
            .filter(|record| is_wanted(F::name(record), F::summary(record)))
            .collect();
        // Stable: what several repositories offer stays in their order.
        wanted.sort_by(|a, b| {
            let by_name = F::name(a).cmp(F::name(b));
            by_name.then_with(|| F::compare(F::version(b), F::version(a)))
        });
        wanted.into_iter().map(F::describe).collect()
    }

    fn names(&self) -> BTreeSet<&str> {
        self.records.iter().map(F::name).collect()
    }

    fn releases(&self) -> Vec<(String, ReleaseInfo)> {
        releases(&self.indexes).collect()
    }

    fn place(&self, repositories: &mut [Repository]) {
        let indexes = self.indexes.iter();
        place(
            repositories,
            indexes.map(|index| (&*index.repository_id, &*index.base_url)),
        );
    }

    fn has_others(&self) -> bool {
        self.own_count < self.records.len()
    }

    fn expand(&self, source: Source<'_>, asked: &[String]) -> Result<Expanded, SystemError> {
        F::expand(self, source, asked)
    }

    fn resolver<'a>(&'a self, source: Source<'a>, only_own: bool, without: &[String]) -> Box<dyn Resolver + 'a> {
        let count = if only_own { self.own_count } else { self.records.len() };
        let options = &source.loader.options;
        let targets = match only_own {
            true => options.arch.into(),
            false => options.targets(),
        };
        let records = self.records.get(..count).unwrap_or_default();
        F::resolver(self, records, source, targets, without)
    }
}

fn releases<F: Offer>(indexes: &[Index<F>]) -> impl Iterator<Item = (String, ReleaseInfo)> {
    let indexes = indexes.iter();
    indexes.map(|index| (index.repository_id.clone(), index.release.clone()))
}

/// Gives each of `repositories` without a base URL of its own the one that is `found` for its id.
fn place<'a>(repositories: &mut [Repository], found: impl Iterator<Item = (&'a str, &'a str)>) {
    for (id, base_url) in found {
        for repository in repositories.iter_mut().filter(|repository| repository.id == id) {
            base_url.clone_into(&mut repository.base_url);
        }
    }
}
