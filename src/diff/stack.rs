//! Several uppers, one above the other, seen as one: which of them shows a name, and which directories merge
//! (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories", "redirect_dir").

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::xattr;
use crate::durable::PathError;

/// A directory of one of the uppers.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The number of the upper, the topmost is 0.
    layer: usize,
    path: PathBuf,
}

/// What the uppers show at a path.
#[derive(Debug)]
pub(super) struct Shown {
    /// The entry of the topmost upper that has one.
    pub path: PathBuf,
    /// Its metadata.
    pub metadata: Metadata,
    /// Of a directory: those that merge, the topmost first.
    pub parts: Vec<Part>,
    /// Nothing of the base merges with it.
    pub is_closed: bool,
    /// Where the base has the directory that merges with it, if not at the same path.
    pub origin: Option<PathBuf>,
}

/// The uppers, the topmost first.
pub(super) struct Stack<'a>(pub &'a [PathBuf]);

impl Stack<'_> {
    /// The root directory.
    pub fn root(&self) -> Result<Shown, PathError> {
        let parts = self.0.iter().enumerate().map(|(layer, path)| Part {
            layer,
            path: path.clone(),
        });
        let top = self.0.first().cloned().unwrap_or_default();
        Ok(Shown {
            metadata: look(&top)?,
            path: top,
            parts: parts.collect(),
            is_closed: false,
            origin: None,
        })
    }

    /// What is in the directory `shown` at `path` of the tree, by name; `None` for what is hidden.
    pub fn entries(&self, path: &Path, shown: &Shown) -> Result<BTreeMap<OsString, Option<Shown>>, PathError> {
        let mut found: BTreeMap<OsString, Vec<Part>> = BTreeMap::new();
        for part in &shown.parts {
            for entry in fs::read_dir(&part.path).map_err(PathError::on("read", &part.path))? {
                let entry = entry.map_err(PathError::on("read", &part.path))?;
                found.entry(entry.file_name()).or_default().push(Part {
                    layer: part.layer,
                    path: entry.path(),
                });
            }
        }
        let shown = |(name, candidates): (OsString, Vec<Part>)| {
            let shown = self.merge(&path.join(&name), candidates)?;
            Ok((name, shown))
        };
        found.into_iter().map(shown).collect()
    }

    /// What the entries of one name, the topmost first, show together.
    fn merge(&self, path: &Path, candidates: Vec<Part>) -> Result<Option<Shown>, PathError> {
        let mut shown: Option<Shown> = None;
        for part in candidates {
            let metadata = look(&part.path)?;
            let hides = is_whiteout(&part.path, &metadata)?;
            let Some(merged) = &mut shown else {
                if hides {
                    return Ok(None);
                }
                let is_directory = metadata.is_dir();
                shown = Some(Shown {
                    path: part.path.clone(),
                    metadata,
                    parts: Vec::new(),
                    is_closed: !is_directory,
                    origin: None,
                });
                if let Some(merged) = shown.as_mut().filter(|_| is_directory) {
                    self.add(path, merged, part)?;
                }
                continue;
            };
            if merged.is_closed || merged.origin.is_some() {
                break;
            }
            if hides || !metadata.is_dir() {
                merged.is_closed = true;
                break;
            }
            self.add(path, merged, part)?;
        }
        Ok(shown)
    }

    /// Adds a directory to those that merge at `path`.
    fn add(&self, path: &Path, merged: &mut Shown, part: Part) -> Result<(), PathError> {
        let redirect = xattr::overlay(&part.path, "redirect")?;
        merged.is_closed = xattr::overlay(&part.path, "opaque")?.is_some_and(|value| value == b"y");
        let next = part.layer + 1;
        merged.parts.push(part);
        if let Some(target) = redirect {
            // An absolute path, or a name beside it.
            let origin = path.parent().unwrap_or(path).join(OsStr::from_bytes(&target));
            self.add_moved(merged, &origin, next)?;
            merged.origin = Some(origin);
        }
        Ok(())
    }

    /// Adds the directories that the uppers from number `first` on have at `origin`.
    fn add_moved(&self, merged: &mut Shown, origin: &Path, first: usize) -> Result<(), PathError> {
        for (layer, root) in self.0.iter().enumerate().skip(first) {
            let mut at = root.clone();
            let mut is_there = true;
            for name in origin.iter().skip(1) {
                at.push(name);
                let Ok(metadata) = fs::symlink_metadata(&at) else {
                    is_there = false;
                    break;
                };
                let closed = xattr::overlay(&at, "opaque")?.is_some_and(|value| value == b"y");
                merged.is_closed |= closed || !metadata.is_dir();
                if !metadata.is_dir() {
                    return Ok(());
                }
            }
            if is_there {
                merged.parts.push(Part { layer, path: at });
            }
            if merged.is_closed {
                break;
            }
        }
        Ok(())
    }
}

fn look(path: &Path) -> Result<Metadata, PathError> {
    fs::symlink_metadata(path).map_err(PathError::on("look at", path))
}

/// A character device 0:0, or an empty file that is marked.
fn is_whiteout(path: &Path, metadata: &Metadata) -> Result<bool, PathError> {
    if metadata.file_type().is_char_device() {
        return Ok(metadata.rdev() == 0);
    }
    Ok(metadata.is_file() && metadata.len() == 0 && xattr::overlay(path, "whiteout")?.is_some())
}
