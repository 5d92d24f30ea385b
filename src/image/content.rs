//! The sources of the bytes of files that are put into an image.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::overlay::layer::{Layer, NodeId};
use crate::sync::{Mutex, lock};

/// Contents of known size that can be read again and again.
#[derive(Debug, Clone)]
pub enum Source {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A regular file of a layer.
    File(LayerFile),
    /// This number of zero bytes.
    Zeros(u64),
    /// Several sources, one after the other.
    Chain(Vec<Source>),
    /// Bytes that another content of the image gives.
    Promised(Promise),
    /// Bytes that are computed of promised ones.
    Computed(Computed),
}

/// Computes bytes.
type Compute = dyn Fn() -> io::Result<Vec<u8>> + Send + Sync;

/// Bytes whose number is known, and which are computed when they are read for the first time: what they depend on is
/// promised. Clones share them.
#[derive(Clone)]
pub struct Computed {
    size_bytes: u64,
    compute: Arc<Compute>,
    bytes: Arc<Mutex<Option<Vec<u8>>>>,
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl Computed {
    /// Makes `size_bytes` bytes that `compute` gives.
    pub fn new(size_bytes: u64, compute: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self {
            size_bytes,
            compute: Arc::new(compute),
            bytes: Arc::default(),
        }
    }

    /// Returns the bytes; one caller computes them.
    fn get(&self) -> io::Result<Vec<u8>> {
        let mut bytes = lock(&self.bytes);
        match &*bytes {
            Some(bytes) => Ok(bytes.clone()),
            None => Ok(bytes.insert((self.compute)()?).clone()),
        }
    }
}

/// A reader of bytes that are computed when the first of them is wanted.
struct ComputedReader<'a> {
    of: &'a Computed,
    bytes: Option<Cursor<Vec<u8>>>,
}

impl Read for ComputedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = match &mut self.bytes {
            Some(bytes) => bytes,
            none => none.insert(Cursor::new(self.of.get()?)),
        };
        bytes.read(buffer)
    }
}

/// Bytes whose number is known, and which are given later: the content that they depend on is written first. Clones share
/// them.
#[derive(Debug, Clone)]
pub struct Promise {
    size_bytes: u64,
    bytes: Arc<OnceLock<Vec<u8>>>,
}

impl Promise {
    /// Promises `size_bytes` bytes.
    pub fn new(size_bytes: u64) -> Self {
        Self {
            size_bytes,
            bytes: Arc::default(),
        }
    }

    /// Gives the bytes. The first ones count.
    pub fn keep(&self, bytes: &[u8]) {
        self.bytes.get_or_init(|| bytes.to_owned());
    }

    /// Returns the bytes, if they were given.
    pub fn kept(&self) -> Option<&[u8]> {
        self.bytes.get().map(Vec::as_slice)
    }
}

/// A regular file of a layer.
#[derive(Debug, Clone)]
pub struct LayerFile {
    /// The layer.
    pub layer: Arc<dyn Layer>,
    /// The file in it.
    pub node: NodeId,
    /// Its path, for messages.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl Source {
    /// Returns the number of bytes that it gives.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(LayerFile { size_bytes, .. }) | Self::Zeros(size_bytes) => *size_bytes,
            Self::Chain(parts) => parts.iter().fold(0, |sum, part| sum.saturating_add(part.size_bytes())),
            Self::Promised(promise) => promise.size_bytes,
            Self::Computed(computed) => computed.size_bytes,
        }
    }

    /// Says whether some of its bytes are promised.
    pub fn is_promised(&self) -> bool {
        match self {
            Self::Promised(_) | Self::Computed(_) => true,
            Self::Chain(parts) => parts.iter().any(Self::is_promised),
            Self::Bytes(_) | Self::File(_) | Self::Zeros(_) => false,
        }
    }

    /// Returns a reader of it from the start. A file that has become shorter, and a promise that is not kept yet, end
    /// early (the consumer checks the length).
    pub fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Self::File(file) => Box::new(FileReader { file, offset: 0 }),
            Self::Zeros(size_bytes) => Box::new(io::repeat(0).take(*size_bytes)),
            Self::Promised(promise) => Box::new(Cursor::new(promise.kept().unwrap_or_default())),
            Self::Computed(of) => Box::new(ComputedReader { of, bytes: None }),
            Self::Chain(parts) => parts.iter().fold(Box::new(io::empty()), |chain: Box<dyn Read>, part| {
                Box::new(chain.chain(part.reader()))
            }),
        }
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

struct FileReader<'a> {
    file: &'a LayerFile,
    offset: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let LayerFile { layer, node, path, .. } = self.file;
        let length = layer
            .read_at(*node, self.offset, buffer)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        self.offset += length as u64;
        Ok(length)
    }
}
