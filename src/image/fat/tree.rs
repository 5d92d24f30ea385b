//! The files and directories that go onto a FAT file system.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::FatError;
use super::name;
use crate::image::content::Source;
use crate::image::merged::Merged;
use crate::overlay::layer::FileKind;

/// The greatest depth of a directory; it bounds the recursion.
const DEEPEST: usize = 64;

/// A tree of files, sorted by name. Names that differ in case alone are the same name.
#[derive(Debug, Clone, Default)]
pub struct Tree {
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
    /// [`FatError::Unstorable`] if FAT cannot hold such a name, size or path.
    pub fn add_file(&mut self, path: &Path, source: Source) -> Result<(), FatError> {
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
    pub fn add_directory(&mut self, path: &Path) -> Result<(), FatError> {
        self.directory(path).map(drop)
    }

    /// Adds everything below `path` of `root`.
    ///
    /// # Errors
    /// As [`Self::add_file`], also for links and special files, and if reading fails.
    pub fn add_tree(&mut self, root: &Merged, path: &Path) -> Result<(), FatError> {
        self.add_below(root, path, &mut PathBuf::new())
    }

    fn add_below(&mut self, root: &Merged, path: &Path, inner: &mut PathBuf) -> Result<(), FatError> {
        for (file_name, kind) in root.entries(&path.join(&*inner))? {
            inner.push(file_name);
            match kind {
                FileKind::Directory => {
                    self.add_directory(inner)?;
                    self.add_below(root, path, inner)?;
                }
                FileKind::Regular => self.add_file(inner, root.file(&path.join(&*inner))?)?,
                _ => return Err(unstorable(&path.join(&*inner), "it is a link or a special file")),
            }
            inner.pop();
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path) -> Result<&mut Directory, FatError> {
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

fn checked_name<'a>(path: &Path, name: &'a OsStr) -> Result<&'a str, FatError> {
    let text = name.to_str().ok_or_else(|| unstorable(path, "its name is not UTF-8"))?;
    match name::complaint(text) {
        Some(reason) => Err(unstorable(path, reason)),
        None => Ok(text),
    }
}

fn unstorable(path: &Path, reason: &'static str) -> FatError {
    FatError::Unstorable {
        path: path.to_owned(),
        reason,
    }
}
