//! The directory of an image build belongs to one process, and is clean when that process is done.

use std::fs;
use std::path::Path;

use crate::cancel::Cancel;
use crate::durable::{self, FileLock, PathError};
use crate::image::earlier::Earlier;
use crate::progress::Progress;
use crate::workspace::ImageBuild;

use super::BuildError;

/// The right to write into an [`ImageBuild`]. Dropped without [`Claim::keep`], it removes
/// everything but the log: half an image is of no use. The upper of the build before is at
/// [`ImageBuild::previous`] meanwhile.
pub(super) struct Claim {
    output: ImageBuild,
    finished: bool,
    _lock: FileLock,
}

impl Claim {
    /// Waits until no other build has the directory, then empties it. The image `raw` in it is set aside, if it is
    /// one that can be built upon.
    pub fn take(
        output: &ImageBuild,
        raw: &Path,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(Self, Option<Earlier>), BuildError> {
        let directory = output.directory();
        let parent = directory.parent().unwrap_or(directory);
        fs::create_dir_all(parent).map_err(PathError::on("create", parent))?;
        let lock = FileLock::exclusive_unless(&output.lock(), cancel, || {
            progress.note(&format!("waiting for another build in {}", directory.display()));
        })?;
        let earlier = Earlier::set_aside(raw, &output.image_record(), &output.earlier_image());
        put_aside(output)?;
        fs::create_dir(directory).map_err(PathError::on("create", directory))?;
        let claim = Self {
            output: output.clone(),
            finished: false,
            _lock: lock,
        };
        Ok((claim, earlier))
    }

    /// The build has succeeded: what it made stays.
    pub fn keep(mut self) {
        self.finished = true;
    }

    /// Removes what a failed build leaves.
    fn clear(&self) -> Result<(), PathError> {
        let directory = self.output.directory();
        for entry in fs::read_dir(directory).map_err(PathError::on("read", directory))? {
            let path = entry.map_err(PathError::on("read", directory))?.path();
            if path != self.output.log() {
                durable::remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

/// Empties the directory, but keeps its finished upper at [`ImageBuild::previous`]. A build that was killed left none; then what
/// it had put aside itself stays there.
fn put_aside(output: &ImageBuild) -> Result<(), PathError> {
    let previous = output.previous();
    if output.upper_manifest().exists() {
        durable::remove_tree(previous.directory())?;
        fs::create_dir(previous.directory()).map_err(PathError::on("create", previous.directory()))?;
        for (from, to) in [
            (output.upper(), previous.upper()),
            (output.upper_manifest(), previous.upper_manifest()),
        ] {
            fs::rename(&from, to).map_err(PathError::on("put aside", &from))?;
        }
    }
    durable::remove_tree(output.directory())
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = durable::remove_tree(self.output.previous().directory()) {
            tracing::warn!(%error, "something of the build before stays; the next build removes it");
        }
        if self.finished {
            return;
        }
        if let Err(error) = self.clear() {
            tracing::warn!(%error, "something of the failed build stays; the next build removes it");
        }
    }
}
