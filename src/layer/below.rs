//! What an image's upper lies on: a line with the key of the base, then one for each step layer, the topmost first.

use std::fs;
use std::path::Path;

use super::{Layer, LayerError, LayerStore};
use crate::durable::{self, PathError};
use crate::package::Sha256;

/// The base and the step layers below an upper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// Key of the base.
    pub base: Sha256,
    /// Keys of the layers, the topmost first.
    pub layers: Vec<Sha256>,
}

impl Below {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// If it cannot be read or is not such a list.
    pub fn read(path: &Path) -> Result<Self, PathError> {
        let text = fs::read_to_string(path).map_err(PathError::on("read", path))?;
        let keys: Result<Vec<Sha256>, _> = text.lines().map(str::parse).collect();
        let malformed = || PathError::on("read the keys in", path)(std::io::ErrorKind::InvalidData.into());
        let mut keys = keys.map_err(|_| malformed())?.into_iter();
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
        durable::write_file(path, lines)
    }

    /// The layers themselves, each as it was left.
    ///
    /// # Errors
    /// [`LayerError::Unusable`] if one is not.
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
        assert_eq!(Below::read(&path).unwrap().layers, []);
        for bad in ["", "x\n", "\n"] {
            fs::write(&path, bad).unwrap();
            assert!(Below::read(&path).is_err(), "{bad:?}");
        }
    }
}
