//! The indexes besides primary, read on demand.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::comps::{Group, parse_comps};
use super::files::{FileOwners, parse_filelists};
use super::format::{LoadedIndex, Session};
use super::repomd::Listed;
use super::xml::XmlError;
use crate::parallel;
use crate::repo::error::all_or_missing;
use crate::repo::{Loader, RepoError, Repository};

/// The loaded repositories, with the means to read their other indexes.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)] // a loader has none
pub struct Further<'a> {
    /// The repositories of `loaded`.
    pub repositories: &'a [Repository],
    /// The result of [`Loader::load`].
    pub loaded: &'a [LoadedIndex],
    /// The loader that made it.
    pub loader: &'a Loader<'a>,
}

impl Further<'_> {
    /// Finds the packages that have files of `paths`, in the file lists of all repositories.
    ///
    /// # Errors
    /// [`RepoError`] of the first repository, in order, whose list cannot be loaded.
    pub fn owners(&self, paths: &BTreeSet<String>) -> Result<FileOwners, RepoError> {
        tracing::info!(?paths, "looking for files in the repositories' file lists");
        let owners = self.each("Filelists", LoadedIndex::filelists, |text| parse_filelists(text, paths))?;
        Ok(owners.into_iter().flatten().collect())
    }

    /// Returns the groups of all repositories, in the order of the repositories.
    ///
    /// # Errors
    /// [`RepoError`] of the first repository, in order, whose list cannot be loaded.
    pub fn groups(&self) -> Result<Vec<Group>, RepoError> {
        let groups = self.each("Comps", LoadedIndex::comps, |text| parse_comps(text))?;
        Ok(groups.into_iter().flatten().collect())
    }

    /// Returns the results of `parse` on one index of each repository that has it.
    fn each<T: Send>(
        &self,
        stem: &'static str,
        listed: impl Fn(&LoadedIndex) -> Option<&Listed> + Sync,
        parse: impl Fn(&mut dyn BufRead) -> Result<T, XmlError> + Sync,
    ) -> Result<Vec<T>, RepoError> {
        let results = parallel::map(self.loader.options.workers, self.loaded, |index| {
            let repository = self
                .repositories
                .iter()
                .find(|repository| repository.id == index.repository_id);
            let (Some(repository), Some(listed)) = (repository, listed(index)) else {
                return Ok(None);
            };
            let read = |session: &Session<'_>| session.parse(&index.base_url, stem, listed, &parse);
            self.loader.with(repository, read).map(Some)
        });
        self.loader.work.cancel.check()?;
        Ok(all_or_missing(results)?.into_iter().flatten().collect())
    }
}
