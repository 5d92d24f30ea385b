//! `IMAGE[:PATH]`: a file in a disk image.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::disk::image::Image;
use crate::disk::system::{self, SystemError};
use crate::disk::walk;
use crate::overlay::layer::{Layer, LayerError, NodeId};

use super::error::CommandError;

/// The option that chooses a partition.
#[derive(Debug, Args)]
pub struct PartitionArgs {
    /// Partition, by its number, name, label or UUID [default: the whole system, as its fstab puts it together]
    #[arg(long, value_name = "N|NAME")]
    pub partition: Option<String>,
}

/// A file in a disk image.
#[derive(Debug)]
pub struct Place {
    /// The image.
    pub image: PathBuf,
    /// The path in it; the root if none was given.
    pub path: PathBuf,
}

impl Place {
    /// Divides `argument` at the first colon behind the name of a file that exists, or else at the first one.
    pub fn parse(argument: &OsStr) -> Self {
        let bytes = argument.as_bytes();
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let colons = || {
            bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == b':')
                .map(|(at, _)| at)
        };
        let exists = |end: &usize| path(&bytes[..*end]).is_file();
        let end = [bytes.len()]
            .into_iter()
            .chain(colons())
            .find(exists)
            .or_else(|| colons().next());
        let end = end.unwrap_or(bytes.len());
        let inside = bytes.get(end + 1..).unwrap_or_default();
        Self {
            image: path(&bytes[..end]),
            path: Path::new("/").join(path(inside)),
        }
    }

    /// Opens the tree of the image, or of the partition that the user chose.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(&self, chosen: &PartitionArgs) -> Result<Arc<dyn Layer>, CommandError> {
        let failed = |error: &dyn std::fmt::Display| CommandError::failed(format!("{}: {error}", self.image.display()));
        let image = Image::open(&self.image).map_err(|error| failed(&error))?;
        system::open(&image, chosen.partition.as_deref()).map_err(|error| {
            let is_choice = matches!(error, SystemError::NoRoot(_) | SystemError::NoPartition { .. });
            failed(&error).hint(is_choice.then_some("choose a partition with --partition"))
        })
    }

    /// Finds the node at the path; a symbolic link at its end is followed if `follows`.
    ///
    /// # Errors
    /// If there is none.
    pub fn node(&self, layer: &dyn Layer, follows: bool) -> Result<NodeId, CommandError> {
        walk::find(layer, &self.path, follows).map_err(|error| self.failed(&error))
    }

    /// Makes the error of reading the path.
    pub fn failed(&self, error: &LayerError) -> CommandError {
        CommandError::failed(format!("{}:{}: {error}", self.image.display(), self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_ends_at_a_colon() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a:b.raw");
        std::fs::write(&file, "").unwrap();
        let name = file.to_str().unwrap();
        let parts = |text: String| {
            let place = Place::parse(OsStr::new(&text));
            (place.image.display().to_string(), place.path.display().to_string())
        };
        assert_eq!(parts(name.into()), (name.into(), "/".into()));
        assert_eq!(parts(format!("{name}:/etc/a:b")), (name.into(), "/etc/a:b".into()));
        assert_eq!(parts(format!("{name}:etc")), (name.into(), "/etc".into()));
        assert_eq!(parts("absent.raw:/x:y".into()), ("absent.raw".into(), "/x:y".into()));
    }
}
