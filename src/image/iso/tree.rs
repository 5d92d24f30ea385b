//! The files of a medium.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::identifier;
use crate::image::content::Source;
use crate::image::file_system::FileSystemError;
use crate::package::Sha256;

/// The most levels of directories, the root included (ECMA-119, 6.8.2.1).
const DEPTH_MAX: usize = 8;
/// The most bytes of a link's target.
const TARGET_MAX: usize = 1024;
/// The most directories: the path table numbers them with 16 bits.
const DIRECTORIES_MAX: usize = 65_535;

/// Files by their path from the top of the medium.
#[derive(Debug, Clone, Default)]
pub struct Medium {
    entries: BTreeMap<PathBuf, Entry>,
}

/// A file of any kind.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Link(Vec<u8>),
    /// A regular file, and the SHA-256 of its bytes if it is known.
    File(Source, Option<Sha256>),
    /// A regular file that can be executed.
    Program(Source),
    /// Another name of the regular file at this path.
    Same(PathBuf),
}

impl Entry {
    /// Makes a regular file.
    pub fn file(source: Source) -> Self {
        Self::File(source, None)
    }
}

impl Medium {
    /// Puts `entry` at `path`, in the place of what is there; the directories above it are made.
    pub fn add(&mut self, path: impl AsRef<Path>, entry: Entry) {
        let path = path.as_ref();
        let path = path.strip_prefix("/").unwrap_or(path);
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            self.entries.entry(above.to_owned()).or_insert(Entry::Directory);
        }
        self.entries.insert(path.to_owned(), entry);
    }
}

/// The same with all that is known without places: node 0 is the root.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// The contents of regular files, each once.
    pub(super) contents: Vec<Content>,
    /// The nodes of directories, in the order of the path table (ECMA-119, 6.9.1).
    pub(super) directories: Vec<usize>,
}

/// A name.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Vec<u8>,
    pub(super) identifier: Vec<u8>,
    pub(super) parent: usize,
    pub(super) kind: Kind,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Kind {
    /// The number of a directory, from 0 in the order of the path table, and its entries in the order of their identifiers.
    Directory(usize, Vec<usize>),
    Link(Vec<u8>),
    /// The index of contents.
    File(usize),
}

/// A regular file.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) path: PathBuf,
    pub(super) source: Source,
    pub(super) digest: Option<Sha256>,
    pub(super) permissions: u32,
    /// The number of its names.
    pub(super) links: u32,
}

impl Tree {
    /// Checks `medium`, and orders it.
    ///
    /// # Errors
    /// [`FileSystemError::Unstorable`].
    pub(super) fn new(medium: &Medium) -> Result<Self, FileSystemError> {
        let mut tree = Self {
            nodes: vec![Node {
                name: Vec::new(),
                identifier: vec![0],
                parent: 0,
                kind: Kind::Directory(0, Vec::new()),
            }],
            contents: Vec::new(),
            directories: Vec::new(),
        };
        let files = medium.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(source, digest) => Some((path, source, *digest, 0o444)),
            Entry::Program(source) => Some((path, source, None, 0o555)),
            _ => None,
        });
        let mut indices = HashMap::new();
        for (path, source, digest, permissions) in files {
            indices.insert(path.as_path(), tree.contents.len());
            tree.contents.push(Content {
                path: path.clone(),
                source: source.clone(),
                digest,
                permissions,
                links: 0,
            });
        }
        let mut nodes = HashMap::from([(Path::new(""), 0)]);
        // A directory stands before what is in it.
        for (path, entry) in &medium.entries {
            let index = tree.nodes.len();
            tree.add(path, entry, (&indices, &nodes))?;
            nodes.insert(path, index);
        }
        tree.identify();
        tree.number();
        match tree.directories.len() <= DIRECTORIES_MAX {
            true => Ok(tree),
            false => Err(unstorable(Path::new("/"), "a medium has at most 65535 directories")),
        }
    }

    /// Adds a name.
    fn add(
        &mut self,
        path: &Path,
        entry: &Entry,
        (contents, nodes): (&HashMap<&Path, usize>, &HashMap<&Path, usize>),
    ) -> Result<(), FileSystemError> {
        let refuse = |reason: &str| Err(unstorable(path, reason));
        let (Some(parent), Some(name)) = (path.parent().and_then(|parent| nodes.get(parent)), path.file_name()) else {
            return refuse("it has no name");
        };
        if path.components().count() > DEPTH_MAX - usize::from(matches!(entry, Entry::Directory)) {
            return refuse("it lies more than eight directories deep");
        }
        let kind = match entry {
            Entry::Directory => Kind::Directory(0, Vec::new()),
            Entry::Link(target) if target.is_empty() || target.len() > TARGET_MAX => {
                return refuse("the target of a link has 1 to 1024 bytes");
            }
            Entry::Link(target) => Kind::Link(target.clone()),
            Entry::File(..) | Entry::Program(_) | Entry::Same(_) => {
                let of = match entry {
                    Entry::Same(other) => other.strip_prefix("/").unwrap_or(other),
                    _ => path,
                };
                let Some(index) = contents.get(of).copied() else {
                    return refuse("it is another name of a file that is not there");
                };
                if let Some(content) = self.contents.get_mut(index) {
                    content.links += 1;
                }
                Kind::File(index)
            }
        };
        let index = self.nodes.len();
        match self.nodes.get_mut(*parent).map(|node| &mut node.kind) {
            Some(Kind::Directory(_, children)) => children.push(index),
            _ => return refuse("what it lies in is no directory"),
        }
        self.nodes.push(Node {
            name: name.as_bytes().to_owned(),
            identifier: Vec::new(),
            parent: *parent,
            kind,
        });
        Ok(())
    }

    /// Gives all nodes their identifiers, and orders directories by them.
    fn identify(&mut self) {
        for directory in 0..self.nodes.len() {
            let Some(Kind::Directory(_, children)) = self.nodes.get(directory).map(|node| &node.kind) else {
                continue;
            };
            let mut children = children.clone();
            let named = children.iter().filter_map(|child| self.nodes.get(*child));
            let named = named.map(|node| (node.name.as_slice(), matches!(node.kind, Kind::Directory(..))));
            let made = identifier::identifiers(named);
            for (child, made) in children.iter().zip(made) {
                if let Some(node) = self.nodes.get_mut(*child) {
                    node.identifier = made;
                }
            }
            let order = |child: &usize| self.nodes.get(*child).map(|node| identifier::order(&node.identifier));
            children.sort_by(|a, b| order(a).cmp(&order(b)));
            if let Some(node) = self.nodes.get_mut(directory) {
                node.kind = Kind::Directory(0, children);
            }
        }
    }

    /// Numbers the directories level by level, in each level by the order of parents, then of identifiers.
    fn number(&mut self) {
        let mut order = vec![0];
        let mut next = 0;
        while let Some(directory) = order.get(next).copied() {
            if let Some(Kind::Directory(number, children)) = self.nodes.get_mut(directory).map(|node| &mut node.kind) {
                *number = next;
                order.extend(children.iter().copied());
            }
            next += 1;
            // Only directories stay in the list.
            while order.get(next).is_some_and(|node| self.number_of(*node).is_none()) {
                order.remove(next);
            }
        }
        self.directories = order;
    }

    /// Returns the number of a directory; `None` of anything else.
    pub(super) fn number_of(&self, node: usize) -> Option<usize> {
        match self.nodes.get(node)?.kind {
            Kind::Directory(number, _) => Some(number),
            _ => None,
        }
    }

    /// Returns the contents of the file at `path`.
    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        let path = path.strip_prefix("/").unwrap_or(path);
        self.contents.iter().position(|content| content.path == path)
    }
}

fn unstorable(path: &Path, reason: &str) -> FileSystemError {
    FileSystemError::Unstorable {
        path: Path::new("/").join(path),
        reason: reason.to_owned(),
    }
}
