//! The record of delivered files: which chunks one that is compressed consists of, and what each was made from.
//!
//! The file is JSON with a checksum before it ([`sealed`]). Anything else is no record; all artifacts are then made anew.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable::{self, Owner, PathError};
use crate::image::earlier::Identity;
use crate::package::{Sha256, sealed};

/// The beginning of the file, with the version of the format.
const HEADER: &str = "oic-artifacts 1 ";
/// The largest record that is read, in bytes: that of a full disk of 10 TiB in chunks of 4 MiB has half of it.
const SIZE_LIMIT_BYTES: u64 = 1 << 30;

/// A chunk of a compressed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chunk {
    /// The digest of the bytes that it was made from.
    pub(super) content: Sha256,
    /// Its offset in the file, in bytes.
    pub(super) offset_bytes: u64,
    /// Its length in the file, in bytes.
    pub(super) length_bytes: u64,
    /// The CRC-32 of its bytes in the file.
    pub(super) crc32: u32,
    /// The compressed blocks in it, if the file is a container of such; other parts of the container lie between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) blocks: Vec<Block>,
}

/// A compressed block of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    /// Its number in the chunk; blocks of zeros are left out.
    pub(super) number: u64,
    /// Its offset in the chunk's part of the file, in bytes.
    pub(super) offset_bytes: u64,
    /// Its length in the file, in bytes.
    pub(super) length_bytes: u64,
}

/// What a file is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The digest of all that decides about its bytes but the disk's contents: format, compression, level, library.
    pub(super) method: Sha256,
    /// The digest of what it is made from, if it is known.
    pub(super) content: Option<Sha256>,
}

/// A delivered file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: String,
    /// As in [`Key`].
    method: Sha256,
    /// As in [`Key`].
    content: Option<Sha256>,
    /// The digest of its bytes, if it was computed.
    pub(super) sha256: Option<Sha256>,
    /// Its compressed chunks but those of zeros, in order; none if nothing in it is compressed, or all of it is one stream.
    pub(super) chunks: Vec<Chunk>,
    identity: Identity,
}

impl Entry {
    /// Describes `file`, which has its final name.
    ///
    /// # Errors
    /// If its attributes cannot be read.
    pub(super) fn new(key: Key<'_>, file: &File, sha256: Option<Sha256>, chunks: Vec<Chunk>) -> io::Result<Self> {
        Ok(Self {
            name: key.name.to_owned(),
            method: key.method,
            content: key.content,
            sha256,
            chunks,
            identity: Identity::of(file)?,
        })
    }

    /// Returns the size of the file in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.identity.size_bytes
    }

    /// Opens the file in `directory`; `None` if it is not the very file that this describes.
    pub(super) fn open(&self, directory: &Path) -> Option<File> {
        let file = durable::open_regular(&directory.join(&self.name)).ok()?;
        (Identity::of(&file).ok()? == self.identity).then_some(file)
    }

    /// Gives the file in `directory` to `owner`, if it is the very file that this describes, and describes it anew.
    ///
    /// # Errors
    /// If it cannot be given.
    pub(super) fn give(&mut self, directory: &Path, owner: Owner) -> Result<(), PathError> {
        let path = directory.join(&self.name);
        if let Some(file) = self.open(directory) {
            owner.take(&durable::real_name(&path)?)?;
            self.identity = Identity::of(&file).map_err(PathError::on("look at", path))?;
        }
        Ok(())
    }
}

/// A file of an earlier build that is compressed, as a whole or in blocks, as a source of chunks.
#[derive(Debug)]
pub(super) struct EarlierFile {
    file: File,
    size_bytes: u64,
    chunks: HashMap<Sha256, Chunk>,
}

impl EarlierFile {
    /// Makes a source of the chunks of `entry` in `file`.
    ///
    /// # Errors
    /// If the file's size cannot be read.
    pub(super) fn new(entry: &Entry, file: File) -> io::Result<Self> {
        Ok(Self {
            size_bytes: file.metadata()?.len(),
            file,
            chunks: entry
                .chunks
                .iter()
                .map(|chunk| (chunk.content, chunk.clone()))
                .collect(),
        })
    }

    /// Returns the compressed form of the chunk that was made from bytes with the digest `content`; `None` if the file
    /// has none that is sound.
    pub(super) fn chunk(&self, content: Sha256) -> Option<Vec<u8>> {
        self.read(self.chunks.get(&content)?)
    }

    /// Returns the compressed blocks, each with its number in the chunk, of the chunk of `count` blocks that was made from
    /// bytes with the digest `content`; `None` if the file has none that is sound.
    pub(super) fn blocks(&self, content: Sha256, count: u64) -> Option<Vec<(u64, Vec<u8>)>> {
        let chunk = self.chunks.get(&content)?;
        let numbers = chunk.blocks.iter().map(|block| block.number);
        let ascend = numbers.clone().is_sorted_by(|one, next| one < next);
        if !ascend || numbers.max().is_none_or(|last| last >= count) {
            return None;
        }
        let bytes = self.read(chunk)?;
        let block = |block: &Block| {
            let start = usize::try_from(block.offset_bytes).ok()?;
            let end = start.checked_add(usize::try_from(block.length_bytes).ok()?)?;
            Some((block.number, bytes.get(start..end)?.to_vec()))
        };
        chunk.blocks.iter().map(block).collect()
    }

    fn read(&self, chunk: &Chunk) -> Option<Vec<u8>> {
        let end = chunk.offset_bytes.checked_add(chunk.length_bytes)?;
        if end > self.size_bytes {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(chunk.length_bytes).ok()?];
        self.file.read_exact_at(&mut bytes, chunk.offset_bytes).ok()?;
        (crc32fast::hash(&bytes) == chunk.crc32).then_some(bytes)
    }
}

/// A record: what a build has delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The files.
    pub(super) files: Vec<Entry>,
}

impl Record {
    /// Returns the entry of the file in `directory` that is `key` already.
    pub(super) fn unchanged(&self, key: Key<'_>, directory: &Path) -> Option<Entry> {
        let entry = self.entry(key).filter(|entry| entry.content == key.content)?;
        let file = key.content.and_then(|_| entry.open(directory));
        file.map(|_| entry.clone())
    }

    /// Opens the file in `directory` that was made in the way of `key`, as a source of chunks.
    pub(super) fn source(&self, key: Key<'_>, directory: &Path) -> Option<EarlierFile> {
        let entry = self.entry(key)?;
        EarlierFile::new(entry, entry.open(directory)?).ok()
    }

    fn entry(&self, key: Key<'_>) -> Option<&Entry> {
        let mut files = self.files.iter();
        files.find(|file| file.name == key.name && file.method == key.method)
    }

    /// Reads the record at `path`; `None` if there is none that is sound.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let file = durable::open_regular(path).ok()?;
        Self::parse(&durable::read_at_most(&file, SIZE_LIMIT_BYTES).ok()?)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_str(sealed::open(HEADER, bytes).ok()?).ok()?;
        // A record names files of its own directory.
        let is_name = |entry: &Entry| Path::new(&entry.name).file_name() == Some(entry.name.as_ref());
        record.files.iter().all(is_name).then_some(record)
    }

    /// Writes the record to `path`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), PathError> {
        let text = serde_json::to_string(self).map_err(io::Error::other);
        let text = text.map_err(PathError::on("encode", path))?;
        durable::write_file(path, sealed::seal(HEADER, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of one file of two chunks, in a directory that has the file.
    fn record(directory: &Path) -> Record {
        let path = directory.join("image.raw.gz");
        std::fs::write(&path, "onetwo").unwrap();
        let chunk = |text: &str, offset_bytes| Chunk {
            content: Sha256::of(text),
            offset_bytes,
            length_bytes: 3,
            crc32: crc32fast::hash(text.as_bytes()),
            blocks: vec![Block {
                number: 5,
                offset_bytes: 1,
                length_bytes: 2,
            }],
        };
        let chunks = vec![chunk("one", 0), chunk("two", 3)];
        let file = File::open(&path).unwrap();
        let entry = Entry::new(key("method"), &file, Some(Sha256::of("onetwo")), chunks).unwrap();
        Record { files: vec![entry] }
    }

    fn key(method: &str) -> Key<'static> {
        Key {
            name: "image.raw.gz",
            method: Sha256::of(method),
            content: Some(Sha256::of("content")),
        }
    }

    #[test]
    fn what_was_written_is_read_and_chunks_are_verified() {
        let directory = tempfile::tempdir().unwrap();
        let (record, path) = (record(directory.path()), directory.path().join("record"));
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record);
        let source = |record: &Record, method| record.source(key(method), directory.path());
        let found = source(&record, "method").unwrap();
        assert_eq!(found.chunk(Sha256::of("two")).unwrap(), b"two");
        assert!(
            found.blocks(Sha256::of("two"), 5).is_none(),
            "a number behind the chunk"
        );
        assert_eq!(found.blocks(Sha256::of("two"), 6).unwrap(), [(5, b"wo".to_vec())]);
        assert!(found.chunk(Sha256::of("three")).is_none() && source(&record, "other").is_none());
        let unchanged = |key| record.unchanged(key, directory.path()).is_some();
        let other = |content| Key {
            content,
            ..key("method")
        };
        assert!(unchanged(key("method")) && !unchanged(key("other")));
        assert!(!unchanged(other(None)) && !unchanged(other(Some(Sha256::of("other")))));
        for change in [
            |chunk: &mut Chunk| chunk.offset_bytes = u64::MAX,
            |chunk: &mut Chunk| chunk.length_bytes = 4,
            |chunk: &mut Chunk| chunk.crc32 ^= 1,
        ] {
            let mut wrong = record.clone();
            change(&mut wrong.files[0].chunks[1]);
            assert!(source(&wrong, "method").unwrap().chunk(Sha256::of("two")).is_none());
            assert!(source(&wrong, "method").unwrap().blocks(Sha256::of("two"), 6).is_none());
        }
        let mut wrong = record.clone();
        wrong.files[0].chunks[1].blocks[0].length_bytes = 3;
        assert!(source(&wrong, "method").unwrap().blocks(Sha256::of("two"), 6).is_none());
        std::fs::write(directory.path().join("image.raw.gz"), "onetwo").unwrap();
        assert!(source(&record, "method").is_none() && record.unchanged(key("method"), directory.path()).is_none());
    }

    #[test]
    fn names_of_other_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (mut record, path) = (record(directory.path()), directory.path().join("record"));
        for name in ["../image.raw.gz", "/etc/passwd", "..", ""] {
            record.files[0].name = name.to_owned();
            record.write(&path).unwrap();
            assert!(Record::read(&path).is_none(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn changed_records_are_read_or_refused(
            at in 0..100_usize,
            with in "[{}\\[\\]\",:a-z0-9 \n/.]{0,3}",
            removed in 0..4_usize,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let text = serde_json::to_string(&record(directory.path())).unwrap();
            let at = text.len() * at / 100;
            let changed = [&text[..at], &with, &text[(at + removed).min(text.len())..]].concat();
            if let Some(read) = Record::parse(sealed::seal(HEADER, &changed).as_bytes()) {
                let again = serde_json::to_string(&read).unwrap();
                proptest::prop_assert_eq!(Record::parse(sealed::seal(HEADER, &again).as_bytes()), Some(read));
            }
        }
    }
}
