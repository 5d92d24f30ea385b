//! A tree that a command reads: the system in a disk image, one of its partitions, or a directory.

use std::path::Path;
use std::sync::Arc;

use crate::disk::image::Image;
use crate::disk::system::{self, SystemError};
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::Layer;

use super::error::CommandError;

/// Opens the tree at `path`: of the disk image there, or of its partition `partition`, or the directory itself.
///
/// # Errors
/// If it is neither, or cannot be read.
pub fn open(path: &Path, partition: Option<&str>) -> Result<Arc<dyn Layer>, CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::failed(format!("{}: {error}", path.display()));
    if path.is_dir() {
        let directory = DirectoryLayer::open(path).map_err(CommandError::failed)?;
        return Ok(Arc::new(directory));
    }
    let image = Image::open(path).map_err(|error| failed(&error))?;
    system::open(&image, partition).map_err(|error| {
        let is_choice = matches!(error, SystemError::NoRoot(_) | SystemError::NoPartition { .. });
        failed(&error).hint(is_choice.then_some("choose a partition with --partition"))
    })
}

/// Returns the name of the image at `path`: that of its file, without what tells its format.
pub fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
    stem.to_owned()
}
