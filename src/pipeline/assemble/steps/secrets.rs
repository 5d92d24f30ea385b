//! The private keys and identities that steps draw: those that all copies of the image would share are reported.

use std::collections::BTreeSet;
use std::path::Path;

use super::Steps;
use crate::image::merged::Merged;
use crate::layer::Secret;
use crate::pipeline::error::BuildError;
use crate::root::Root;
use crate::secrets::{self, Contents};

/// Finds the private keys and identities in `files`, which a step has written below the whole `image`: `installed` are
/// the contents of its packages, if it has installed some.
pub(super) fn find(files: &Root, image: &Path, installed: Option<&[Contents]>) -> Result<Vec<Secret>, BuildError> {
    let place = secrets::Place {
        upper: files,
        image: &Root::open(image)?,
        has_packages: installed.is_some(),
        contents: installed.unwrap_or_default(),
    };
    Ok(secrets::find(place)?)
}

impl Steps<'_> {
    /// Says which private keys and identities that the steps have drawn all copies of the image share, although the
    /// template does not allow it.
    pub(super) fn told_secrets(&self, merged: &Merged) -> Result<Vec<String>, BuildError> {
        let system = &self.context.loaded().template.system;
        let meant: BTreeSet<&str> = system.meant().collect();
        let is_meant = |secret: &&Secret| meant.contains(secret.path.as_str());
        let mut told = Vec::new();
        for secret in self.secrets.iter().filter(|secret| !is_meant(secret)) {
            if merged.has(Path::new(&secret.path))? {
                told.push(secret.to_string());
            }
        }
        Ok(told)
    }
}
