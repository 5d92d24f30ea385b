//! The files and directories that go onto a FAT file system.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::name;
use crate::image::content::{LayerFile, Source};
use crate::image::file_system::FileSystemError;
use crate::image::tree;

/// The greatest depth of a directory; it bounds the recursion.
const DEEPEST: usize = 64;

/// A tree of files, sorted by name. Names that differ in case alone are the same name.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    /// The root directory.
    pub(super) root: Directory,
}

/// Entries by folded name.
pub(super) type Directory = BTreeMap<String, Entry>;

/// A named file or directory.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its name as given.
    pub(super) name: String,
    /// Its contents.
    pub(super) node: Node,
}

/// The contents of an entry.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Source),
    Directory(Directory),
}

impl Tree {
    /// Puts a file at `path`, replacing a file there; missing directories above it are made.
    ///
    /// # Errors
    /// [`FileSystemError::Unstorable`] if FAT cannot hold such a name, size or path.
    pub(super) fn add_file(&mut self, path: &Path, source: Source) -> Result<(), FileSystemError> {
        if source.size_bytes() > u64::from(u32::MAX) {
            return Err(unstorable(path, "it is larger than 4 GiB"));
        }
        let (Some(parent), Some(file_name)) = (path.parent(), path.file_name()) else {
            return Err(unstorable(path, "it has no name"));
        };
        let file_name = checked_name(path, file_name)?;
        let directory = self.directory(parent)?;
        match directory.get_mut(&name::folded(file_name)) {
            Some(Entry {
                node: Node::Directory(_),
                ..
            }) => return Err(unstorable(path, "a directory is in its place")),
            Some(entry) => entry.node = Node::File(source),
            None => insert(directory, file_name, Node::File(source)),
        }
        Ok(())
    }

    /// Makes the directory `path` and those above it, unless they exist.
    ///
    /// # Errors
    /// As [`Self::add_file`].
    pub(super) fn add_directory(&mut self, path: &Path) -> Result<(), FileSystemError> {
        self.directory(path).map(drop)
    }

    /// Adds everything that `tree` has.
    ///
    /// # Errors
    /// As [`Self::add_file`], also for links and special files.
    pub(super) fn add_tree(&mut self, tree: &tree::Tree) -> Result<(), FileSystemError> {
        self.add_below(tree, 0, &mut PathBuf::new())
    }

    fn add_below(&mut self, tree: &tree::Tree, at: tree::Index, path: &mut PathBuf) -> Result<(), FileSystemError> {
        let nodes = tree.nodes();
        let Some(tree::Content::Directory(names)) = nodes.get(at).map(|node| &node.content) else {
            return Ok(());
        };
        for (name, index) in names {
            path.push(name);
            match nodes
                .get(*index)
                .map(|node| (&node.content, node.attributes.size_bytes))
            {
                Some((tree::Content::Directory(_), _)) => {
                    self.add_directory(path)?;
                    self.add_below(tree, *index, path)?;
                }
                Some((tree::Content::File(content), size_bytes)) => {
                    let source = Source::File(LayerFile {
                        layer: Arc::clone(tree.layer_of(content)),
                        node: content.node,
                        path: path.clone(),
                        size_bytes,
                    });
                    self.add_file(path, source)?;
                }
                _ => return Err(unstorable(path, "it is a link or a special file")),
            }
            path.pop();
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path) -> Result<&mut Directory, FileSystemError> {
        let path = path.strip_prefix("/").unwrap_or(path);
        if path.components().count() > DEEPEST {
            return Err(unstorable(path, "it lies too deep"));
        }
        let mut directory = &mut self.root;
        for part in path {
            let part = checked_name(path, part)?;
            let key = name::folded(part);
            if !directory.contains_key(&key) {
                insert(directory, part, Node::Directory(Directory::new()));
            }
            match directory.get_mut(&key) {
                Some(Entry {
                    node: Node::Directory(inner),
                    ..
                }) => directory = inner,
                _ => return Err(unstorable(path, "a file is in its place")),
            }
        }
        Ok(directory)
    }
}

fn insert(directory: &mut Directory, name: &str, node: Node) {
    let entry = Entry {
        name: name.to_owned(),
        node,
    };
    directory.insert(name::folded(name), entry);
}

fn checked_name<'a>(path: &Path, name: &'a OsStr) -> Result<&'a str, FileSystemError> {
    let text = name.to_str().ok_or_else(|| unstorable(path, "its name is not UTF-8"))?;
    match name::complaint(text) {
        Some(reason) => Err(unstorable(path, reason)),
        None => Ok(text),
    }
}

fn unstorable(path: &Path, reason: &str) -> FileSystemError {
    FileSystemError::Unstorable {
        path: Path::new("/").join(path),
        reason: reason.to_owned(),
    }
}
