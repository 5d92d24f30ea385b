//! The layers below an image's upper: `upper.base`. A line `oic-upper-base 1 ` and the SHA-256 of the rest; a line
//! with the key of the base; one for each step layer, the topmost first.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Layer, LayerError, LayerStore};
use crate::durable::{self, PathError};
use crate::package::Sha256;
use crate::package::sealed::{self, Unsealed};

const HEADER: &str = "oic-upper-base 1 ";

/// The base and the step layers below an upper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// Key of the base.
    pub base: Sha256,
    /// Keys of the layers, the topmost first.
    pub layers: Vec<Sha256>,
}

/// A reason why such a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BelowError {
    /// The file cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An earlier version of this program wrote it, without a checksum.
    #[error("{} was written by an earlier version", .0.display())]
    Older(PathBuf),
    /// It is damaged, or of another version.
    #[error("{} cannot be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        reason: Unsealed,
    },
}

impl Below {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`BelowError`]; nothing of an incomplete list is used.
    pub fn read(path: &Path) -> Result<Self, BelowError> {
        let text = fs::read(path).map_err(PathError::on("read", path))?;
        let unusable = |reason| BelowError::Unusable {
            path: path.to_owned(),
            reason,
        };
        let keys = |text: &str| text.lines().map(str::parse).collect::<Result<Vec<Sha256>, _>>();
        let body = match sealed::open(HEADER, &text) {
            Err(Unsealed::Other) if std::str::from_utf8(&text).is_ok_and(|text| keys(text).is_ok()) => {
                return Err(BelowError::Older(path.to_owned()));
            }
            opened => opened.map_err(unusable)?,
        };
        let malformed = || unusable(Unsealed::Other);
        let mut keys = keys(body).map_err(|_| malformed())?.into_iter();
        Ok(Self {
            base: keys.next().ok_or_else(malformed)?,
            layers: keys.collect(),
        })
    }

    /// Writes the file `path`, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PathError> {
        let lines: String = [self.base]
            .iter()
            .chain(&self.layers)
            .map(|key| format!("{key}\n"))
            .collect();
        durable::write_file(path, sealed::seal(HEADER, &lines))
    }

    /// Returns the layers themselves, after checking that each is unchanged.
    ///
    /// # Errors
    /// [`LayerError::Unusable`] if one is missing or was changed.
    pub fn open(&self, store: &LayerStore) -> Result<Vec<Layer>, LayerError> {
        self.layers.iter().map(|key| store.check(*key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upper.base");
        let below = Below {
            base: Sha256::of("base"),
            layers: vec![Sha256::of("b"), Sha256::of("a")],
        };
        below.write(&path).unwrap();
        assert_eq!(Below::read(&path).unwrap(), below);
        fs::write(&path, Sha256::of("base").to_string()).unwrap();
        assert!(matches!(Below::read(&path), Err(BelowError::Older(_))));
        for bad in [sealed::seal(HEADER, "x\n"), sealed::seal(HEADER, "")] {
            fs::write(&path, &bad).unwrap();
            assert!(
                matches!(Below::read(&path), Err(BelowError::Unusable { .. })),
                "{bad:?}"
            );
        }
    }
}
