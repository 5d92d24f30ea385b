//! Package systems, each a plug: what a build does in one way for `.deb` packages and in another for `.rpm` packages.
//!
//! [`of`] is the only place that chooses. How to add a third: `docs/architecture.md`, "Adding a package system".

mod deb;
mod directory;
mod error;
mod offer;
mod offered;
mod rpm;
mod sources;

use std::ffi::OsString;
use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::archive::unpack::UnpackOptions;
use crate::base::{BaseError, BaseReport, BaseRequest};
use crate::configure::ImageSources;
use crate::durable::PathError;
use crate::install::{InitrdRequest, InstallError, InstallReport, InstallRequest, Marks};
use crate::package::ResolvedPackage;
use crate::provider::{PackageSystem, Provider};
use crate::repo::{Loader, Repository};
use crate::resolve::lockfile::LockedRepository;
use crate::root::Root;
use crate::sandbox::SandboxFile;
use crate::secrets::Contents;
use crate::verify::VerifyError;
use crate::work::Work;

pub use error::SystemError;
pub use offer::{Catalogue, Heads, Offer, Records, Resolver, Source, verify};
pub use offered::{Detail, Offered};

/// Gives the plug of a package system.
pub fn of(system: PackageSystem) -> &'static dyn System {
    match system {
        PackageSystem::Deb => &crate::repo::deb::Deb,
        PackageSystem::Rpm => &crate::repo::rpm::Rpm,
    }
}

/// What a build asks of a package system, in the order in which it asks.
pub trait System: Debug + Sync {
    /// Verifies the roots of the metadata of `repositories`, and makes the indexes of those that are plain directories.
    ///
    /// # Errors
    /// [`SystemError`] of the first repository, in order, that cannot be used.
    fn verify(&self, loader: &Loader<'_>, repositories: &[Repository]) -> Result<Box<dyn Heads>, SystemError>;

    /// Says where the image's own package manager gets packages from: `repositories` are the provider's and the
    /// template's, `locked` is what the lockfile says of them.
    ///
    /// # Errors
    /// If a key cannot be written in the form that the package manager takes.
    fn sources(
        &self,
        provider: &Provider,
        repositories: &[Repository],
        locked: &[LockedRepository],
    ) -> Result<Box<dyn ImageSources>, VerifyError>;

    /// Reads when the package `file` was made, in seconds since 1970.
    ///
    /// # Errors
    /// [`ArchiveError`] if it is damaged.
    fn build_seconds(&self, file: &Path) -> Result<u64, ArchiveError>;

    /// Unpacks the files of the package `file` into the directory `root`.
    ///
    /// # Errors
    /// [`ArchiveError`] if it is damaged, or holds what must not be unpacked.
    fn unpack(&self, file: &Path, root: BorrowedFd<'_>, options: &UnpackOptions) -> Result<(), ArchiveError>;

    /// Installs the base into an empty directory.
    ///
    /// # Errors
    /// [`BaseError`]; a script that fails is named with its package and output.
    fn bootstrap(&self, request: &BaseRequest<'_>, work: Work<'_>) -> Result<BaseReport, BaseError>;

    /// Gives `package` with all that [`System::install`] needs to know from its `file`.
    ///
    /// # Errors
    /// If the file is damaged.
    fn complete(&self, package: &ResolvedPackage, _file: &Path) -> Result<ResolvedPackage, SystemError> {
        Ok(package.clone())
    }

    /// Reads what the package `file` brings and what its scripts say; `None` if the image has lists of both.
    ///
    /// # Errors
    /// If the file is damaged.
    fn contents(&self, _file: &Path) -> Result<Option<Contents>, SystemError> {
        Ok(None)
    }

    /// Says whether installing `package`, which lies in `file`, later than others gives the same result: whether it
    /// runs nothing, and no script of others reads what it has.
    ///
    /// # Errors
    /// If the file is damaged.
    fn is_plain(&self, _package: &ResolvedPackage, _file: &Path) -> Result<bool, ArchiveError> {
        Ok(false)
    }

    /// Installs packages in one transaction. Kernels get no initrd yet.
    ///
    /// # Errors
    /// [`InstallError`]; a script that fails is named with its package and output.
    fn install(&self, request: &InstallRequest<'_>, work: Work<'_>) -> Result<InstallReport, InstallError>;

    /// Makes the initrd of each kernel that has none. Gives, in words, what the template asked for and cannot be done.
    ///
    /// # Errors
    /// [`InstallError::Kernel`] if an initrd cannot be made.
    fn make_initrds(&self, request: &InitrdRequest<'_>, work: Work<'_>) -> Result<Vec<String>, InstallError>;

    /// Lists the initrds that [`System::make_initrds`] would make if they were missing.
    ///
    /// # Errors
    /// If the image cannot be looked at.
    fn made_initrds(&self, _root: &Root) -> Result<Vec<PathBuf>, PathError> {
        Ok(Vec::new())
    }

    /// Gives the file that makes the initrds of the image's own programs fit for any machine, with checks for
    /// `file_systems`, where the image `root` needs a file for that.
    ///
    /// # Errors
    /// If the image cannot be looked at.
    fn initrd_configuration(&self, _root: &Root, _file_systems: &[&str]) -> Result<Option<SandboxFile>, PathError> {
        Ok(None)
    }

    /// Tells the image's own package manager which packages the template asked for, and which came with others.
    ///
    /// # Errors
    /// If its database cannot be read or written.
    fn mark(&self, _root: &Root, _marks: &Marks<'_>) -> Result<(), PathError> {
        Ok(())
    }

    /// Gives the environment of the packages' scripts and of the image's programs; `epoch`, in seconds since 1970,
    /// stands for the clock.
    fn environment(&self, epoch: u64) -> Vec<(OsString, OsString)>;

    /// Gives the file that keeps scripts from starting services, where a file is needed for that.
    fn policy(&self) -> Option<SandboxFile> {
        None
    }
}
