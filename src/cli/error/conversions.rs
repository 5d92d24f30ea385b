//! From each error of the library to the error of a command: its message, its hints, its kind.

use crate::cancel::Cancelled;
use crate::diff::DiffError;
use crate::durable::{LockError, PathError};
use crate::emulator::EmulatorError;
use crate::fetch::FetchError;
use crate::layer::LayerError;
use crate::mount::MountError;
use crate::pipeline::BuildError;
use crate::provider::RepositoryError;
use crate::provider::mirror::MirrorError;
use crate::resolve::lockfile::LockfileError;
use crate::snapshot::SnapshotError;
use crate::store::StoreError;

use super::CommandError;

/// Converts errors that have a hint.
macro_rules! with_hints {
    ($($error:ty),+ $(,)?) => {
        $(
            impl From<$error> for CommandError {
                fn from(error: $error) -> Self {
                    let hint = error.hint();
                    Self::failed(error).advise(hint)
                }
            }
        )+
    };
}

with_hints!(
    FetchError,
    LayerError,
    LockfileError,
    MirrorError,
    MountError,
    RepositoryError,
    SnapshotError,
);

impl From<BuildError> for CommandError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::NotBuildable(findings) => Self::findings("the template cannot be used", &findings),
            BuildError::Cancelled(_) => Self::interrupted(),
            error => {
                let hint = error.hint();
                Self::failed(error).advise(hint)
            }
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Cancelled(_) => Self::interrupted(),
            StoreError::Path(error) => error.into(),
            error => {
                let hint = error.hint();
                Self::failed(error).advise(hint)
            }
        }
    }
}

impl From<EmulatorError> for CommandError {
    fn from(error: EmulatorError) -> Self {
        match error {
            EmulatorError::Cancelled(_) => Self::interrupted(),
            EmulatorError::Path(error) => error.into(),
            error => {
                let hint = error.hint();
                Self::failed(error).advise(hint)
            }
        }
    }
}

impl From<DiffError> for CommandError {
    fn from(error: DiffError) -> Self {
        match error {
            DiffError::Cancelled(_) => Self::interrupted(),
            error => Self::failed(error),
        }
    }
}

impl From<PathError> for CommandError {
    fn from(error: PathError) -> Self {
        let denied = error.source.kind() == std::io::ErrorKind::PermissionDenied;
        Self::failed(error).hint(denied.then_some(super::AS_ROOT))
    }
}

impl From<Cancelled> for CommandError {
    fn from(_: Cancelled) -> Self {
        Self::interrupted()
    }
}

impl From<LockError> for CommandError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Path(error) => error.into(),
            LockError::Cancelled(_) => Self::interrupted(),
        }
    }
}
