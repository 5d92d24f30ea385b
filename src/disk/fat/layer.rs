//! The file system as a layer of the overlay. A node's id says where its entry lies; the root has none.

use std::ffi::OsStr;

use super::directory::File;
use super::{ENTRY_BYTES, Fat};
use crate::overlay::layer::{Attributes, Entry, Errno, FileKind, Layer, LayerResult, NodeId, Summary, Timestamp};

/// The id of the root directory; no entry lies there.
const ROOT: NodeId = NodeId(0);

impl Fat {
    fn file(&self, node: NodeId) -> LayerResult<File> {
        if node == ROOT {
            return Ok(self.root_file());
        }
        let place = node.0.checked_mul(ENTRY_BYTES).ok_or(Errno::STALE)?;
        self.file_at(place)?.ok_or_else(|| Errno::STALE.into())
    }

    fn directory(&self, node: NodeId) -> LayerResult<File> {
        let file = self.file(node)?;
        if file.is_directory {
            Ok(file)
        } else {
            Err(Errno::NOTDIR.into())
        }
    }
}

fn kind(file: &File) -> FileKind {
    match file.is_directory {
        true => FileKind::Directory,
        false => FileKind::Regular,
    }
}

impl Layer for Fat {
    fn root(&self) -> NodeId {
        ROOT
    }

    fn summary(&self) -> Summary {
        Summary {
            has_xattrs: false,
            ..Summary::default()
        }
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        let file = self.file(node)?;
        let (mut size_bytes, mut links) = (file.size_bytes, 1);
        if file.is_directory {
            size_bytes = self.directory_bytes(&file)?;
            links = 2;
            self.names(&file, 0, &mut |entry| {
                links += u32::from(entry.file.is_directory);
                true
            })?;
        }
        Ok(Attributes {
            kind: kind(&file),
            permissions: if file.is_read_only && !file.is_directory {
                0o555
            } else {
                0o755
            },
            uid: 0,
            gid: 0,
            size_bytes,
            modified: Timestamp {
                seconds: file.modified,
                nanoseconds: 0,
            },
            links,
            device: (0, 0),
        })
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let directory = self.directory(directory)?;
        Ok(self.names(&directory, after, &mut |entry| {
            visit(Entry {
                name: OsStr::new(&entry.name),
                node: NodeId(entry.place / ENTRY_BYTES),
                kind: kind(&entry.file),
                cookie: entry.end,
            })
        })?)
    }

    fn is_ready(&self, _node: NodeId, _offset: u64, _length: usize) -> bool {
        self.area.medium().is_plain()
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let file = self.file(node)?;
        if file.is_directory {
            return Err(Errno::ISDIR.into());
        }
        let length = file.size_bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        if length > 0 {
            self.read_chain(file.first, offset, &mut buffer[..length])?;
        }
        Ok(length)
    }
}
