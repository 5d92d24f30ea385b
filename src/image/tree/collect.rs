//! The walk through the merged tree.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::holes::data_ranges;
use super::{Content, FileContent, Index, Node, Tree, TreeError};
use crate::durable;
use crate::overlay::layer::{Attributes, Errno, FileKind, LayerError, LayerResult, NodeId};
use crate::overlay::{Access, Ino, Listed, Overlay, Stat};
use crate::package::Sha256;
use crate::parallel;
use crate::sync::{Condvar, Mutex, lock, wait};

/// Collects the tree below the directory `path` (absolute, without links) of `overlay`, which is read-only. The
/// directories `excluded` (absolute) are empty in it. Directories are read on `threads` threads.
///
/// # Errors
/// [`TreeError`], naming the file.
pub fn collect(overlay: &Overlay, path: &Path, excluded: &[PathBuf], threads: usize) -> Result<Tree, TreeError> {
    let scanner = Scanner { overlay, excluded };
    let (root, first) = scanner.root(path)?;
    let mut scanned = scan(&scanner, first, threads)?;
    let mut assembly = Assembly {
        nodes: vec![Node {
            content: Content::Directory(Vec::new()),
            attributes: attributes(&root.stat),
            xattrs: root.xattrs,
            parent: 0,
            name: OsString::new(),
        }],
        links: HashMap::new(),
    };
    let mut pending = vec![(0, path.to_owned())];
    while let Some((index, path)) = pending.pop() {
        let found = scanned.remove(&path).unwrap_or_default();
        let below = assembly.directory(index, &path, found);
        pending.extend(below.into_iter().rev());
    }
    Ok(Tree {
        layers: overlay.layers().to_vec(),
        nodes: assembly.nodes,
    })
}

/// A directory whose names are still to be read.
struct Pending {
    ino: Ino,
    path: PathBuf,
    /// The file of this path in the bottom layer, if that has one.
    base: Option<NodeId>,
}

/// A name and the metadata of its file that an image needs.
struct Scanned {
    name: OsString,
    stat: Stat,
    xattrs: Vec<(OsString, Vec<u8>)>,
    content: Content,
}

/// Directories by path, with their names in order.
type Directories = HashMap<PathBuf, Vec<Scanned>>;

/// Reads `first` and all directories below it on `threads` threads.
fn scan(scanner: &Scanner<'_>, first: Pending, threads: usize) -> Result<Directories, TreeError> {
    let queue = Queue {
        state: Mutex::new(Backlog {
            waiting: vec![first],
            busy: 0,
            failed: false,
        }),
        changed: Condvar::new(),
    };
    let work = || -> Result<Directories, TreeError> {
        let mut directories = Directories::new();
        while let Some(directory) = queue.take() {
            match scanner.directory(&directory) {
                Ok((found, below)) => {
                    queue.done(below, false);
                    directories.insert(directory.path, found);
                }
                Err(error) => {
                    queue.done(Vec::new(), true);
                    return Err(error);
                }
            }
        }
        Ok(directories)
    };
    let parts: Result<Vec<_>, _> = parallel::run(threads.clamp(1, 16), work).into_iter().collect();
    Ok(parts?.into_iter().flatten().collect())
}

/// Directories that wait for a thread.
struct Queue {
    state: Mutex<Backlog>,
    changed: Condvar,
}

struct Backlog {
    waiting: Vec<Pending>,
    /// Number of threads at work, which may find more directories.
    busy: usize,
    failed: bool,
}

impl Queue {
    /// Waits for the next directory and returns it; `None` when all are done, or a thread has failed.
    fn take(&self) -> Option<Pending> {
        let mut state = lock(&self.state);
        loop {
            if state.failed {
                return None;
            }
            if let Some(directory) = state.waiting.pop() {
                state.busy += 1;
                return Some(directory);
            }
            if state.busy == 0 {
                return None;
            }
            state = wait(&self.changed, state);
        }
    }

    fn done(&self, below: Vec<Pending>, has_failed: bool) {
        let mut state = lock(&self.state);
        state.busy -= 1;
        state.failed |= has_failed;
        state.waiting.extend(below);
        self.changed.notify_all();
    }
}

/// A tree that is being put together, in the order of paths.
struct Assembly {
    nodes: Vec<Node>,
    /// Nodes with several names.
    links: HashMap<Ino, Index>,
}

impl Assembly {
    /// Adds the names `found` of the directory `index`; returns the directories among them, with their paths.
    fn directory(&mut self, index: Index, path: &Path, found: Vec<Scanned>) -> Vec<(Index, PathBuf)> {
        let mut names = Vec::with_capacity(found.len());
        let mut below = Vec::new();
        for scanned in found {
            let Scanned { name, stat, .. } = &scanned;
            let known = self.links.get(&stat.ino).copied();
            if let Some((known, node)) = known.and_then(|known| Some((known, self.nodes.get_mut(known)?))) {
                node.attributes.links += 1;
                names.push((scanned.name, known));
                continue;
            }
            let child = self.nodes.len();
            names.push((name.clone(), child));
            match stat.kind {
                FileKind::Directory => below.push((child, path.join(name))),
                _ if stat.links > 1 => drop(self.links.insert(stat.ino, child)),
                _ => {}
            }
            self.nodes.push(Node {
                attributes: attributes(stat),
                xattrs: scanned.xattrs,
                content: scanned.content,
                parent: index,
                name: scanned.name,
            });
        }
        if let Some(node) = self.nodes.get_mut(index) {
            node.attributes.links = u32::try_from(below.len()).unwrap_or(u32::MAX).saturating_add(2);
            node.content = Content::Directory(names);
        }
        below
    }
}

/// A reader of directories of the overlay.
struct Scanner<'a> {
    overlay: &'a Overlay,
    excluded: &'a [PathBuf],
}

impl Scanner<'_> {
    fn root(&self, path: &Path) -> Result<(Scanned, Pending), TreeError> {
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
        let scanned = self.scanned(OsString::new(), stat, None).map_err(TreeError::on(path))?;
        let path = path.to_owned();
        Ok((scanned, Pending { ino, path, base }))
    }

    /// Reads a directory and returns its entries, sorted, and the directories among them.
    fn directory(&self, directory: &Pending) -> Result<(Vec<Scanned>, Vec<Pending>), TreeError> {
        let mut names: Vec<OsString> = Vec::new();
        if !self.excluded.contains(&directory.path) {
            let mut take = |listed: Listed<'_>| {
                names.push(listed.name.to_owned());
                true
            };
            self.overlay
                .read_dir(directory.ino, 0, &mut take)
                .map_err(TreeError::on(&directory.path))?;
        }
        names.sort_unstable();
        let (mut found, mut below) = (Vec::with_capacity(names.len()), Vec::new());
        for name in names {
            let path = directory.path.join(&name);
            let (scanned, base) = self.name(directory, name).map_err(TreeError::on(&path))?;
            let ino = scanned.stat.ino;
            match scanned.stat.kind {
                FileKind::Directory => below.push(Pending { ino, path, base }),
                _ => self.overlay.forget(ino, 1),
            }
            found.push(scanned);
        }
        Ok((found, below))
    }

    fn name(&self, directory: &Pending, name: OsString) -> LayerResult<(Scanned, Option<NodeId>)> {
        let stat = self.overlay.lookup(directory.ino, &name)?.ok_or(Errno::STALE)?;
        let base = self.base_child(directory.base, &name)?;
        Ok((self.scanned(name, stat, base)?, base))
    }

    fn scanned(&self, name: OsString, stat: Stat, base: Option<NodeId>) -> LayerResult<Scanned> {
        let mut xattrs = Vec::new();
        let names = self.overlay.xattr_names(stat.ino)?;
        for name in names.into_iter().filter(|name| durable::is_of_image(name.as_bytes())) {
            if let Some(value) = self.overlay.xattr(stat.ino, &name)? {
                xattrs.push((name, value));
            }
        }
        xattrs.sort_unstable();
        let content = match stat.kind {
            FileKind::Directory => Content::Directory(Vec::new()),
            FileKind::Symlink => Content::Link(self.overlay.read_link(stat.ino, Access::Noted)?),
            FileKind::Regular => Content::File(self.file(&stat, base)?),
            _ => Content::None,
        };
        Ok(Scanned {
            name,
            stat,
            xattrs,
            content,
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

    /// Returns the digest of the file `base` of the bottom layer, if `content` has the same bytes.
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

    /// Returns the node `name` of the bottom layer in its directory `base`; `None` if it does not exist.
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

/// Computes the SHA-256 of a file of `layer`.
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
