//! Serves the snapshot as a layer of the overlay.

use std::ffi::{OsStr, OsString};

use super::SnapshotError;
use super::format::{NONE, Node};
use super::reader::Snapshot;
use super::sequential::Sequential;
use crate::overlay::layer::{
    Attributes, ContentReader, Entry, Errno, FileKind, Layer, LayerError, LayerResult, NodeId, Summary,
};
use crate::package::Sha256;

/// The root, which is the first node.
const ROOT: NodeId = NodeId(0);
/// Number of nodes among which to look for the next file; directories and links lie in between.
const FOLLOWING_MAX: u32 = 256;

/// A function that fills a buffer with the tar stream's bytes from a position.
pub(super) type ReadAt<'a> = dyn FnMut(u64, &mut [u8]) -> Result<(), SnapshotError> + 'a;

impl From<SnapshotError> for LayerError {
    fn from(error: SnapshotError) -> Self {
        let message = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        Self::new(Errno::IO, message)
    }
}

impl Snapshot {
    /// Reads from a regular file; `read` fills a buffer with the tar stream's bytes from a position.
    pub(super) fn read_file(
        &self,
        node: NodeId,
        offset: u64,
        buffer: &mut [u8],
        read: &mut ReadAt<'_>,
    ) -> LayerResult<usize> {
        let (number, node) = self.node(node)?;
        match node.kind() {
            Some(FileKind::Regular) => {}
            Some(FileKind::Directory) => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
        let length = self.read_pieces(&node, offset, buffer, read).map_err(|error| {
            let named = LayerError::from(error);
            let path = self.index.path_of(&node).unwrap_or_default();
            LayerError::new(
                named.errno,
                format!("cannot read {path:?} of the base: {}", named.message),
            )
        })?;
        if length > 0 {
            self.note_touch(number);
        }
        Ok(length)
    }

    fn node(&self, id: NodeId) -> LayerResult<(u32, Node)> {
        let number = u32::try_from(id.0).ok().filter(|id| *id < self.index.nodes());
        let number = number.ok_or(Errno::STALE)?;
        Ok((number, self.index.node(number)?))
    }

    fn directory(&self, id: NodeId) -> LayerResult<Node> {
        let (_, node) = self.node(id)?;
        match node.kind() {
            Some(FileKind::Directory) => Ok(node),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Calls `visit` for the pieces of `length` bytes from `offset` of a regular file, in order, up to its end: with
    /// the place of each in the tar stream (`None` for a hole), and its length. Stops at an error.
    pub(super) fn pieces(
        &self,
        node: &Node,
        offset: u64,
        length: u64,
        visit: &mut dyn FnMut(Option<u64>, u64) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let damage = || self.index.damage("a file lies outside the tar stream");
        let end = offset.saturating_add(length).min(node.size_bytes);
        if node.entries == 0 && offset < end {
            let start = node.data.checked_add(offset).ok_or_else(damage)?;
            start.checked_add(end - offset).ok_or_else(damage)?;
            return visit(Some(start), end - offset);
        }
        let mut position = offset;
        while position < end {
            let (start, length) = match self.index.extent_at(node, position)? {
                None => (None, end - position),
                Some(extent) if extent.offset > position => (None, extent.offset.min(end) - position),
                Some(extent) => {
                    let within = position - extent.offset;
                    let length = (extent.length - within).min(end - position);
                    (Some(extent.tar_offset + within), length)
                }
            };
            visit(start, length)?;
            position += length;
        }
        Ok(())
    }

    /// Reads pieces of a regular file into `buffer`, up to the file's end.
    fn read_pieces(
        &self,
        node: &Node,
        offset: u64,
        buffer: &mut [u8],
        read: &mut ReadAt<'_>,
    ) -> Result<usize, SnapshotError> {
        let mut filled = 0;
        self.pieces(node, offset, buffer.len() as u64, &mut |start, length| {
            // A piece is never longer than the buffer.
            let length = length as usize;
            let part = buffer
                .get_mut(filled..)
                .and_then(|rest| rest.get_mut(..length))
                .unwrap_or_default();
            filled += part.len();
            match start {
                Some(start) => read(start, part),
                None => {
                    part.fill(0);
                    Ok(())
                }
            }
        })?;
        Ok(filled)
    }
}

impl Layer for Snapshot {
    fn root(&self) -> NodeId {
        ROOT
    }

    fn summary(&self) -> Summary {
        let header = self.index.header();
        Summary {
            has_xattrs: header.has_xattrs,
            nodes: self.index.nodes().into(),
            size_bytes: header.content_bytes,
        }
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        let directory = self.directory(directory)?;
        let found = self.index.find(&directory, name)?;
        Ok(found.map(|dirent| NodeId(dirent.node.into())))
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        let (_, node) = self.node(node)?;
        let attributes = node.attributes();
        Ok(attributes.ok_or_else(|| self.index.damage("a node is of no known kind"))?)
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let directory = self.directory(directory)?;
        let range = self.index.entries(&directory)?;
        let skip = u32::try_from(after).unwrap_or(u32::MAX);
        for number in range.start.saturating_add(skip)..range.end {
            let dirent = self.index.dirent(number)?;
            let kind = FileKind::from_mode(dirent.kind.into());
            let entry = Entry {
                name: self.index.name(&dirent)?,
                node: NodeId(dirent.node.into()),
                kind: kind.ok_or_else(|| self.index.damage("a name is of no known kind"))?,
                cookie: u64::from(number - range.start) + 1,
            };
            if !visit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        let (_, node) = self.node(node)?;
        if node.kind() != Some(FileKind::Symlink) {
            return Err(Errno::INVAL.into());
        }
        Ok(self.index.heap(node.data, node.size_bytes)?.to_vec())
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        let (_, node) = self.node(node)?;
        let set = self.index.xattrs(&node)?;
        Ok(set
            .into_iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.to_vec()))
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        let (_, node) = self.node(node)?;
        let set = self.index.xattrs(&node)?;
        Ok(set.into_iter().map(|(name, _)| name.to_owned()).collect())
    }

    fn following(&self, node: NodeId) -> Option<NodeId> {
        let after = u32::try_from(node.0).ok()?.checked_add(1)?;
        let near = after..self.index.nodes().min(after.saturating_add(FOLLOWING_MAX));
        let has_content = |id: &u32| {
            let node = self.index.node(*id);
            node.is_ok_and(|node| node.size_bytes > 0 && node.kind() == Some(FileKind::Regular))
        };
        near.into_iter().find(has_content).map(|id| NodeId(id.into()))
    }

    fn digest(&self, node: NodeId) -> LayerResult<Option<Sha256>> {
        let (_, node) = self.node(node)?;
        // Sparse files of a tarball from elsewhere have none.
        if node.kind() != Some(FileKind::Regular) || node.digest == NONE {
            return Ok(None);
        }
        Ok(Some(self.index.digest(node.digest)?))
    }

    fn reader(&self) -> Option<Box<dyn ContentReader + '_>> {
        Some(Box::new(Sequential::new(self)))
    }

    fn is_ready(&self, node: NodeId, offset: u64, length: usize) -> bool {
        let Ok((_, node)) = self.node(node) else {
            // Reporting an error needs no worker.
            return true;
        };
        let mut ready = true;
        if node.kind() == Some(FileKind::Regular) {
            let looked = self.pieces(&node, offset, length as u64, &mut |start, length| {
                if let Some(start) = start {
                    ready &= self.range_is_ready(start, start + length)?;
                }
                Ok(())
            });
            return looked.is_err() || ready;
        }
        ready
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        self.read_file(node, offset, buffer, &mut |start, part| self.read_stream(start, part))
    }
}
