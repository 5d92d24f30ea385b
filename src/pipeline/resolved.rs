//! The first half of a build, for callers that only want to know which packages it would take.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::durable::{self, FileLock, PathError, ScratchDir};
use crate::package::Resolution;
use crate::resolve::lockfile::Lockfile;

use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::report::Timeline;
use crate::pipeline::request::{BuildRequest, Selecting};
use crate::pipeline::select;
use crate::pipeline::shared::{Metadata, Shared};
use crate::system::Catalogue;
use crate::work::Work;

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

/// Fetches metadata and resolves what `selecting` asks for, without root, without building.
///
/// # Errors
/// As those stages of a build.
pub fn resolve(selecting: &Selecting, temporary: &Path, work: Work<'_>) -> Result<Resolved, BuildError> {
    with_metadata(selecting, temporary, work, |context| {
        let selection = select::select(context)?;
        Ok(Resolved {
            base: selection.base,
            image: selection.image,
            lockfile: selection.lockfile,
        })
    })
}

/// Fetches and verifies the metadata of all repositories of `selecting`, and gives the packages that they offer, without
/// root, without building.
///
/// # Errors
/// As that stage of a build.
pub fn catalogue(selecting: &Selecting, temporary: &Path, work: Work<'_>) -> Result<Arc<dyn Catalogue>, BuildError> {
    with_metadata(selecting, temporary, work, |context| {
        Metadata::of(context)?.catalogue(context)
    })
}

/// Calls `ask` with a context whose metadata goes where a build keeps it if the caller can write there, else into a
/// directory in `temporary` that is removed.
fn with_metadata<T>(
    selecting: &Selecting,
    temporary: &Path,
    work: Work<'_>,
    ask: impl FnOnce(&Context<'_>) -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let (request, shared) = (BuildRequest::new(selecting.clone()), Shared::among(1));
    let mut context = Context::new(&request, &shared, work, Timeline::new())?;
    let is_writable = is_writable(&context.workspace.metadata());
    // It keeps other processes from removing the metadata meanwhile.
    let _lock = match is_writable {
        true => Some(FileLock::shared_unless(
            &context.workspace.cache_lock(),
            work.cancel,
            || {
                work.progress
                    .note("waiting for another command, which removes packages from the cache");
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
    ask(&context)
}

fn is_writable(directory: &Path) -> bool {
    durable::public_directory(directory).is_ok() && ScratchDir::create_in(directory).is_ok()
}

/// Copies the directory `from`, whose subdirectories hold files and nothing else, as far as it can be read. What is
/// missing is fetched later, and what is copied is verified before it is used.
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
