//! The files of provider data: those that are compiled in, overlaid with a directory.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data;
use crate::durable;
use crate::yaml::{Finding, Findings, Source, read_source};

/// The largest accepted key file, in bytes.
const MAX_KEY_BYTES: u64 = 4 << 20;
const PROVIDERS: &str = "providers";
const DESCRIPTION: &str = "provider.yml";

/// The two places of provider data: the embedded files and an overlay.
#[derive(Debug)]
pub(super) struct Files {
    overlay: Option<PathBuf>,
}

impl Files {
    /// Makes the lookup, in which `overlay` comes first.
    pub fn new(overlay: Option<&Path>) -> Self {
        Self {
            overlay: overlay.map(Path::to_owned),
        }
    }

    /// Returns the location of `path` in the overlay, whether or not it exists.
    pub fn overlaid(&self, path: &str) -> Option<PathBuf> {
        self.overlay.as_ref().map(|overlay| overlay.join(path))
    }

    /// Returns the directories that have a description, as `providers/OS/DIST`, sorted.
    ///
    /// # Errors
    /// If the overlay cannot be listed.
    pub fn directories(&self) -> Result<BTreeSet<String>, Findings> {
        let own = data::names(PROVIDERS).filter_map(|name| name.strip_suffix("/provider.yml"));
        let mut directories: BTreeSet<String> = own.map(str::to_owned).collect();
        let Some(root) = self.overlaid(PROVIDERS).filter(|root| root.is_dir()) else {
            return Ok(directories);
        };
        for (os, path) in subdirectories(&root)? {
            for (dist, path) in subdirectories(&path)? {
                if is_there(&path.join(DESCRIPTION))? {
                    directories.insert(format!("{PROVIDERS}/{os}/{dist}"));
                }
            }
        }
        Ok(directories)
    }

    /// Returns the text of a YAML file.
    ///
    /// # Errors
    /// If the file does not exist or cannot be read.
    pub fn text(&self, path: &str) -> Result<Arc<Source>, Findings> {
        if let Some(overlaid) = self.overlaid(path)
            && is_there(&overlaid)?
        {
            return read_source(&overlaid);
        }
        let fail = |message: &str| Findings::from(Finding::without_position(path, "", message));
        let bytes = data::file(path).ok_or_else(|| fail("there is no such file, neither of yours nor of oic's own"))?;
        let text = std::str::from_utf8(bytes).map_err(|_| fail("is not UTF-8"))?;
        Ok(Source::new(format!("oic:{path}"), text))
    }

    /// Returns the key file `name`.
    ///
    /// # Errors
    /// The cause in words.
    pub fn key(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = format!("keys/{name}");
        match self.overlaid(&path).filter(|file| file.exists()) {
            Some(overlaid) => read_key(&overlaid),
            None => data::file(&path)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| format!("there is no key file {name}")),
        }
    }
}

/// Returns the subdirectories of `parent` whose names a template can have, with their paths.
fn subdirectories(parent: &Path) -> Result<Vec<(String, PathBuf)>, Findings> {
    let fail = |error: std::io::Error| Findings::from(Finding::without_position(parent, "", error.to_string()));
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|_| path.is_dir())
        {
            found.push((name.to_owned(), path));
        }
    }
    Ok(found)
}

/// Returns whether a file of any type exists at `path`.
fn is_there(path: &Path) -> Result<bool, Findings> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(Finding::without_position(path, "", format!("cannot be looked at: {error}")).into()),
    }
}

/// Reads a key file of the host.
///
/// # Errors
/// The cause in words.
pub(super) fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    let file = durable::open_regular(path).map_err(|error| error.to_string())?;
    durable::read_at_most(file, MAX_KEY_BYTES).map_err(|error| error.to_string())
}
