//! A step layer, or an image's own upper, as a layer: each read is compared with the checksums made when it was sealed,
//! because a disk may return other bytes than were written.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::durable::PathError;
use crate::layer::{PIECE_BYTES, Sums};
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::{Attributes, ContentReader, Entry, Errno, Layer, LayerError, LayerResult, NodeId, Summary};

/// A directory whose files have checksums.
#[derive(Debug)]
pub struct SealedLayer {
    path: PathBuf,
    directory: DirectoryLayer,
    sums: Sums,
}

impl SealedLayer {
    /// Opens the directory at `path`, whose files have the checksums `sums`.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be opened.
    pub fn open(path: &Path, sums: Sums) -> Result<Self, PathError> {
        Ok(Self {
            path: path.to_owned(),
            directory: DirectoryLayer::open(path)?,
            sums,
        })
    }

    /// Reads piece number `number` of a file into `buffer`, which has its length.
    fn piece(&self, node: NodeId, size_bytes: u64, number: usize, buffer: &mut [u8]) -> LayerResult<()> {
        let length = self.directory.read_at(node, offset_of(number), buffer)?;
        let expected = self.sums.of(node.0, size_bytes).and_then(|sums| sums.get(number));
        match length == buffer.len() && expected == Some(&crc32fast::hash(buffer)) {
            true => Ok(()),
            false => Err(LayerError::new(
                Errno::IO,
                format!("the disk has damaged it, in {}", self.path.display()),
            )),
        }
    }

    /// Fills `buffer` from `offset`, through `kept` for parts of pieces, and returns the number of bytes.
    fn read(&self, kept: &mut Kept, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let size_bytes = self.directory.attributes(node)?.size_bytes;
        let mut filled = 0;
        loop {
            let position = offset.saturating_add(filled as u64);
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            if rest.is_empty() || position >= size_bytes {
                return Ok(filled);
            }
            let number = (position / PIECE_BYTES as u64) as usize;
            let length = (size_bytes - offset_of(number)).min(PIECE_BYTES as u64) as usize;
            filled += match rest.get_mut(..length) {
                Some(whole) if position == offset_of(number) => {
                    self.piece(node, size_bytes, number, whole)?;
                    length
                }
                _ => {
                    if kept.piece != Some((node, number)) {
                        kept.piece = None;
                        kept.bytes.resize(length, 0);
                        self.piece(node, size_bytes, number, &mut kept.bytes)?;
                        kept.piece = Some((node, number));
                    }
                    let within = (position - offset_of(number)) as usize;
                    let there = kept.bytes.get(within..).unwrap_or_default();
                    let count = there.len().min(rest.len());
                    rest[..count].copy_from_slice(&there[..count]);
                    count
                }
            };
        }
    }
}

/// Returns the offset of piece number `number` in its file, in bytes.
fn offset_of(number: usize) -> u64 {
    number as u64 * PIECE_BYTES as u64
}

/// The last piece that was read in part.
#[derive(Debug, Default)]
struct Kept {
    piece: Option<(NodeId, usize)>,
    bytes: Vec<u8>,
}

/// A reader of one file after the other, which reads each piece once.
struct Reader<'a> {
    layer: &'a SealedLayer,
    kept: Kept,
}

impl ContentReader for Reader<'_> {
    fn read_at(&mut self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        self.layer.read(&mut self.kept, node, offset, buffer)
    }
}

impl Layer for SealedLayer {
    fn root(&self) -> NodeId {
        self.directory.root()
    }

    fn summary(&self) -> Summary {
        self.directory.summary()
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        self.directory.lookup(directory, name)
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        self.directory.attributes(node)
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        self.directory.entries(directory, after, visit)
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        self.directory.read_link(node)
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        self.directory.xattr(node, name)
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        self.directory.xattr_names(node)
    }

    fn next_data(&self, node: NodeId, offset: u64) -> LayerResult<u64> {
        self.directory.next_data(node, offset)
    }

    fn reader(&self) -> Option<Box<dyn ContentReader + '_>> {
        let kept = Kept::default();
        Some(Box::new(Reader { layer: self, kept }))
    }

    fn is_ready(&self, node: NodeId, offset: u64, length: usize) -> bool {
        self.directory.is_ready(node, offset, length)
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        self.read(&mut Kept::default(), node, offset, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::cancel::Cancel;

    /// Makes a layer of one file of two pieces and a half; returns it with the file and its content.
    fn layer() -> (tempfile::TempDir, SealedLayer, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..PIECE_BYTES * 5 / 2).map(|at| (at % 251) as u8).collect();
        fs::write(directory.path().join("file"), &content).unwrap();
        fs::write(directory.path().join("empty"), "").unwrap();
        let (_, sums) = crate::layer::content(directory.path(), &Cancel::default()).unwrap();
        let layer = SealedLayer::open(directory.path(), sums).unwrap();
        (directory, layer, content)
    }

    fn node(layer: &SealedLayer, name: &str) -> NodeId {
        layer.lookup(layer.root(), OsStr::new(name)).unwrap().unwrap()
    }

    #[test]
    fn reads_of_any_place_and_length_give_the_content() {
        let (_directory, layer, content) = layer();
        let file = node(&layer, "file");
        let mut reader = layer.reader().unwrap();
        for offset in [
            0,
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES * 2 + 5,
            content.len(),
            content.len() + 9,
        ] {
            for length in [0, 1, 4096, PIECE_BYTES, PIECE_BYTES * 2 + 3, content.len() * 2] {
                let (mut one, mut other) = (vec![0; length], vec![0; length]);
                let count = layer.read_at(file, offset as u64, &mut one).unwrap();
                assert_eq!(count, reader.read_at(file, offset as u64, &mut other).unwrap());
                let start = offset.min(content.len());
                let expected = &content[start..content.len().min(offset + length).max(start)];
                assert!(
                    one[..count] == *expected && other[..count] == *expected,
                    "{offset} {length}"
                );
            }
        }
        assert_eq!(layer.read_at(node(&layer, "empty"), 0, &mut [0; 9]).unwrap(), 0);
    }

    #[test]
    fn a_flipped_bit_is_an_error_and_other_pieces_are_not() {
        let (directory, layer, content) = layer();
        let file = fs::File::options()
            .write(true)
            .open(directory.path().join("file"))
            .unwrap();
        file.write_all_at(&[content[PIECE_BYTES + 7] ^ 1], PIECE_BYTES as u64 + 7)
            .unwrap();
        let node = node(&layer, "file");
        let mut buffer = vec![0; PIECE_BYTES];
        assert!(layer.read_at(node, 0, &mut buffer).is_ok());
        assert!(layer.read_at(node, 2 * PIECE_BYTES as u64, &mut buffer).is_ok());
        for (offset, length) in [(PIECE_BYTES, PIECE_BYTES), (PIECE_BYTES + 90, 4), (5, PIECE_BYTES)] {
            let error = layer.read_at(node, offset as u64, &mut buffer[..length]).unwrap_err();
            assert_eq!(error.errno, Errno::IO);
            assert!(error.message.contains("damaged"), "{error}");
        }
    }

    #[test]
    fn a_file_without_checksums_is_not_read() {
        let (directory, layer, _) = layer();
        fs::write(directory.path().join("new"), "x").unwrap();
        assert!(layer.read_at(node(&layer, "new"), 0, &mut [0; 1]).is_err());
    }
}
