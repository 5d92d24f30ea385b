//! Goes through the merged tree.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::holes::data_ranges;
use super::{Content, FileContent, Index, Node, Tree, TreeError};
use crate::overlay::layer::{Attributes, Errno, FileKind, LayerError, LayerResult, NodeId};
use crate::overlay::{Ino, Overlay, Stat};
use crate::package::Sha256;

/// The tree that `overlay`, which is read-only, has below its directory `path` (absolute, without links). The
/// directories `excluded` (absolute) are empty in it.
///
/// # Errors
/// [`TreeError`], naming the file.
pub fn collect(overlay: &Overlay, path: &Path, excluded: &[PathBuf]) -> Result<Tree, TreeError> {
    let mut collector = Collector {
        overlay,
        excluded,
        nodes: Vec::new(),
        links: HashMap::new(),
        pending: Vec::new(),
    };
    collector.root(path)?;
    while let Some(directory) = collector.pending.pop() {
        collector.directory(directory)?;
    }
    Ok(Tree {
        layers: overlay.layers().to_vec(),
        nodes: collector.nodes,
    })
}

/// A directory whose names are still to be read.
struct Pending {
    index: Index,
    ino: Ino,
    path: PathBuf,
    /// The directory of this path in the bottom layer, if that has one.
    base: Option<NodeId>,
}

struct Collector<'a> {
    overlay: &'a Overlay,
    excluded: &'a [PathBuf],
    nodes: Vec<Node>,
    /// Nodes with several names.
    links: HashMap<Ino, Index>,
    pending: Vec<Pending>,
}

impl Collector<'_> {
    fn root(&mut self, path: &Path) -> Result<(), TreeError> {
        let mut ino = Ino::ROOT;
        let mut stat = self.overlay.getattr(ino).map_err(TreeError::on(path))?;
        let bottom = self.overlay.layers().last();
        let mut base = bottom.map(|layer| layer.root());
        for name in path.strip_prefix("/").unwrap_or(path) {
            let found = self.overlay.lookup(ino, name).map_err(TreeError::on(path))?;
            stat = found.ok_or_else(|| TreeError::on(path)(Errno::NOENT.into()))?;
            base = self.base_child(base, name).map_err(TreeError::on(path))?;
            ino = stat.ino;
        }
        if stat.kind != FileKind::Directory {
            return Err(TreeError::on(path)(Errno::NOTDIR.into()));
        }
        let node = self
            .node(&stat, 0, OsString::new(), None)
            .map_err(TreeError::on(path))?;
        self.nodes.push(node);
        self.pending.push(Pending {
            index: 0,
            ino,
            path: path.to_owned(),
            base,
        });
        Ok(())
    }

    fn directory(&mut self, directory: Pending) -> Result<(), TreeError> {
        let Pending { index, ino, path, base } = directory;
        let mut found: Vec<(OsString, Stat)> = Vec::new();
        if !self.excluded.contains(&path) || index == 0 {
            let mut take = |listed: crate::overlay::Listed<'_>, stat: &Stat| {
                found.push((listed.name.to_owned(), *stat));
                true
            };
            self.overlay
                .read_dir_plus(ino, 0, &mut take)
                .map_err(TreeError::on(&path))?;
        }
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut names = Vec::with_capacity(found.len());
        let mut below = Vec::new();
        for (name, stat) in found {
            let at = || path.join(&name);
            let known = self.links.get(&stat.ino).copied();
            let child = match known.and_then(|known| Some((known, self.nodes.get_mut(known)?))) {
                Some((known, node)) => {
                    node.attributes.links += 1;
                    known
                }
                None => {
                    let base = self
                        .base_child(base, &name)
                        .map_err(|error| TreeError::on(at())(error))?;
                    let node = self
                        .node(&stat, index, name.clone(), base)
                        .map_err(|error| TreeError::on(at())(error))?;
                    let child = self.nodes.len();
                    self.nodes.push(node);
                    match stat.kind {
                        FileKind::Directory => below.push(Pending {
                            index: child,
                            ino: stat.ino,
                            path: at(),
                            base,
                        }),
                        _ if stat.links > 1 => drop(self.links.insert(stat.ino, child)),
                        _ => self.overlay.forget(stat.ino, 1),
                    }
                    child
                }
            };
            names.push((name, child));
        }
        self.finish_directory(index, names, below.len());
        self.pending.extend(below.into_iter().rev());
        Ok(())
    }

    fn finish_directory(&mut self, index: Index, names: Vec<(OsString, Index)>, directories: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.attributes.links = u32::try_from(directories).unwrap_or(u32::MAX).saturating_add(2);
            node.content = Content::Directory(names);
        }
    }

    fn node(&self, stat: &Stat, parent: Index, name: OsString, base: Option<NodeId>) -> LayerResult<Node> {
        let mut xattrs = Vec::new();
        for name in self.overlay.xattr_names(stat.ino)? {
            if let Some(value) = self.overlay.xattr(stat.ino, &name)? {
                xattrs.push((name, value));
            }
        }
        xattrs.sort_unstable();
        let content = match stat.kind {
            FileKind::Directory => Content::Directory(Vec::new()),
            FileKind::Symlink => Content::Link(self.overlay.read_link(stat.ino)?),
            FileKind::Regular => Content::File(self.file(stat, base)?),
            _ => Content::None,
        };
        Ok(Node {
            attributes: attributes(stat),
            xattrs,
            content,
            parent,
            name,
        })
    }

    fn file(&self, stat: &Stat, base: Option<NodeId>) -> LayerResult<FileContent> {
        let (layer, node) = self.overlay.origin(stat.ino)?;
        let bottom = self.overlay.layers().len() - 1;
        let mut content = FileContent {
            layer,
            node,
            digest: self.overlay.layers()[layer].digest(node)?,
            data: None,
        };
        if content.digest.is_some() {
            return Ok(content);
        }
        if let Some(base) = base.filter(|_| layer != bottom)
            && let Some(digest) = self.unchanged(stat, &content, base)?
        {
            return Ok(FileContent {
                layer: bottom,
                node: base,
                digest: Some(digest),
                data: None,
            });
        }
        content.data = data_ranges(&*self.overlay.layers()[layer], node, stat.size_bytes)?;
        Ok(content)
    }

    /// The digest of the file `base` of the bottom layer, if `content` has the same bytes.
    fn unchanged(&self, stat: &Stat, content: &FileContent, base: NodeId) -> LayerResult<Option<Sha256>> {
        let Some(bottom) = self.overlay.layers().last() else {
            return Ok(None);
        };
        let attributes = bottom.attributes(base)?;
        if attributes.kind != FileKind::Regular || attributes.size_bytes != stat.size_bytes {
            return Ok(None);
        }
        let Some(expected) = bottom.digest(base)? else {
            return Ok(None);
        };
        let layer = &*self.overlay.layers()[content.layer];
        Ok((digest(layer, content.node, stat.size_bytes)? == expected).then_some(expected))
    }

    /// What the bottom layer has as `name` in its directory `base`.
    fn base_child(&self, base: Option<NodeId>, name: &OsStr) -> LayerResult<Option<NodeId>> {
        let (Some(directory), Some(bottom)) = (base, self.overlay.layers().last()) else {
            return Ok(None);
        };
        match bottom.attributes(directory)?.kind {
            FileKind::Directory => bottom.lookup(directory, name),
            _ => Ok(None),
        }
    }
}

fn attributes(stat: &Stat) -> Attributes {
    Attributes {
        kind: stat.kind,
        permissions: stat.permissions,
        uid: stat.uid,
        gid: stat.gid,
        size_bytes: stat.size_bytes,
        modified: stat.modified,
        // Counted as names are met.
        links: 1,
        device: stat.device,
    }
}

/// The SHA-256 of a file of `layer`.
fn digest(layer: &dyn crate::overlay::layer::Layer, node: NodeId, size_bytes: u64) -> LayerResult<Sha256> {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; size_bytes.clamp(1, 1 << 20) as usize];
    let mut offset = 0;
    while offset < size_bytes {
        let length = layer.read_at(node, offset, &mut buffer)?;
        if length == 0 {
            return Err(LayerError::new(Errno::IO, "the file has become shorter"));
        }
        hasher.update(&buffer[..length]);
        offset += length as u64;
    }
    Ok(Sha256(hasher.finalize().into()))
}
