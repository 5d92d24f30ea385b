//! Paths in a tree, resolved within it: no symbolic link leads outside.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use crate::overlay::layer::{Errno, FileKind, Layer, LayerError, LayerResult, NodeId};

/// The most symbolic links on the way, as Linux has it.
const LINKS_MAX: usize = 40;
/// The largest file that [`read`] reads, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Finds the node at `path`, from the root of `layer`; a symbolic link at its end is followed if `follows`.
///
/// # Errors
/// As the system calls say it: `ENOENT`, `ENOTDIR`, `ELOOP`; and those of the layer.
pub fn find(layer: &dyn Layer, path: &Path, follows: bool) -> LayerResult<NodeId> {
    let mut open: VecDeque<OsString> = names(path).collect();
    let mut above: Vec<NodeId> = Vec::new();
    let (mut at, mut links) = (layer.root(), 0);
    while let Some(name) = open.pop_front() {
        if name == ".." {
            at = above.pop().unwrap_or_else(|| layer.root());
            continue;
        }
        let found = layer.lookup(at, &name)?;
        let found = found.ok_or_else(|| missing(path))?;
        let is_link = layer.attributes(found)?.kind == FileKind::Symlink;
        if !is_link || (open.is_empty() && !follows) {
            above.push(at);
            at = found;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        let target = layer.read_link(found)?;
        let target = Path::new(OsStr::from_bytes(&target));
        if target.is_absolute() {
            (at, above) = (layer.root(), Vec::new());
        }
        for name in names(target).collect::<Vec<_>>().into_iter().rev() {
            open.push_front(name);
        }
    }
    Ok(at)
}

/// Returns the names of a path, and its `..`.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn missing(path: &Path) -> LayerError {
    LayerError::new(Errno::NOENT, format!("there is no {} in the image", path.display()))
}

/// Returns whether `error` of [`find`] means that there is no such file, rather than that it cannot be read.
pub fn is_absence(error: &LayerError) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].contains(&error.errno)
}

/// Reads the regular file at `path`, at most [`FILE_BYTES_MAX`]; `None` if there is none.
///
/// # Errors
/// Those of the layer; `EFBIG` for a larger file.
pub fn read(layer: &dyn Layer, path: &Path) -> LayerResult<Option<Vec<u8>>> {
    let node = match find(layer, path, true) {
        Ok(node) => node,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let attributes = layer.attributes(node)?;
    if attributes.kind != FileKind::Regular {
        return Ok(None);
    }
    if attributes.size_bytes > FILE_BYTES_MAX {
        return Err(LayerError::new(
            Errno::FBIG,
            format!("{} is larger than 256 MiB", path.display()),
        ));
    }
    let mut content = vec![0; attributes.size_bytes as usize];
    let read = layer.read_at(node, 0, &mut content)?;
    content.truncate(read);
    Ok(Some(content))
}
