//! Distributions of `.rpm` packages: dnf's repositories and choice, rpm's base and transaction.

mod local;
mod sources;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::archive::unpack::UnpackOptions;
use crate::archive::{self, ArchiveError};
use crate::base::{self, BaseError, BaseReport, BaseRequest};
use crate::cancel::Cancel;
use crate::configure::ImageSources;
use crate::durable::PathError;
use crate::install::{self, InitrdRequest, InstallError, InstallReport, InstallRequest};
use crate::package::{Checksum, Evr, Resolution, RpmRecord, Targets};
use crate::provider::Provider;
use crate::repo::rpm::{FileOwners, Further, LoadedIndex, Rpm};
use crate::repo::{Loader, Repository};
use crate::resolve::rpm::groups::{Expanded, expand, is_group};
use crate::resolve::{self, Wanted, lockfile::LockedRepository};
use crate::root::Root;
use crate::rpm;
use crate::secrets::Contents;
use crate::verify::VerifyError;
use crate::work::Work;

use super::System;
use super::directory;
use super::error::SystemError;
use super::offer::{Heads, Offer, Records, Resolver, Source, verify};
use super::offered::{Detail, Offered};

// `is_plain` stays false: any package may bring a file trigger, and scriptlets may ask rpm's database.
// `policy` stays none: systemctl does nothing to services where systemd does not run (systemctl(1), SYSTEMD_OFFLINE).
impl System for Rpm {
    fn verify(&self, loader: &Loader<'_>, repositories: &[Repository]) -> Result<Box<dyn Heads>, SystemError> {
        verify::<Self>(loader, repositories)
    }

    fn sources(
        &self,
        provider: &Provider,
        repositories: &[Repository],
        _locked: &[LockedRepository],
    ) -> Result<Box<dyn ImageSources>, VerifyError> {
        Ok(Box::new(sources::of_image(provider, repositories)?))
    }

    fn build_seconds(&self, file: &Path) -> Result<u64, ArchiveError> {
        archive::rpm::build_seconds(file)
    }

    fn unpack(&self, file: &Path, root: BorrowedFd<'_>, options: &UnpackOptions) -> Result<(), ArchiveError> {
        archive::rpm::extract(file, root, options)?;
        Ok(())
    }

    fn bootstrap(&self, request: &BaseRequest<'_>, work: Work<'_>) -> Result<BaseReport, BaseError> {
        base::rpm::bootstrap(request, work)
    }

    fn contents(&self, file: &Path) -> Result<Option<Contents>, SystemError> {
        local::contents(file).map(Some)
    }

    fn install(&self, request: &InstallRequest<'_>, work: Work<'_>) -> Result<InstallReport, InstallError> {
        install::rpm::install(request, work)
    }

    fn make_initrds(&self, request: &InitrdRequest<'_>, work: Work<'_>) -> Result<Vec<String>, InstallError> {
        install::initrd::make_initrds(request, work)
    }

    fn made_initrds(&self, root: &Root) -> Result<Vec<PathBuf>, PathError> {
        install::initrd::made(root)
    }

    fn environment(&self, epoch: u64) -> Vec<(OsString, OsString)> {
        rpm::environment(epoch)
    }
}

impl Offer for Rpm {
    type Memory = Owners;

    fn directory(repository: &Repository) -> Option<PathBuf> {
        directory::without(repository, "repodata")
    }

    fn index(
        repository: &Repository,
        directory: &Path,
        targets: Targets<'_>,
        cancel: &Cancel,
    ) -> Result<LoadedIndex, SystemError> {
        local::load(repository, directory, targets, cancel)
    }

    fn name(record: &RpmRecord) -> &str {
        &record.name
    }

    fn version(record: &RpmRecord) -> &str {
        &record.evr
    }

    fn compare(a: &str, b: &str) -> Ordering {
        Evr::new(a).cmp(&Evr::new(b))
    }

    fn summary(record: &RpmRecord) -> &str {
        record.summary.lines().next().unwrap_or_default()
    }

    fn describe(record: &RpmRecord) -> Offered {
        Offered {
            name: record.name.to_string(),
            version: record.evr.to_string(),
            architecture: record.arch.to_string(),
            repository: record.repository.to_string(),
            size_bytes: record.size_bytes,
            installed_size_bytes: record.installed_size_bytes,
            summary: Self::summary(record).to_owned(),
            details: Detail::of([
                ("Requires(pre)", &*record.requires_pre),
                ("Requires", &record.requires),
                ("Recommends", &record.recommends),
                ("Provides", &record.provides),
                ("Conflicts", &record.conflicts),
                ("Obsoletes", &record.obsoletes),
            ]),
        }
    }

    fn expand(offered: &Records<Self>, source: Source<'_>, asked: &[String]) -> Result<Expanded, SystemError> {
        if !asked.iter().any(|text| is_group(text)) {
            return Ok(Expanded::of(asked));
        }
        let groups = further(offered, source).groups()?;
        let known: HashSet<&str> = offered.records.iter().map(|record| &*record.name).collect();
        Ok(expand(asked, &groups, |name| known.contains(name))?)
    }

    fn resolver<'a>(
        offered: &'a Records<Self>,
        records: &'a [RpmRecord],
        source: Source<'a>,
        targets: Targets<'_>,
        without: &[String],
    ) -> Box<dyn Resolver + 'a> {
        Box::new(WithFileLists {
            resolver: resolve::rpm::Resolver::new(targets.native, records, without),
            offered,
            source,
        })
    }
}

/// A resolver that reads the repositories' file lists when a package needs a file that nothing else lists.
struct WithFileLists<'a> {
    resolver: resolve::rpm::Resolver<'a>,
    offered: &'a Records<Rpm>,
    source: Source<'a>,
}

impl Resolver for WithFileLists<'_> {
    fn resolve(&mut self, wanted: &Wanted<'_>) -> Result<Resolution, SystemError> {
        let Self {
            resolver,
            offered,
            source,
        } = self;
        resolver.resolve(wanted, |paths| offered.memory.of(&further(offered, *source), paths))
    }
}

fn further<'a>(offered: &'a Records<Rpm>, source: Source<'a>) -> Further<'a> {
    Further {
        repositories: source.repositories,
        loaded: &offered.indexes,
        loader: source.loader,
    }
}

/// The packages that own the files searched for in file lists, by path.
#[derive(Debug, Default)]
pub struct Owners(Mutex<BTreeMap<String, Vec<Checksum>>>);

impl Owners {
    /// Finds the packages that own the files `paths`; it does not search again for paths of earlier calls.
    ///
    /// # Errors
    /// If a file list cannot be loaded.
    fn of(&self, further: &Further<'_>, paths: &BTreeSet<String>) -> Result<FileOwners, SystemError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = paths.iter().filter(|path| !known.contains_key(*path));
        let unknown: BTreeSet<String> = unknown.cloned().collect();
        if !unknown.is_empty() {
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
