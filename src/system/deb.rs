//! Distributions of `.deb` packages: apt's repositories and choice, dpkg's base, apt's transaction.

mod local;
mod plain;
mod sources;
mod stanza;

use std::cmp::Ordering;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::archive::deb;
use crate::archive::unpack::UnpackOptions;
use crate::base::{self, BaseError, BaseReport, BaseRequest};
use crate::cancel::Cancel;
use crate::configure::ImageSources;
use crate::dpkg;
use crate::durable::PathError;
use crate::install::{self, InitrdRequest, InstallError, InstallReport, InstallRequest, Marks};
use crate::package::{DebVersion, PackageRecord, Resolution, ResolvedPackage, Targets};
use crate::provider::Provider;
use crate::repo::deb::deb822::{Scanner, Token};
use crate::repo::deb::{Deb, LoadedIndex};
use crate::repo::{Loader, Repository};
use crate::resolve::{self, Wanted, lockfile::LockedRepository};
use crate::root::Root;
use crate::sandbox::SandboxFile;
use crate::verify::VerifyError;
use crate::work::Work;

use super::System;
use super::directory;
use super::error::SystemError;
use super::offer::{Heads, Offer, Records, Resolver, Source, verify};
use super::offered::{Detail, Offered};

impl System for Deb {
    fn verify(&self, loader: &Loader<'_>, repositories: &[Repository]) -> Result<Box<dyn Heads>, SystemError> {
        verify::<Self>(loader, repositories)
    }

    fn sources(
        &self,
        provider: &Provider,
        repositories: &[Repository],
        locked: &[LockedRepository],
    ) -> Result<Box<dyn ImageSources>, VerifyError> {
        Ok(Box::new(sources::of_image(provider, repositories, locked)?))
    }

    fn build_seconds(&self, file: &Path) -> Result<u64, ArchiveError> {
        Ok(deb::Deb::open(file)?.build_seconds())
    }

    fn unpack(&self, file: &Path, root: BorrowedFd<'_>, options: &UnpackOptions) -> Result<(), ArchiveError> {
        deb::extract(&mut deb::Deb::open(file)?, root, options)?;
        Ok(())
    }

    fn bootstrap(&self, request: &BaseRequest<'_>, work: Work<'_>) -> Result<BaseReport, BaseError> {
        base::deb::bootstrap(request, work)
    }

    fn complete(&self, package: &ResolvedPackage, file: &Path) -> Result<ResolvedPackage, SystemError> {
        stanza::complete(package, file)
    }

    fn is_plain(&self, package: &ResolvedPackage, file: &Path) -> Result<bool, ArchiveError> {
        plain::is_plain(package, file)
    }

    fn install(&self, request: &InstallRequest<'_>, work: Work<'_>) -> Result<InstallReport, InstallError> {
        install::apt::install(request, work)
    }

    fn make_initrds(&self, request: &InitrdRequest<'_>, work: Work<'_>) -> Result<Vec<String>, InstallError> {
        install::kernel::make_initrds(request, work)
    }

    fn made_initrds(&self, root: &Root) -> Result<Vec<PathBuf>, PathError> {
        install::kernel::made(root)
    }

    fn initrd_configuration(&self, root: &Root, file_systems: &[&str]) -> Result<Option<SandboxFile>, PathError> {
        install::kernel::configuration(root, file_systems)
    }

    fn mark(&self, root: &Root, marks: &Marks<'_>) -> Result<(), PathError> {
        install::mark_automatic(root, marks)
    }

    fn environment(&self, epoch: u64) -> Vec<(OsString, OsString)> {
        dpkg::environment(epoch)
    }

    fn policy(&self) -> Option<SandboxFile> {
        Some(dpkg::policy())
    }
}

impl Offer for Deb {
    type Memory = ();

    fn directory(repository: &Repository) -> Option<PathBuf> {
        if repository.is_flat() {
            return directory::without(repository, "InRelease").and_then(|_| directory::without(repository, "Release"));
        }
        directory::without(repository, "dists")
    }

    fn index(
        repository: &Repository,
        directory: &Path,
        targets: Targets<'_>,
        cancel: &Cancel,
    ) -> Result<LoadedIndex, SystemError> {
        local::load(repository, directory, targets, cancel)
    }

    fn name(record: &PackageRecord) -> &str {
        &record.name
    }

    fn version(record: &PackageRecord) -> &str {
        &record.version
    }

    fn compare(a: &str, b: &str) -> Ordering {
        DebVersion::new(a).cmp(&DebVersion::new(b))
    }

    fn summary(record: &PackageRecord) -> &str {
        stanza_field(record, "Description").lines().next().unwrap_or_default()
    }

    fn describe(record: &PackageRecord) -> Offered {
        let fields = [
            "Section",
            "Priority",
            "Pre-Depends",
            "Depends",
            "Recommends",
            "Suggests",
            "Provides",
            "Conflicts",
            "Breaks",
            "Replaces",
            "Maintainer",
            "Homepage",
        ];
        Offered {
            name: record.name.to_string(),
            version: record.version.to_string(),
            architecture: record.architecture.to_string(),
            repository: record.repository.to_string(),
            size_bytes: record.size_bytes,
            installed_size_bytes: record.installed_size_bytes,
            summary: Self::summary(record).to_owned(),
            details: Detail::of(fields.map(|name| (name, stanza_field(record, name)))),
        }
    }

    fn resolver<'a>(
        _offered: &'a Records<Self>,
        records: &'a [PackageRecord],
        _source: Source<'a>,
        targets: Targets<'_>,
        without: &[String],
    ) -> Box<dyn Resolver + 'a> {
        Box::new(resolve::deb::Resolver::new(targets, records, without))
    }
}

/// Gives the field `name` of a package's stanza (deb822(5)); empty if it has none.
fn stanza_field<'a>(record: &'a PackageRecord, name: &str) -> &'a str {
    let mut scanner = Scanner::new(record.stanza.as_str());
    // The stanza was read whole when the record was made of it.
    while let Ok(Some(Token::Field(field))) = scanner.token() {
        if field.name.eq_ignore_ascii_case(name) {
            return field.value;
        }
    }
    ""
}

impl Resolver for resolve::deb::Resolver<'_> {
    fn resolve(&mut self, wanted: &Wanted<'_>) -> Result<Resolution, SystemError> {
        Ok(resolve::deb::Resolver::resolve(self, wanted)?)
    }
}
