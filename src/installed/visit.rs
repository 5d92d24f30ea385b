//! All files of a tree, with their metadata.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::overlay::layer::{Attributes, FileKind, Layer, LayerError, LayerResult, NodeId};
use crate::parallel;

/// The deepest directory that is looked at.
const DEPTH_MAX: usize = 256;
/// The most files of a tree.
const FILES_MAX: usize = 20_000_000;
/// Directories whose contents belong to a running system.
const RUNNING: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// A file of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its path from the tree's root.
    pub path: PathBuf,
    /// Its node.
    pub node: NodeId,
    /// Its metadata.
    pub attributes: Attributes,
}

/// The files of a tree.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The files but the root, sorted by path.
    pub files: Vec<Seen>,
    /// Directories and files that cannot be read, with the cause.
    pub damaged: Vec<(PathBuf, LayerError)>,
}

/// Lists the files of `layer` on `threads` threads; those of a running system are left out.
pub fn list(layer: &dyn Layer, threads: usize) -> Listing {
    let mut listing = Listing::default();
    let mut level = vec![(PathBuf::from("/"), layer.root())];
    let mut depth = 0;
    while !level.is_empty() && depth < DEPTH_MAX && listing.files.len() < FILES_MAX {
        let paths: Vec<PathBuf> = level.iter().map(|(path, _)| path.clone()).collect();
        let read = parallel::map(threads, level, |(path, node)| directory(layer, &path, node));
        level = Vec::new();
        for (path, read) in paths.into_iter().zip(read) {
            let (files, damaged) = match read {
                Ok(read) => read,
                Err(error) => {
                    listing.damaged.push((path, error));
                    continue;
                }
            };
            let below = files.iter().filter(|file| file.attributes.kind == FileKind::Directory);
            let is_shown = |path: &Path| !RUNNING.iter().any(|running| path == Path::new(running));
            level.extend(
                below
                    .filter(|file| is_shown(&file.path))
                    .map(|file| (file.path.clone(), file.node)),
            );
            listing.files.extend(files);
            listing.damaged.extend(damaged);
        }
        depth += 1;
    }
    listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    listing
}

/// The files of a directory, and those of them that cannot be read.
type Read = (Vec<Seen>, Vec<(PathBuf, LayerError)>);

fn directory(layer: &dyn Layer, path: &Path, node: NodeId) -> LayerResult<Read> {
    let mut names: Vec<(OsString, NodeId)> = Vec::new();
    layer.entries(node, 0, &mut |entry| {
        names.push((entry.name.to_owned(), entry.node));
        true
    })?;
    let (mut files, mut damaged) = (Vec::with_capacity(names.len()), Vec::new());
    for (name, node) in names {
        let path = path.join(name);
        match layer.attributes(node) {
            Ok(attributes) => files.push(Seen { path, node, attributes }),
            Err(error) => damaged.push((path, error)),
        }
    }
    Ok((files, damaged))
}

/// Reads the regular file `file` piece by piece, of at most `buffer`'s length, and calls `each` with them.
///
/// # Errors
/// Those of the layer.
pub fn read(layer: &dyn Layer, file: NodeId, buffer: &mut [u8], each: &mut dyn FnMut(&[u8])) -> LayerResult<()> {
    let mut offset = 0;
    loop {
        let count = layer.read_at(file, offset, buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Ok(());
        }
        each(piece);
        offset += count as u64;
    }
}
