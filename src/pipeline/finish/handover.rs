//! What a build delivers belongs to the user that the request names: the files, and a way to them through directories that
//! stay root's. What cannot be given is a note, no reason to fail.

use std::path::Path;

use crate::durable::{self, PathError};
use crate::pipeline::request::BuildRequest;
use crate::progress::Progress;

/// Opens the way to what the build of `request` delivers to its user.
pub fn open_way(request: &BuildRequest, progress: &dyn Progress) {
    let Some(owner) = request.owner else { return };
    let (output, workspace) = (request.image_build(), request.workspace());
    let directories = output.directory().ancestors();
    for directory in directories.take_while(|directory| directory.starts_with(workspace.provider())) {
        note(
            durable::real_name(directory).and_then(|real| owner.let_through(&real)),
            progress,
        );
    }
}

/// Gives the file `path`, which the build of `request` delivers, to its user.
pub fn give(request: &BuildRequest, path: &Path, progress: &dyn Progress) {
    if let Some(owner) = request.owner {
        note(durable::real_name(path).and_then(|real| owner.take(&real)), progress);
    }
}

/// Says on `progress` what failed.
pub fn note(given: Result<(), PathError>, progress: &dyn Progress) {
    if let Err(error) = given {
        progress.note(&format!("warning: {error}"));
    }
}
