//! One layer as a tree of changes: what it hides of the layers below is an empty file with a marked name (OCI Image Format
//! Specification, "Image Layer Filesystem Changeset", "Whiteouts").

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Content, FileContent, Index, Node, Tree, TreeError};
use crate::durable;
use crate::overlay::layer::{Attributes, Errno, FileKind, Layer, LayerError, LayerResult, NodeId};

/// The start of the name of a file that hides the file of the rest of the name.
const HIDES: &[u8] = b".wh.";
/// The name of a file that hides everything that the layers below have in its directory.
const HIDES_ALL: &str = ".wh..wh..opq";
/// The mark of a directory that does so (kernel, `overlayfs.rst`).
const OPAQUE: &str = "trusted.overlay.opaque";
/// The mark of a directory whose other part has another name in the layers below.
const REDIRECT: &str = "trusted.overlay.redirect";

/// Collects the changes of `layer` against the layers below it.
///
/// # Errors
/// [`TreeError`], naming the file; for one, if a renamed directory or a name cannot be written as a change.
pub fn collect_changes(layer: &Arc<dyn Layer>) -> Result<Tree, TreeError> {
    let mut walk = Walk {
        layer: &**layer,
        nodes: Vec::new(),
        links: HashMap::new(),
    };
    let root = walk.node(layer.root(), 0, OsString::new());
    walk.nodes.push(root.map_err(TreeError::on("/"))?);
    let mut pending = vec![(0, layer.root(), PathBuf::from("/"))];
    while let Some((index, node, path)) = pending.pop() {
        let below = walk.directory(index, node, &path)?;
        pending.extend(below.into_iter().rev());
    }
    Ok(Tree {
        layers: vec![Arc::clone(layer)],
        nodes: walk.nodes,
    })
}

struct Walk<'a> {
    layer: &'a dyn Layer,
    nodes: Vec<Node>,
    /// Files that may have several names.
    links: HashMap<NodeId, Index>,
}

impl Walk<'_> {
    /// Adds the names of a directory; returns the directories among them, with their paths.
    fn directory(
        &mut self,
        index: Index,
        directory: NodeId,
        path: &Path,
    ) -> Result<Vec<(Index, NodeId, PathBuf)>, TreeError> {
        let mut entries: Vec<(OsString, NodeId)> = Vec::new();
        let mut take = |entry: crate::overlay::layer::Entry<'_>| {
            entries.push((entry.name.to_owned(), entry.node));
            true
        };
        self.layer
            .entries(directory, 0, &mut take)
            .map_err(TreeError::on(path))?;
        let (mut names, mut below) = (Vec::with_capacity(entries.len()), Vec::new());
        let hides_below = self.hides_below(directory).map_err(TreeError::on(path))?;
        if hides_below {
            names.push((OsString::from(HIDES_ALL), self.hiding(index, HIDES_ALL.into())));
        }
        for (name, node) in entries {
            let at = path.join(&name);
            let (name, child) = self.name((name, node), index).map_err(TreeError::on(&at))?;
            if self.nodes.get(child).map(|node| node.attributes.kind) == Some(FileKind::Directory) {
                below.push((child, node, at));
            }
            names.push((name, child));
        }
        names.sort_unstable();
        below.sort_unstable_by(|a, b| a.2.cmp(&b.2));
        if let Some(node) = self.nodes.get_mut(index) {
            node.attributes.links = u32::try_from(below.len()).unwrap_or(u32::MAX).saturating_add(2);
            node.content = Content::Directory(names);
        }
        Ok(below)
    }

    /// Says whether a directory hides those of its name below it.
    fn hides_below(&self, directory: NodeId) -> LayerResult<bool> {
        if self.layer.xattr(directory, REDIRECT.as_ref())?.is_some() {
            return Err(LayerError::new(
                Errno::XDEV,
                "a step has renamed this directory, which a layer of a container cannot say",
            ));
        }
        Ok(self.layer.xattr(directory, OPAQUE.as_ref())?.as_deref() == Some(b"y"))
    }

    /// Adds a name of the directory `parent`; returns it as an archive has it, with its file.
    fn name(&mut self, (name, node): (OsString, NodeId), parent: Index) -> LayerResult<(OsString, Index)> {
        if name.as_bytes().starts_with(HIDES) {
            let message = "its name would hide another file in a container";
            return Err(LayerError::new(Errno::INVAL, message));
        }
        let attributes = self.layer.attributes(node)?;
        if attributes.kind == FileKind::CharDevice && attributes.device == (0, 0) {
            let hiding = OsStr::from_bytes(&[HIDES, name.as_bytes()].concat()).to_owned();
            return Ok((hiding.clone(), self.hiding(parent, hiding)));
        }
        if let Some(known) = self.links.get(&node).copied() {
            if let Some(node) = self.nodes.get_mut(known) {
                node.attributes.links += 1;
            }
            return Ok((name, known));
        }
        let index = self.nodes.len();
        let made = self.node(node, parent, name.clone())?;
        if made.attributes.kind != FileKind::Directory {
            self.links.insert(node, index);
        }
        self.nodes.push(made);
        Ok((name, index))
    }

    /// Adds an empty file that hides others.
    fn hiding(&mut self, parent: Index, name: OsString) -> Index {
        let empty = Node::empty_directory();
        self.nodes.push(Node {
            attributes: Attributes {
                kind: FileKind::Regular,
                permissions: 0,
                links: 1,
                ..empty.attributes
            },
            content: Content::None,
            parent,
            name,
            ..empty
        });
        self.nodes.len() - 1
    }

    /// Reads the metadata of a file.
    fn node(&self, node: NodeId, parent: Index, name: OsString) -> LayerResult<Node> {
        let attributes = self.layer.attributes(node)?;
        let mut xattrs = Vec::new();
        let names = self.layer.xattr_names(node)?;
        for name in names.into_iter().filter(|name| durable::is_of_image(name.as_bytes())) {
            if let Some(value) = self.layer.xattr(node, &name)? {
                xattrs.push((name, value));
            }
        }
        xattrs.sort_unstable();
        let content = match attributes.kind {
            FileKind::Directory => Content::Directory(Vec::new()),
            FileKind::Symlink => Content::Link(self.layer.read_link(node)?),
            FileKind::Regular => Content::File(FileContent {
                layer: 0,
                node,
                digest: None,
                data: None,
            }),
            _ => Content::None,
        };
        Ok(Node {
            attributes: Attributes { links: 1, ..attributes },
            xattrs,
            content,
            parent,
            name,
        })
    }
}
