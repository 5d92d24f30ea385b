//! The first half of a build, for those who only want to know which packages it would take.

use std::fs;
use std::path::Path;

use crate::cancel::Cancel;
use crate::durable::{FileLock, PathError, ScratchDir};
use crate::package::Resolution;
use crate::progress::Progress;
use crate::resolve::lockfile::Lockfile;

use super::metadata::Shared;
use super::{BuildError, BuildRequest, Context, select};

/// What a build of the same request would install.
#[derive(Debug)]
pub struct Resolved {
    /// The base: the same for all templates of the provider.
    pub base: Resolution,
    /// The whole image, the base included.
    pub image: Resolution,
    /// The lockfile of `image`.
    pub lockfile: Lockfile,
}

/// Fetches metadata and resolves `request`, without root, without building. Metadata goes where a
/// build keeps it if that can be written to, else into a directory in `temporary` that is removed.
///
/// # Errors
/// As those stages of a build.
pub fn resolve(
    request: &BuildRequest,
    temporary: &Path,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Resolved, BuildError> {
    let shared = Shared::default();
    let mut context = Context::new(request, &shared, progress, cancel)?;
    let is_writable = is_writable(&context.workspace.metadata());
    // So that nobody removes the metadata meanwhile.
    let _lock = match is_writable {
        true => Some(FileLock::shared_unless(
            &context.workspace.cache_lock(),
            cancel,
            || {
                progress.note("waiting for somebody who removes packages from the cache");
            },
        )?),
        false => None,
    };
    let _scratch = match is_writable {
        true => None,
        false => {
            tracing::info!("the package cache cannot be written to; a copy of its metadata is used");
            let scratch = ScratchDir::create_in(temporary)?;
            let own = context.workspace.clone().with_package_cache(scratch.path());
            copy(&context.workspace.metadata(), &own.metadata())?;
            context.workspace = own;
            Some(scratch)
        }
    };
    let selection = select::select(&context)?;
    Ok(Resolved {
        base: selection.base,
        image: selection.image,
        lockfile: selection.lockfile,
    })
}

fn is_writable(directory: &Path) -> bool {
    fs::create_dir_all(directory).is_ok() && ScratchDir::create_in(directory).is_ok()
}

/// Copies the directory `from`, whose subdirectories hold files and nothing else, as far as it can be
/// read: what is missing is fetched, and what is copied is verified before it is used.
fn copy(from: &Path, to: &Path) -> Result<(), PathError> {
    fs::create_dir_all(to).map_err(PathError::on("create", to))?;
    for repository in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(repository.file_name());
        for file in fs::read_dir(repository.path()).into_iter().flatten().flatten() {
            fs::create_dir_all(&target).map_err(PathError::on("create", &target))?;
            let path = target.join(file.file_name());
            if let Err(error) = fs::copy(file.path(), &path) {
                tracing::debug!(%error, "{} is not copied", file.path().display());
            }
        }
    }
    Ok(())
}
