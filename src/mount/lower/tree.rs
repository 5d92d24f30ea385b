//! The tree that is shown: one layer, or a directory for each. Inode numbers to nodes and back.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use fuser::{FileAttr, INodeNo};

use super::ids;
use crate::mount::adapter::attr::{BLOCK_BYTES, file_attr};
use crate::mount::adapter::{DOT_ENTRIES, dots_behind, joined};
use crate::overlay::layer::{Attributes, Errno, FileKind, Layer, LayerResult, NodeId, Timestamp};

/// The layers of a mount.
#[derive(Debug)]
pub(super) struct Tree {
    layers: Vec<(String, Arc<dyn Layer>)>,
    /// The layer that is the root, or `None` for the list of layers.
    root: Option<usize>,
}

/// A node of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    /// Its layer's place among the layers.
    pub(super) index: usize,
    pub(super) layer: &'a Arc<dyn Layer>,
    pub(super) node: NodeId,
}

/// The meaning of an inode number.
enum Place<'a> {
    /// The root that lists the layers.
    Listing,
    Node(Node<'a>),
}

/// A function that takes an entry of a listing: inode, the offset behind it, kind, name. Returns whether there is
/// room for more.
pub(super) type AddEntry<'a> = dyn FnMut(INodeNo, u64, FileKind, &OsStr) -> LayerResult<bool> + 'a;

impl Tree {
    /// Makes the tree of `layers` (name and layer); `root` names the one to show alone.
    ///
    /// # Errors
    /// If there are too many layers, or none has that name.
    pub(super) fn new(layers: Vec<(String, Arc<dyn Layer>)>, root: Option<&str>) -> io::Result<Self> {
        if layers.len() > ids::MAX_LAYERS {
            return Err(io::Error::other(format!(
                "{} layers are more than one mount can serve ({})",
                layers.len(),
                ids::MAX_LAYERS
            )));
        }
        let index_of = |wanted: &str| {
            let found = layers.iter().position(|(name, _)| name == wanted);
            found.ok_or_else(|| io::Error::other(format!("there is no layer named {wanted:?}")))
        };
        let root = root.map(index_of).transpose()?;
        Ok(Self { layers, root })
    }

    /// Returns whether one layer alone is shown, and not all, of which overlayfs makes a tree.
    pub(super) fn is_alone(&self) -> bool {
        self.root.is_some()
    }

    /// Returns the number of layers.
    pub(super) fn len(&self) -> usize {
        self.layers.len()
    }

    /// Returns `false` only if no node has an extended attribute.
    pub(super) fn has_xattrs(&self) -> bool {
        self.layers.iter().any(|(_, layer)| layer.summary().has_xattrs)
    }

    /// Returns the size of all layers in blocks of [`BLOCK_BYTES`], and the number of their nodes.
    pub(super) fn totals(&self) -> (u64, u64) {
        let (mut blocks, mut nodes) = (0_u64, 0_u64);
        for (_, layer) in &self.layers {
            let summary = layer.summary();
            blocks = blocks.saturating_add(summary.size_bytes.div_ceil(u64::from(BLOCK_BYTES)));
            nodes = nodes.saturating_add(summary.nodes);
        }
        (blocks, nodes)
    }

    fn place(&self, ino: INodeNo) -> LayerResult<Place<'_>> {
        let (index, node) = match (ino, self.root) {
            (INodeNo::ROOT, None) => return Ok(Place::Listing),
            (INodeNo::ROOT, Some(index)) => (index, None),
            _ => {
                let (index, node) = ids::unpack(ino).ok_or(Errno::STALE)?;
                (index, Some(node))
            }
        };
        let (_, layer) = self.layers.get(index).ok_or(Errno::STALE)?;
        let node = node.unwrap_or_else(|| layer.root());
        Ok(Place::Node(Node { index, layer, node }))
    }

    /// Returns the node that `ino` stands for.
    ///
    /// # Errors
    /// `ESTALE`, or `errno` for the list of layers.
    pub(super) fn node(&self, ino: INodeNo, errno: Errno) -> LayerResult<Node<'_>> {
        match self.place(ino)? {
            Place::Listing => Err(errno.into()),
            Place::Node(node) => Ok(node),
        }
    }

    fn ino(&self, index: usize, node: NodeId) -> LayerResult<INodeNo> {
        match self.layers.get(index) {
            Some((_, layer)) if self.root == Some(index) && layer.root() == node => Ok(INodeNo::ROOT),
            _ => ids::pack(index, node),
        }
    }

    fn node_attributes(&self, index: usize, node: NodeId) -> LayerResult<FileAttr> {
        let (_, layer) = self.layers.get(index).ok_or(Errno::STALE)?;
        Ok(file_attr(self.ino(index, node)?, &layer.attributes(node)?))
    }

    /// Returns the metadata of `ino`.
    ///
    /// # Errors
    /// `ESTALE`, or the layer's error.
    pub(super) fn attributes(&self, ino: INodeNo) -> LayerResult<FileAttr> {
        match self.place(ino)? {
            Place::Listing => Ok(self.listing_attributes(ino)),
            Place::Node(Node { index, node, .. }) => self.node_attributes(index, node),
        }
    }

    /// Returns the answer that means "this name does not exist", which the kernel remembers: inode 0.
    pub(super) fn nothing(&self) -> FileAttr {
        self.listing_attributes(INodeNo(0))
    }

    fn listing_attributes(&self, ino: INodeNo) -> FileAttr {
        let attributes = Attributes {
            kind: FileKind::Directory,
            permissions: 0o755,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            modified: Timestamp::default(),
            links: 2_u32.saturating_add(u32::try_from(self.layers.len()).unwrap_or(u32::MAX)),
            device: (0, 0),
        };
        file_attr(ino, &attributes)
    }

    /// Finds `name` in the directory `parent`.
    ///
    /// # Errors
    /// `ESTALE`, or the layer's error.
    pub(super) fn find(&self, parent: INodeNo, name: &OsStr) -> LayerResult<Option<FileAttr>> {
        let found = match self.place(parent)? {
            Place::Listing => {
                let mut layers = self.layers.iter().enumerate();
                let found = layers.find(|(_, (own, _))| name == own.as_str());
                found.map(|(index, (_, layer))| (index, layer.root()))
            }
            Place::Node(Node { index, layer, node }) => layer.lookup(node, name)?.map(|found| (index, found)),
        };
        found.map(|(index, node)| self.node_attributes(index, node)).transpose()
    }

    /// Calls `add` for the entries behind `offset` until it returns `false`.
    ///
    /// # Errors
    /// `ESTALE`, those of `add`, or the layer's error.
    pub(super) fn list(&self, ino: INodeNo, offset: u64, add: &mut AddEntry<'_>) -> LayerResult<()> {
        let place = self.place(ino)?;
        for (next, name) in dots_behind(offset) {
            if !add(ino, next, FileKind::Directory, name)? {
                return Ok(());
            }
        }
        let after = offset.saturating_sub(DOT_ENTRIES);
        match place {
            Place::Listing => self.list_layers(after, add),
            Place::Node(node) => self.list_entries(node, after, add),
        }
    }

    fn list_layers(&self, after: u64, add: &mut AddEntry<'_>) -> LayerResult<()> {
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        for (index, (name, layer)) in self.layers.iter().enumerate().skip(skipped) {
            let next = index as u64 + 1 + DOT_ENTRIES;
            let root = self.ino(index, layer.root())?;
            if !add(root, next, FileKind::Directory, OsStr::new(name))? {
                break;
            }
        }
        Ok(())
    }

    fn list_entries(&self, directory: Node<'_>, after: u64, add: &mut AddEntry<'_>) -> LayerResult<()> {
        let Node { index, layer, node } = directory;
        let mut failure = None;
        layer.entries(node, after, &mut |entry| {
            let next = entry.cookie.saturating_add(DOT_ENTRIES);
            let ino = self.ino(index, entry.node);
            let added = ino.and_then(|ino| add(ino, next, entry.kind, entry.name));
            added.unwrap_or_else(|error| {
                failure = Some(error);
                false
            })
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Returns the value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` if it is absent, `ESTALE`, or the layer's error.
    pub(super) fn xattr(&self, ino: INodeNo, name: &OsStr) -> LayerResult<Vec<u8>> {
        let Node { layer, node, .. } = self.node(ino, Errno::NODATA)?;
        layer.xattr(node, name)?.ok_or_else(|| Errno::NODATA.into())
    }

    /// Returns the names of all extended attributes in the form of listxattr(2).
    ///
    /// # Errors
    /// `ESTALE`, or the layer's error.
    pub(super) fn xattr_names(&self, ino: INodeNo) -> LayerResult<Vec<u8>> {
        let names = match self.place(ino)? {
            Place::Listing => Vec::new(),
            Place::Node(Node { layer, node, .. }) => layer.xattr_names(node)?,
        };
        Ok(joined(&names))
    }
}
