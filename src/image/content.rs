//! Where the bytes of a file come from that is put into an image.

use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use crate::durable::PathError;
use crate::root::Root;

/// Contents of known size that can be read again and again.
#[derive(Debug, Clone)]
pub enum Source {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A regular file in a tree.
    InRoot {
        /// The tree.
        root: Root,
        /// The file in it.
        path: PathBuf,
        /// Its size when it was looked at.
        size_bytes: u64,
    },
    /// So many zero bytes.
    Zeros(u64),
    /// One after the other.
    Chain(Vec<Source>),
}

impl Source {
    /// The regular file `path` of the tree `root`; opened again when it is read.
    ///
    /// # Errors
    /// If it is missing or something else than a regular file.
    pub fn in_root(root: &Root, path: &Path) -> Result<Self, PathError> {
        let (_, size_bytes) = root.open_file(path)?;
        Ok(Self::InRoot {
            root: root.clone(),
            path: path.to_owned(),
            size_bytes,
        })
    }

    /// How many bytes it gives.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::InRoot { size_bytes, .. } | Self::Zeros(size_bytes) => *size_bytes,
            Self::Chain(parts) => parts.iter().fold(0, |sum, part| sum.saturating_add(part.size_bytes())),
        }
    }

    /// Opens it for reading from the start. A file that grew is cut at the size
    /// it had; one that shrank ends early (the consumer checks the length).
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn reader(&self) -> Result<Box<dyn Read + '_>, PathError> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Self::InRoot { root, path, size_bytes } => Box::new(root.open_file(path)?.0.take(*size_bytes)),
            Self::Zeros(size_bytes) => Box::new(io::repeat(0).take(*size_bytes)),
            Self::Chain(parts) => {
                let mut chain: Box<dyn Read + '_> = Box::new(io::empty());
                for part in parts {
                    chain = Box::new(chain.chain(part.reader()?));
                }
                chain
            }
        })
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}
