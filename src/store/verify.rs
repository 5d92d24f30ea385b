//! Verification: hashes all kept files, and names the bad ones.

mod kept;
mod metadata;
mod packages;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cancel::Cancel;
use crate::durable::{self, PathError};
use crate::layer::LayerStore;
use crate::package::Sha256;
use crate::snapshot::{Damaged, SnapshotPaths};
use crate::work::Work;

use super::inventory::{Provider, providers};
use super::places::{Room, What, each_room, entries, tops};
use super::usage::{InUse, Removal};
use super::{Store, StoreError};

/// The result of a verification.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    /// Number of package files with the digest on record.
    pub packages: u64,
    /// Number of repository indexes with the digest in their name.
    pub indexes: u64,
    /// Package files without a record; a build verifies them before it uses them.
    #[serde(serialize_with = "super::lossy_list")]
    pub unknown: Vec<PathBuf>,
    /// Files that oic has not made.
    #[serde(serialize_with = "super::lossy_list")]
    pub strange: Vec<PathBuf>,
    /// Number of sound snapshot members.
    pub members: u64,
    /// Number of step layers with the content that they were made with.
    pub layers: u64,
    /// Number of bytes read.
    pub bytes: u64,
    /// The bad files.
    pub bad: Vec<Bad>,
}

/// A bad file.
#[derive(Debug, Serialize)]
pub struct Bad {
    /// Provider id.
    pub provider: String,
    /// The file.
    #[serde(serialize_with = "super::lossy")]
    pub path: PathBuf,
    /// The problem, in words.
    pub problem: String,
    /// Some of the lost files in it.
    pub files: Vec<String>,
    /// Whether it was removed, with `repair`.
    pub repaired: bool,
    #[serde(skip)]
    repair: Repair,
}

/// The way to remove something, so that it is made again.
#[derive(Debug)]
enum Repair {
    /// Removal of these paths.
    Remove(Vec<PathBuf>),
    /// Removal as a step layer, with the layers that lie on it.
    Layer(Sha256),
    /// Removal as a part of the base.
    Snapshot(Damaged),
}

/// Verifies all providers, or `only`. With `repair`, bad files are removed; the next build that needs them makes or
/// fetches them again.
///
/// # Errors
/// [`StoreError::InUse`] if there is something to repair while a build runs; others if a file cannot be read.
pub fn verify(store: &Store, only: Option<&str>, repair: bool, work: Work<'_>) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    for provider in providers(store, only)? {
        // The lock prevents removals meanwhile; without the right to lock, the check is still useful.
        let waiting = |by: &str| work.progress.note(&format!("waiting for {by}"));
        let in_use = InUse::claim(&provider.workspace, work.cancel, &waiting);
        let in_use = match in_use {
            Ok(lock) => Some(lock),
            Err(durable::LockError::Cancelled(error)) => return Err(error.into()),
            Err(durable::LockError::Path(error)) if repair => return Err(error.into()),
            Err(durable::LockError::Path(_)) => None,
        };
        let first_new = verified.bad.len();
        packages::packages(&provider, &mut verified, work)?;
        metadata::metadata(&provider, &mut verified, work.cancel)?;
        kept::base(&provider, &mut verified, work)?;
        kept::layers(&provider, &mut verified, work)?;
        kept::images(&provider, &mut verified, work)?;
        for (room, path) in tops(&provider.workspace) {
            each_room(room, path, &mut |room, path| strange(room, path, &mut verified))?;
        }
        drop(in_use);
        let bad = verified.bad.get_mut(first_new..).unwrap_or_default();
        if repair && !bad.is_empty() {
            let lock = Removal::claim(&provider)?;
            lock.sweep();
            for bad in bad {
                tracing::info!(path = %bad.path.display(), problem = bad.problem, "removing what is bad");
                bad.remove(&provider)?;
                bad.repaired = true;
            }
        }
    }
    Ok(verified)
}

/// Lists what is in the directory `path`, which is a `room`, and has no row in the table of places.
fn strange(room: Room, path: &Path, verified: &mut Verified) -> Result<(), PathError> {
    let places = entries(room, path)?.into_iter();
    let strange = places.filter(|place| matches!(place.what, What::Strange));
    verified.strange.extend(strange.map(|place| place.path));
    Ok(())
}

/// Reads a file and passes its content to `take`, in pieces.
fn read_all(path: &Path, cancel: &Cancel, mut take: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let file = File::open(path).map_err(PathError::on("open", path))?;
    durable::each_piece(file, path, &[cancel], |piece| {
        take(piece);
        Ok(())
    })
}

impl Bad {
    /// Makes an entry for a file that can be removed.
    fn file(provider: &Provider, path: PathBuf, problem: String) -> Self {
        Self {
            provider: provider.id.clone(),
            repair: Repair::Remove(vec![path.clone()]),
            path,
            problem,
            files: Vec::new(),
            repaired: false,
        }
    }

    /// Removes it as its [`Repair`] says.
    fn remove(&self, provider: &Provider) -> Result<(), StoreError> {
        match &self.repair {
            Repair::Remove(paths) => paths.iter().try_for_each(|path| durable::remove_tree(path))?,
            Repair::Layer(key) => {
                LayerStore::new(provider.workspace.layers()).remove(&BTreeSet::from([*key]))?;
            }
            Repair::Snapshot(damaged) => damaged.remove(&SnapshotPaths::of(&provider.workspace))?,
        }
        Ok(())
    }
}
