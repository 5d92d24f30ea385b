//! What to do about a full disk: which setting moves the directory that lies on it.

use std::path::{Path, PathBuf};

use super::GlobalOptions;
use super::environment::Environment;
use super::error::CommandError;
use crate::durable::FullDisk;
use crate::hint::{Hint, Means};

/// Replaces the hints of an error whose cause is a full disk by the setting that moves what lies there.
pub(super) fn advise(error: CommandError, global: &GlobalOptions) -> CommandError {
    let Some(full) = error.full_disk() else { return error };
    match Environment::read(global, None) {
        Ok(environment) => {
            let hint = hint(full, &environment);
            error.instead(hint)
        }
        Err(_) => error,
    }
}

/// Names the setting of the directory on the file system `full`.
fn hint(full: &FullDisk, environment: &Environment) -> Hint {
    let places = [
        (environment.cache_dir(), "package cache", Means::CacheDir),
        (environment.work_dir(), "work directory", Means::WorkDir),
        (
            environment.temp_dir(),
            "directory for short-lived files",
            Means::TempDir,
        ),
    ];
    let mut of_it: Vec<_> = places
        .into_iter()
        .filter_map(|(directory, name, means)| Some((depth(&directory, full)?, name, means)))
        .collect();
    of_it.sort_by_key(|(depth, ..)| std::cmp::Reverse(*depth));
    match of_it.first() {
        Some((_, name, means @ Means::TempDir)) => {
            Hint::new(format!("free some space there, or choose another {name}")).by(*means)
        }
        Some((_, name, means)) => Hint::new(format!("free some space there, or choose another {name}"))
            .by(Means::CollectGarbage)
            .by(*means),
        None => "free some space there, or name a file elsewhere".into(),
    }
}

/// Returns how deep `directory` lies, if the full directory is in it or would be.
fn depth(directory: &Path, full: &FullDisk) -> Option<usize> {
    let (directory, full) = (real(directory), real(&full.directory));
    let is_in_it = full.starts_with(&directory);
    // A directory that could not be made: the nearest one that exists is full.
    let would_be = !directory.exists() && directory.ancestors().find(|above| above.exists()) == Some(&full);
    (is_in_it || would_be).then(|| directory.components().count())
}

/// Resolves the links of `path`, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|above| {
        let real = above.canonicalize().ok()?;
        Some(real.join(path.strip_prefix(above).ok()?))
    });
    existing.unwrap_or_else(|| path.to_owned())
}
