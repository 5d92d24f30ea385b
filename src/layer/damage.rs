//! Checks every byte of a tree that was sealed.

use std::path::{Path, PathBuf};

use super::content_error::ContentError;
use super::scan;
use super::{Manifest, Sums, SumsError};
use crate::cancel::Cancel;

/// Damage to a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The problem in words, to follow the tree's name.
    pub problem: String,
    /// The files in it whose bytes were changed, by path below it; empty if the damage is not in the bytes of a file.
    pub files: Vec<PathBuf>,
}

impl Damage {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            files: Vec::new(),
        }
    }

    /// Returns the damaged files in words; `None` if no file is known.
    pub fn names(&self) -> Option<String> {
        let first = self.files.first()?.display();
        Some(match self.files.len() {
            1 => first.to_string(),
            count => format!("{first} and {} more files", count - 1),
        })
    }
}

/// Checks all of `tree` against its `manifest`, and against the checksums in the file `sums`. Returns the damage, or
/// `None`.
///
/// # Errors
/// If `cancel` is set. An unreadable entry counts as damage.
pub fn damage(tree: &Path, manifest: &Manifest, sums: &Path, cancel: &Cancel) -> Result<Option<Damage>, ContentError> {
    let expected = match Sums::read(sums) {
        Ok(expected) => expected,
        Err(error @ SumsError::Damaged) => return Ok(Some(Damage::new(format!("{error} ({})", name(sums))))),
        Err(SumsError::Path(error)) => return Ok(Some(Damage::new(error.to_string()))),
    };
    let is_right = match scan::content(tree, cancel) {
        Ok((content, _)) => content == manifest.content,
        Err(ContentError::Path(_)) => false,
        Err(error) => return Err(error),
    };
    if is_right {
        return Ok(None);
    }
    let problem = "its content is not what it was when it was made";
    Ok(Some(Damage {
        files: scan::damaged_files(tree, &expected, cancel)?,
        ..Damage::new(problem)
    }))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
