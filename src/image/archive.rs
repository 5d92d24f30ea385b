//! Archives of a tree: everything gets a place before anything is written, then the contents go from the layers to their
//! places, as in a file system. The archive is not compressed; `image::artifacts` does that.
//!
//! The order is that of a walk: a directory before what is in it, names by their bytes. Files with several names follow
//! each other.

mod acl;
mod cpio;
mod draft;
mod pax;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::canvas::Canvas;
use super::earlier::Earlier;
use super::error::ImageError;
use super::file_system::FileSystemError;
use super::labels::FileContexts;
use super::merged::Merged;
use super::raw::{self, RawSummary};
use super::region::Region;
use super::stream::{self, Contents};
use super::tree::{self, Index, Tree};
use crate::durable::PathError;
use crate::overlay::layer::Layer;
use crate::progress::Unit;
use crate::work::Work;

use draft::Draft;

/// The most files that a warning names.
const NAMED_MAX: usize = 5;

/// A format of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The new ASCII format of cpio, which the kernel unpacks as an initrd.
    Cpio,
    /// The interchange format of POSIX, a tar archive.
    Tar,
}

/// The inputs of an archive.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The installed tree.
    pub merged: &'a Merged,
    /// The format.
    pub format: Format,
    /// Identifies the archive among others.
    pub uuid: Uuid,
    /// The latest time in the archive, in seconds since 1970, UTC.
    pub epoch_seconds: u64,
}

/// Writes the archive `target`; it gets its name when it is complete. With an `earlier` archive of the same size only the
/// differences are written; the resulting bytes are the same. Returns also what the format cannot hold, in words.
///
/// # Errors
/// [`ImageError`]; `target` is then as it was before.
pub fn write(
    target: &Path,
    inputs: Inputs<'_>,
    earlier: Option<Earlier>,
    work: Work<'_>,
) -> Result<(RawSummary, Vec<String>), ImageError> {
    let (tree, draft) = lay_out(inputs, work)?;
    let size = (draft.size_bytes(), inputs.uuid);
    let fill = |canvas: &Canvas<'_>| fill(canvas, &tree, &draft, work);
    let summary = raw::draw((target, size), earlier, work, fill)?;
    Ok((summary, lost(draft.lost())))
}

/// Writes the changes of `layer` against the layers below it as a tar archive to the empty `file`, whose path is `path`;
/// returns its size in bytes.
///
/// # Errors
/// [`ImageError`]; for one, if an archive cannot hold a file.
pub(super) fn write_changes(
    file: &File,
    path: &Path,
    layer: &Arc<dyn Layer>,
    work: Work<'_>,
) -> Result<u64, ImageError> {
    let lay_out = || -> Result<_, FileSystemError> {
        let tree = tree::collect_changes(layer)?;
        // The times of a layer are settled, and do not depend on the image.
        let draft = pax::lay_out(&tree, u64::MAX)?;
        Ok((tree, draft))
    };
    let (tree, draft) = lay_out().map_err(ImageError::Archive)?;
    file.set_len(draft.size_bytes())
        .map_err(PathError::on("set the size of", path))?;
    fill(&Canvas::new(file, path, None), &tree, &draft, work)?;
    Ok(draft.size_bytes())
}

/// Puts everything of `draft`, an archive of `tree`, in its place.
fn fill(canvas: &Canvas<'_>, tree: &Tree, draft: &Draft, work: Work<'_>) -> Result<(), ImageError> {
    let _task = work.start("Write archive", Unit::Bytes, Some(draft.size_bytes()));
    let region = Region::new(canvas, 0, draft.size_bytes());
    for (place, bytes) in draft.heads() {
        region.put(*place, bytes)?;
    }
    let contents = Contents {
        tree,
        pieces: draft.pieces(),
        block_bytes: draft.block_bytes(),
    };
    let written = stream::write(region, contents, work).map_err(FileSystemError::from);
    written.map_err(ImageError::Archive)
}

/// Reads the tree and gives everything its place.
fn lay_out(inputs: Inputs<'_>, work: Work<'_>) -> Result<(Tree, Draft), ImageError> {
    let collect = || -> Result<_, FileSystemError> {
        let overlay = inputs.merged.overlay();
        let mut tree = tree::collect(overlay, Path::new("/"), &[], work.threads)?;
        let draft = match inputs.format {
            Format::Cpio => cpio::lay_out(&tree, inputs.epoch_seconds)?,
            Format::Tar => {
                if let Some(labels) = FileContexts::of(inputs.merged)? {
                    tree.label(&labels, Path::new("/"))?;
                }
                pax::lay_out(&tree, inputs.epoch_seconds)?
            }
        };
        Ok((tree, draft))
    };
    collect().map_err(ImageError::Archive)
}

/// A name of a file, in the order of an archive.
struct Named {
    file: Index,
    /// The path from the tree's root; empty for the root itself.
    path: PathBuf,
}

/// Lists all names of `tree`: a directory stands before what is in it, and names are ordered by their bytes.
fn names(tree: &Tree) -> Vec<Named> {
    let (mut names, mut pending) = (Vec::new(), vec![(0, PathBuf::new())]);
    while let Some((file, path)) = pending.pop() {
        if let Some(tree::Content::Directory(entries)) = tree.nodes().get(file).map(|node| &node.content) {
            let below = entries.iter().rev().map(|(name, child)| (*child, path.join(name)));
            pending.extend(below);
        }
        names.push(Named { file, path });
    }
    names
}

/// Words what an archive does not have: one line for each kind of loss, which names the first files.
fn lost(lost: &[(&'static str, PathBuf)]) -> Vec<String> {
    let mut kinds: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for (what, path) in lost {
        kinds.entry(what).or_default().push(path);
    }
    let line = |(what, paths): (&str, Vec<&Path>)| {
        let mut line = format!(
            "{what} of {} files are not in the image, for its format has none:",
            paths.len()
        );
        for path in paths.iter().take(NAMED_MAX) {
            // Writing to a String cannot fail.
            let _ = write!(line, " /{}", path.display());
        }
        if paths.len() > NAMED_MAX {
            line.push_str(" …");
        }
        line
    };
    kinds.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests;
