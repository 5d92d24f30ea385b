//! Why a build failed: the stages' own errors, with their next steps.

use crate::cancel::Cancelled;
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
    /// A lockfile of another provider was handed in.
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
    /// Nothing vouches for the packages of a directory.
    #[error("{} is a plain directory of packages, which nobody signed", .0.display())]
    Unsigned(std::path::PathBuf),
    /// A package of a local directory cannot be used.
    #[error("{} {reason}", path.display())]
    LocalPackage {
        /// The package or the directory.
        path: std::path::PathBuf,
        /// What is wrong, to follow the name.
        reason: String,
    },
    #[error(transparent)]
    Archive(#[from] crate::archive::ArchiveError),
    #[error(transparent)]
    Key(#[from] crate::verify::VerifyError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Path(#[from] crate::durable::PathError),
    #[error(transparent)]
    Repositories(#[from] crate::provider::RepositoryError),
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    #[error(transparent)]
    Repo(#[from] crate::repo::deb::RepoError),
    #[error(transparent)]
    RpmRepo(#[from] crate::repo::rpm::RepoError),
    #[error(transparent)]
    Resolve(#[from] crate::resolve::ResolveError),
    /// The same, where repositories do not give all that they have.
    #[error("{error}")]
    ResolveFiltered {
        /// Why it cannot be resolved.
        error: crate::resolve::ResolveError,
        /// What limits the packages of each of those repositories, in words.
        filters: Vec<String>,
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
    Tool(#[from] crate::image::tool::ToolError),
    #[error(transparent)]
    Boot(#[from] crate::boot::BootError),
    #[error(transparent)]
    Image(#[from] crate::image::raw::ImageError),
}

impl From<crate::durable::LockError> for BuildError {
    fn from(error: crate::durable::LockError) -> Self {
        match error {
            crate::durable::LockError::Path(error) => Self::Path(error),
            crate::durable::LockError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

impl BuildError {
    /// What to do next, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repositories(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Repo(error) => error.hint(),
            Self::RpmRepo(error) => error.hint(),
            Self::Resolve(error) => error.hint(),
            Self::ResolveFiltered { error, filters } => Some(
                error
                    .hint()
                    .iter()
                    .chain(filters)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
            Self::Cache(error) => error.hint(),
            Self::Base(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Lockfile(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Mount(error) => error.hint(),
            Self::Install(error) => error.hint(),
            Self::Configure(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Tool(error) => error.hint(),
            Self::Boot(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Path(error) if error.is_no_space() => {
                Some("free some space there, or choose another place with --work-dir or --cache-dir".to_owned())
            }
            Self::Key(error) => error.hint(),
            Self::Unsigned(_) => {
                Some("give the repository pkey: \"[trusted=yes]\" to take its packages all the same".to_owned())
            }
            Self::ForeignLock { .. } | Self::LockWithoutBase => Some("write it anew with --update-lock".to_owned()),
            Self::UnknownRepository(_) => Some("give the template the packageRepositories that it had then".to_owned()),
            Self::Gone(_) => Some(
                "name a mirror that keeps old packages with --mirror, or resolve anew with --update-lock".to_owned(),
            ),
            Self::LocalPackage { .. } | Self::Archive(_) => None,
            Self::NotCached(_) | Self::NotBuildable(_) | Self::Cancelled(_) | Self::Path(_) | Self::Overlay(_) => None,
        }
    }
}
