//! Several uppers, one above the other, seen as one tree: the upper that shows each name, and the directories that
//! merge (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories", "redirect_dir").

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::xattr;
use crate::durable::PathError;

/// A directory of one of the uppers.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The number of the upper; 0 is the topmost.
    layer: usize,
    path: PathBuf,
}

/// The entry that the uppers show at a path.
#[derive(Debug)]
pub(super) struct Shown {
    /// The path of the entry in the topmost upper that has one.
    pub path: PathBuf,
    /// Its metadata.
    pub metadata: Metadata,
    /// The directories that merge to this one, the topmost first; empty for other files.
    pub parts: Vec<Part>,
    /// Whether nothing of the base merges with it.
    pub is_closed: bool,
    /// The path in the base of the directory that merges with it, if not the same path.
    pub origin: Option<PathBuf>,
}

/// The uppers, the topmost first.
pub(super) struct Stack<'a>(pub &'a [PathBuf]);

impl Stack<'_> {
    /// Returns the root directory that the uppers show.
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

    /// Returns the entries of the directory `shown` at `path` of the tree, by name; `None` stands for a hidden entry.
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

    /// Merges `candidates`, the entries of one name at `path`, the topmost first; returns `None` if the name is hidden.
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

    /// Adds the directory `part` to those that merge at `path`.
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

    /// Adds to `merged` the directories at `origin` of the uppers from number `first` on.
    fn add_moved(&self, merged: &mut Shown, origin: &Path, first: usize) -> Result<(), PathError> {
        for (layer, root) in self.0.iter().enumerate().skip(first) {
            let mut at = root.clone();
            let mut is_there = true;
            for name in origin.iter().skip(1) {
                at.push(name);
                let metadata = match fs::symlink_metadata(&at) {
                    Ok(metadata) => metadata,
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                        is_there = false;
                        break;
                    }
                    Err(error) => return Err(PathError::on("look at", &at)(error)),
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

/// Says whether the entry is a whiteout: a character device 0:0, or an empty file with the mark of one.
fn is_whiteout(path: &Path, metadata: &Metadata) -> Result<bool, PathError> {
    if metadata.file_type().is_char_device() {
        return Ok(metadata.rdev() == 0);
    }
    Ok(metadata.is_file() && metadata.len() == 0 && xattr::overlay(path, "whiteout")?.is_some())
}
