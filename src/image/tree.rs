//! What goes onto a partition: the merged tree below one directory, with all metadata and no content.
//!
//! It is read from the overlay itself, without a mount. Where a file's bytes are is kept beside it, so that they
//! are read when they are written, once. A tree is the same whatever layers it is merged of: a file that was
//! copied up and still has the bytes it has in the base counts as the base's.

mod collect;
mod holes;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::labels::{self, FileContexts, LabelError};
use crate::overlay::layer::{Attributes, FileKind, Layer, LayerError, NodeId};
use crate::package::Sha256;

pub use collect::collect;
pub(super) use holes::is_zero;

/// A file of the tree, by its place in it; 0 is the root directory.
pub type Index = usize;

/// A tree. Hard links of one file share a node.
#[derive(Debug)]
pub struct Tree {
    /// Where contents are.
    layers: Vec<Arc<dyn Layer>>,
    nodes: Vec<Node>,
}

/// A file, directory or anything else.
#[derive(Debug)]
pub struct Node {
    /// Its metadata. `links` counts the names that it has in this tree.
    pub attributes: Attributes,
    /// Names and values of its extended attributes, sorted by name.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// What is in it.
    pub content: Content,
    /// The directory of its first name.
    parent: Index,
    name: OsString,
}

/// What is in a node.
#[derive(Debug)]
pub enum Content {
    /// Nothing: a device, a FIFO, a socket.
    None,
    /// Names and what they name, sorted by their bytes.
    Directory(Vec<(OsString, Index)>),
    /// The target of a symbolic link.
    Link(Vec<u8>),
    /// The bytes of a regular file.
    File(FileContent),
}

/// Where a regular file's bytes are.
#[derive(Debug, Clone)]
pub struct FileContent {
    layer: usize,
    /// The node in that layer.
    pub node: NodeId,
    /// What is known of the bytes without reading them.
    pub digest: Option<Sha256>,
    /// The parts that are no holes, in bytes, in order. `None`: all of it.
    pub data: Option<Vec<(u64, u64)>>,
}

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {} of the image: {source}", path.display())]
pub struct TreeError {
    /// What, from the image's root.
    pub path: PathBuf,
    /// Why.
    pub source: LayerError,
}

impl TreeError {
    fn on(path: impl Into<PathBuf>) -> impl FnOnce(LayerError) -> Self {
        let path = path.into();
        move |source| Self { path, source }
    }
}

impl Tree {
    /// All nodes. A directory stands before what is in it; [`Index`] is the place here.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The path of a node (the first one, if it has several names) below the tree's root.
    pub fn path_of(&self, index: Index) -> PathBuf {
        let mut names = Vec::new();
        let mut at = index;
        while let Some(node) = self.nodes.get(at).filter(|_| at != 0) {
            names.push(node.name.as_os_str());
            at = node.parent;
        }
        Path::new("/").join(names.into_iter().rev().collect::<PathBuf>())
    }

    /// The layer that has the bytes of a file.
    pub fn layer_of(&self, content: &FileContent) -> &Arc<dyn Layer> {
        // `collect` takes the number from the same overlay as the layers.
        &self.layers[content.layer]
    }

    /// Gives every node the SELinux label that the policy says, and no other; `at` is the directory of the image that the
    /// tree's root is.
    ///
    /// # Errors
    /// As [`FileContexts::label`].
    pub fn label(&mut self, contexts: &FileContexts, at: &Path) -> Result<(), LabelError> {
        for index in 0..self.nodes.len() {
            let path = self.path_of(index);
            let path = at.join(path.strip_prefix("/").unwrap_or(&path));
            let Some(node) = self.nodes.get_mut(index) else { break };
            let path = path.as_os_str().as_bytes();
            // Joining nothing to a path leaves a slash at its end.
            let path = path.strip_suffix(b"/").filter(|path| !path.is_empty()).unwrap_or(path);
            let label = contexts.label(path, node.attributes.kind)?;
            node.xattrs.retain(|(name, _)| name != labels::ATTRIBUTE);
            if let Some(label) = label {
                // With its end, as setfilecon(3) stores it.
                let value = [label.as_bytes(), b"\0"].concat();
                node.xattrs.push((labels::ATTRIBUTE.into(), value));
                node.xattrs.sort_unstable();
            }
        }
        Ok(())
    }

    /// A tree of one empty directory.
    pub fn empty() -> Self {
        let attributes = Attributes {
            kind: FileKind::Directory,
            permissions: 0o755,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            modified: crate::overlay::layer::Timestamp::default(),
            links: 2,
            device: (0, 0),
        };
        let root = Node {
            attributes,
            xattrs: Vec::new(),
            content: Content::Directory(Vec::new()),
            parent: 0,
            name: OsString::new(),
        };
        Self {
            layers: Vec::new(),
            nodes: vec![root],
        }
    }
}

#[cfg(test)]
impl Tree {
    /// Says which parts of a file are no holes.
    pub(super) fn set_data(&mut self, file: Index, data: Vec<(u64, u64)>) {
        if let Content::File(content) = &mut self.nodes[file].content {
            content.data = Some(data);
        }
    }

    /// Adds an attribute, valid or not.
    pub(super) fn add_xattr(&mut self, node: Index, name: &str, value: &[u8]) {
        self.nodes[node].xattrs.push((name.into(), value.to_owned()));
    }
}

#[cfg(test)]
pub(super) mod tests;
