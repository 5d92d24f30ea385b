//! The input of a partition: the merged tree below one directory, with all metadata and no content.
//!
//! It is read from the overlay itself, without a mount. A node refers to the bytes of its file, which are read once,
//! when they are written. A tree does not depend on the layers that it is merged of: a file that was copied up and
//! still has the base's bytes counts as the base's.

mod changes;
mod collect;
mod holes;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::labels::{self, FileContexts, LabelError};
use crate::overlay::layer::{Attributes, Errno, FileKind, Layer, LayerError, NodeId};
use crate::package::Sha256;

pub use changes::collect_changes;
pub use collect::collect;
pub(super) use holes::{UNIT_BYTES as HOLE_UNIT_BYTES, is_zero};

/// The index of a file in its tree; 0 is the root directory.
pub type Index = usize;

/// A tree. Hard links of one file share a node.
#[derive(Debug)]
pub struct Tree {
    /// The layers with the contents.
    layers: Vec<Arc<dyn Layer>>,
    nodes: Vec<Node>,
}

/// A file of any kind.
#[derive(Debug)]
pub struct Node {
    /// Its metadata. `links` counts the names that it has in this tree.
    pub attributes: Attributes,
    /// Names and values of its extended attributes, sorted by name.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// Its contents.
    pub content: Content,
    /// The directory of its first name.
    parent: Index,
    name: OsString,
}

/// The contents of a node.
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

/// The source of a regular file's bytes.
#[derive(Debug, Clone)]
pub struct FileContent {
    layer: usize,
    /// The node in that layer.
    pub node: NodeId,
    /// The SHA-256 of the bytes, if it is known without reading them.
    pub digest: Option<Sha256>,
    /// Start and end in bytes of the parts that are not holes, in order; `None` if all of it is data.
    pub data: Option<Vec<(u64, u64)>>,
}

/// The error of reading a tree.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {} of the image: {source}", path.display())]
pub struct TreeError {
    /// The file, from the image's root.
    pub path: PathBuf,
    /// The cause.
    pub source: LayerError,
}

impl TreeError {
    fn on(path: impl Into<PathBuf>) -> impl FnOnce(LayerError) -> Self {
        let path = path.into();
        move |source| Self { path, source }
    }
}

impl Tree {
    /// Returns all nodes, at the places that [`Index`] counts. A directory stands before its contents.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the path of a node (the first one, if it has several names) from the tree's root.
    pub fn path_of(&self, index: Index) -> PathBuf {
        let mut names = Vec::new();
        let mut at = index;
        while let Some(node) = self.nodes.get(at).filter(|_| at != 0) {
            names.push(node.name.as_os_str());
            at = node.parent;
        }
        Path::new("/").join(names.into_iter().rev().collect::<PathBuf>())
    }

    /// Returns the layer that has the bytes of a file.
    pub fn layer_of(&self, content: &FileContent) -> &Arc<dyn Layer> {
        // `collect` takes the number from the same overlay as the layers.
        &self.layers[content.layer]
    }

    /// Sets the SELinux label of every node to that of the policy `contexts`, or removes it; `at` is the path of the
    /// tree's root in the image.
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

    /// Puts `other`, a tree of the same overlay, at the directory `at`. That directory gets the attributes of the root
    /// of `other`; it is made if it does not exist, and so are those above it.
    ///
    /// # Errors
    /// [`TreeError`] if there is something else at `at`, or a file above it.
    pub fn graft(&mut self, at: &Path, other: Self) -> Result<(), TreeError> {
        let place = self.directory(at)?;
        let Some(there) = self.nodes.get_mut(place).filter(|node| node.is_empty_directory()) else {
            let taken = LayerError::new(Errno::EXIST, "something else is there already");
            return Err(TreeError::on(at)(taken));
        };
        let (parent, name) = (there.parent, std::mem::take(&mut there.name));
        let shift = self.nodes.len() - 1;
        let moved = |index: Index| if index == 0 { place } else { index + shift };
        let mut nodes = other.nodes.into_iter().map(|mut node| {
            node.parent = moved(node.parent);
            if let Content::Directory(names) = &mut node.content {
                names.iter_mut().for_each(|(_, child)| *child = moved(*child));
            }
            node
        });
        if let (Some(there), Some(root)) = (self.nodes.get_mut(place), nodes.next()) {
            *there = Node { parent, name, ..root };
        }
        self.nodes.extend(nodes);
        if self.layers.is_empty() {
            self.layers = other.layers;
        }
        Ok(())
    }

    /// Returns the directory `path`; makes it, and those above it, if it does not exist.
    fn directory(&mut self, path: &Path) -> Result<Index, TreeError> {
        let mut at = 0;
        for name in path.strip_prefix("/").unwrap_or(path) {
            let new = self.nodes.len();
            let not_a_directory = || TreeError::on(path)(Errno::NOTDIR.into());
            let node = self.nodes.get_mut(at).ok_or_else(not_a_directory)?;
            let Content::Directory(names) = &mut node.content else {
                return Err(not_a_directory());
            };
            match names.binary_search_by(|(known, _)| known.as_os_str().cmp(name)) {
                Ok(known) => at = names.get(known).map_or(0, |(_, index)| *index),
                Err(place) => {
                    names.insert(place, (name.to_owned(), new));
                    node.attributes.links += 1;
                    let made = Node {
                        parent: at,
                        name: name.to_owned(),
                        ..Node::empty_directory()
                    };
                    self.nodes.push(made);
                    at = new;
                }
            }
        }
        Ok(at)
    }

    /// Returns the root of the tree without anything in it.
    pub fn emptied(mut self) -> Self {
        self.nodes.truncate(1);
        for root in &mut self.nodes {
            root.content = Content::Directory(Vec::new());
            root.attributes.links = 2;
        }
        self
    }

    /// Makes a tree of one empty directory.
    pub fn empty() -> Self {
        Self {
            layers: Vec::new(),
            nodes: vec![Node::empty_directory()],
        }
    }
}

impl Node {
    /// Makes a directory of root's, without names and without a name.
    fn empty_directory() -> Self {
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
        Self {
            attributes,
            xattrs: Vec::new(),
            content: Content::Directory(Vec::new()),
            parent: 0,
            name: OsString::new(),
        }
    }

    fn is_empty_directory(&self) -> bool {
        matches!(&self.content, Content::Directory(names) if names.is_empty())
    }
}

#[cfg(test)]
impl Tree {
    /// Sets the parts of a file that are not holes.
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
