//! What builds of one call have in common.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::package::{Arch, ForeignArch, Sha256};
use crate::repo::Repository;
use crate::sync::{Mutex, lock};
use crate::system::{Catalogue, Heads};

/// The verified roots of all repositories' metadata, and the indexes below them that were loaded so far.
#[derive(Debug)]
pub struct Metadata {
    /// The repositories, each with the base URL where it was found.
    pub repositories: Vec<Repository>,
    /// Their roots.
    pub heads: Box<dyn Heads>,
    /// All records, once they are loaded.
    pub catalogue: Mutex<Option<Arc<dyn Catalogue>>>,
}

/// What builds of one call have in common. Builds that have the same repositories verify and load them once.
#[derive(Debug)]
pub struct Shared {
    metadata: Mutex<Vec<(Identity, Slot)>>,
    /// The bases that these builds have made: where, and their keys.
    bases: Mutex<Vec<(PathBuf, Sha256)>>,
    /// Number of builds that may still ask.
    builds: AtomicUsize,
}

/// What must be the same for two builds to share metadata.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider's id.
    pub provider: String,
    /// Where metadata is kept.
    pub cache: PathBuf,
    /// The architecture of the packages.
    pub arch: Arch,
    /// Further architectures whose packages are wanted.
    pub foreign: Vec<ForeignArch>,
    /// Whether only what is cached is used.
    pub offline: bool,
    /// The repositories as the caller asked for them.
    pub repositories: Vec<Repository>,
}

/// The place of the metadata; one build holds it while it verifies, and the others wait for the same.
pub type Slot = Arc<Mutex<Option<Arc<Metadata>>>>;

impl Shared {
    /// Prepares for `builds` builds.
    pub fn among(builds: usize) -> Self {
        Self {
            metadata: Mutex::default(),
            bases: Mutex::default(),
            builds: AtomicUsize::new(builds),
        }
    }

    /// Ends the part of one build, which will not ask again. After the last build all metadata is dropped: records take
    /// more than a hundred megabytes.
    pub fn done(&self) {
        if self.builds.fetch_sub(1, Ordering::AcqRel) == 1 {
            lock(&self.metadata).clear();
        }
    }

    /// Records that one of the builds has made the base `key` in `directory`.
    pub fn note_made(&self, directory: &Path, key: Sha256) {
        lock(&self.bases).push((directory.to_owned(), key));
    }

    /// Says whether one of the builds has made the base `key` in `directory`.
    pub fn has_made(&self, directory: &Path, key: Sha256) -> bool {
        lock(&self.bases)
            .iter()
            .any(|(place, made)| place == directory && *made == key)
    }

    /// Gives the place of the metadata of `identity`; it is empty until a build has verified it.
    pub fn slot(&self, identity: Identity) -> Slot {
        let mut all = lock(&self.metadata);
        if let Some((_, slot)) = all.iter().find(|(known, _)| *known == identity) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        all.push((identity, Arc::clone(&slot)));
        slot
    }
}
