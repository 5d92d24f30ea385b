//! The directory of an image build belongs to one process, and is clean when that process is done.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::durable::{self, FileLock, PathError};
use crate::image::artifacts;
use crate::image::earlier::Earlier;
use crate::workspace::ImageBuild;

use crate::pipeline::error::BuildError;
use crate::work::Work;

/// The right to write into an [`ImageBuild`]. Dropped without [`Claim::keep`], it removes
/// everything but the log and the artifacts of the build before: half an image is of no use. The raw image of the build
/// before goes back if the build has not taken it. The upper of the build before is at [`ImageBuild::previous`]
/// meanwhile.
pub struct Claim {
    output: ImageBuild,
    earlier: Option<Earlier>,
    finished: bool,
    _lock: FileLock,
}

impl Claim {
    /// Waits until no other build has the directory, then empties it but for its artifacts. The one of `raws`
    /// that its record describes is set aside.
    pub fn take(output: &ImageBuild, raws: &[PathBuf], work: Work<'_>) -> Result<Self, BuildError> {
        let directory = output.directory();
        let parent = directory.parent().unwrap_or(directory);
        durable::private_directory(parent)?;
        let lock = FileLock::exclusive_unless(&output.lock(), work.cancel, || {
            work.progress
                .note(&format!("waiting for another build in {}", directory.display()));
        })?;
        let earlier = Earlier::set_aside(raws, &output.image_record(), &output.earlier_image());
        let earlier = earlier.unwrap_or_else(|lost| {
            work.progress
                .note(&format!("this build writes all of the image: {lost}"));
            None
        });
        put_aside(output)?;
        durable::private_directory(directory)?;
        durable::private_directory(&output.upper_room())?;
        Ok(Self {
            output: output.clone(),
            earlier,
            finished: false,
            _lock: lock,
        })
    }

    /// Takes the raw image of the build before, to start from it. From here on, the list of digests does not name it.
    pub fn take_earlier(&mut self) -> Result<Option<Earlier>, BuildError> {
        artifacts::forget_missing(self.output.directory())?;
        Ok(self.earlier.take())
    }

    /// Keeps what the build made, because it has succeeded.
    pub fn keep(mut self) {
        self.finished = true;
    }

    /// Removes what a failed build leaves.
    fn clear(&self) -> Result<(), PathError> {
        empty(
            &self.output,
            &[self.output.log(), self.output.signatures(), self.output.disk_seed()],
        )
    }
}

/// Removes everything from the directory but what `kept` names and the artifacts of the build before.
fn empty(output: &ImageBuild, kept: &[PathBuf]) -> Result<(), PathError> {
    let directory = output.directory();
    let delivered = artifacts::delivered(&output.artifact_record());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(PathError::on("read", directory))?,
    };
    for entry in entries {
        let path = entry.map_err(PathError::on("read", directory))?.path();
        if !kept.contains(&path) && !delivered.contains(&path) {
            durable::remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Empties the directory but for its artifacts, and keeps its finished upper at [`ImageBuild::previous`]. A build that was
/// killed left no upper; then what that build itself had put aside stays there.
fn put_aside(output: &ImageBuild) -> Result<(), PathError> {
    let previous = output.previous();
    if output.upper_manifest().exists() {
        durable::remove_tree(previous.directory())?;
        durable::private_directory(previous.directory())?;
        durable::private_directory(&previous.upper_room())?;
        for (from, to) in [
            (output.upper(), previous.upper()),
            (output.upper_sums(), previous.upper_sums()),
            (output.upper_manifest(), previous.upper_manifest()),
        ] {
            match fs::rename(&from, to) {
                // Without them the upper is not used.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(PathError::on("put aside", &from))?,
            }
        }
    }
    empty(output, &[output.signatures(), output.disk_seed()])
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = durable::remove_tree(self.output.previous().directory()) {
            tracing::warn!(%error, "something of the build before stays; the next build removes it");
        }
        if self.finished {
            return;
        }
        let given_back = self.clear().and_then(|()| match self.earlier.take() {
            Some(earlier) => earlier.give_back(&self.output.image_record()),
            None => Ok(()),
        });
        let given_back = given_back.and_then(|()| artifacts::forget_missing(self.output.directory()));
        if let Err(error) = given_back {
            tracing::warn!(%error, "something of the failed build stays; the next build removes it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::image::artifacts::{SUMS_NAME, write_sums};
    use crate::package::Sha256;

    #[test]
    fn a_raw_image_that_is_gone_has_no_digest() {
        let directory = tempfile::tempdir().unwrap();
        let output = ImageBuild::at(directory.path().join("imagebuild/one"));
        let (cancel, raw) = (Cancel::default(), output.directory().join("one.raw"));
        let sums = output.directory().join(SUMS_NAME);
        for takes_it in [true, false] {
            fs::create_dir_all(output.directory()).unwrap();
            fs::write(&raw, "raw").unwrap();
            write_sums(output.directory(), [(raw.as_path(), Sha256::of("raw"))]).unwrap();
            let mut claim = Claim::take(&output, &[], Work::quiet(&cancel)).unwrap();
            if takes_it {
                assert!(claim.take_earlier().unwrap().is_none());
                assert!(!sums.exists(), "also if the build is killed now");
            }
            drop(claim);
            assert!(!raw.exists() && !sums.exists());
        }
    }
}
