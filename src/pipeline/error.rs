//! Why a build failed: the stages' own errors, with their next steps.

use crate::cancel::Cancelled;
use crate::durable::{FullDisk, LockError};
use crate::hint::{Hint, Means};
use crate::yaml::Findings;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is the stage's own error
pub enum BuildError {
    /// The template asks for what this version cannot build.
    #[error("{0}")]
    NotBuildable(Findings),
    /// A package is not where the cache stage put it.
    #[error("{0} vanished from the package cache during the build")]
    NotCached(String),
    /// What earlier builds left was damaged; this build has removed it.
    #[error("{}", super::damaged::told(.0))]
    Damaged(Vec<super::damaged::Damaged>),
    /// A disk is full, and the build failed at what it then could not do.
    #[error("{full}: {error}")]
    Full {
        /// What failed.
        error: Box<BuildError>,
        /// The full file system.
        #[source]
        full: FullDisk,
    },
    /// The request's lockfile is of another provider.
    #[error("the lockfile is of {found}, but the template is of {wanted}")]
    ForeignLock {
        /// The template's provider.
        wanted: String,
        /// The lockfile's.
        found: String,
    },
    /// The lockfile names a repository that neither provider nor template has.
    #[error("the lockfile has packages from the repository {0:?}, which neither the provider nor the template has")]
    UnknownRepository(String),
    /// The lockfile's list of the base names a package that it does not have.
    #[error("the lockfile does not have all packages of its base")]
    LockWithoutBase,
    /// Packages of the lockfile are not at their mirrors any more.
    #[error("{} packages of the lockfile are not at their mirrors any more:\n  {}", .0.len(), .0.join("\n  "))]
    Gone(Vec<String>),
    #[error(transparent)]
    Key(#[from] crate::verify::VerifyError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Path(#[from] crate::durable::PathError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Repositories(#[from] crate::provider::RepositoryError),
    #[error(transparent)]
    PackageFiles(#[from] crate::pipeline::package_files::PackageFilesError),
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    #[error(transparent)]
    System(#[from] crate::system::SystemError),
    #[error(transparent)]
    Repo(#[from] crate::repo::RepoError),
    #[error(transparent)]
    Archive(#[from] crate::archive::ArchiveError),
    /// The request cannot be resolved.
    #[error("{error}{}", askers.iter().map(|asker| format!("\n  {asker}")).collect::<String>())]
    Resolve {
        /// Why it cannot be resolved.
        error: Box<crate::resolve::ResolveError>,
        /// What limits the packages of the repositories that do not offer all of theirs, in words.
        filters: Vec<String>,
        /// What asks for the packages that it is about, and what leaves some out, in words.
        askers: Vec<String>,
        /// Those of these packages that the template itself does not ask for.
        inherited: Vec<String>,
    },
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
    #[error(transparent)]
    Base(#[from] crate::base::BaseError),
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::SnapshotError),
    #[error(transparent)]
    Lockfile(#[from] crate::resolve::lockfile::LockfileError),
    #[error(transparent)]
    Below(#[from] crate::layer::BelowError),
    #[error(transparent)]
    Layer(#[from] crate::layer::LayerError),
    #[error(transparent)]
    Overlay(#[from] crate::overlay::OverlayError),
    #[error(transparent)]
    Mount(#[from] crate::mount::MountError),
    #[error(transparent)]
    Install(#[from] crate::install::InstallError),
    #[error(transparent)]
    Configure(#[from] crate::configure::ConfigureError),
    #[error(transparent)]
    Plan(#[from] crate::image::plan::PlanError),
    #[error(transparent)]
    Boot(#[from] crate::boot::BootError),
    /// A seed file is too short to be a secret.
    #[error("{}: has fewer than 32 bytes", .0.display())]
    Seed(std::path::PathBuf),
    #[error(transparent)]
    Sign(#[from] crate::sign::SignError),
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    #[error("the packages of the image cannot be listed: {0}")]
    Installed(#[from] crate::installed::InstalledError),
}

impl BuildError {
    /// Says what to do next, where something can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Repositories(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::PackageFiles(error) => error.hint(),
            Self::Repo(error) => error.hint(),
            Self::System(error) => error.hint(),
            Self::Resolve {
                error,
                filters,
                inherited,
                ..
            } => {
                let hint = error.hint().map(|hint| hint.to_string());
                let hints = hint.into_iter().chain(leave_out(inherited));
                let hints: Vec<String> = hints.chain(filters.iter().cloned()).collect();
                (!hints.is_empty()).then(|| hints.join("; ").into())
            }
            Self::Cache(error) => error.hint(),
            Self::Base(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Lockfile(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Mount(error) => error.hint(),
            Self::Install(error) => error.hint(),
            Self::Configure(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Boot(error) => error.hint(),
            Self::Sign(error) => error.hint(),
            Self::Seed(_) => Some("make a seed: `head -c 32 /dev/urandom > FILE`".into()),
            Self::Image(error) => error.hint(),
            Self::Key(error) => error.hint(),
            Self::ForeignLock { .. } | Self::LockWithoutBase => Some(Hint::new("make it anew").by(Means::UpdateLock)),
            Self::UnknownRepository(_) => Some("give the template the packageRepositories that it had then".into()),
            Self::Gone(_) => {
                let text = "name a mirror that keeps old packages, or resolve anew";
                Some(Hint::new(text).by(Means::Mirror).by(Means::UpdateLock))
            }
            Self::Damaged(_) => {
                Some("check the disk that has it: it gives back other bytes than were written, again and again".into())
            }
            Self::Below(_) => Some("build the image again".into()),
            Self::NotCached(_) => {
                Some("another program removes packages from the cache: stop it, and build again".into())
            }
            Self::Full { .. }
            | Self::Archive(_)
            | Self::Installed(_)
            | Self::NotBuildable(_)
            | Self::Cancelled(_)
            | Self::Path(_)
            | Self::Lock(_)
            | Self::Overlay(_) => None,
        }
    }
}

/// Says how a template leaves out packages that it does not ask for itself; `None` if there are none.
fn leave_out(inherited: &[String]) -> Option<String> {
    let items: Vec<String> = inherited.iter().map(|name| format!("\"-{name}\"")).collect();
    let text = format!(
        "the template leaves out what it inherits with systemConfig.packages: [{}]",
        items.join(", ")
    );
    (!items.is_empty()).then_some(text)
}
