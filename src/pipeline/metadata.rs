//! What the repositories of a build offer: verified at once, loaded when somebody needs it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::durable::PathError;
use crate::package::Arch;
use crate::repo::{ReleaseInfo, Repository};

use super::catalogue::{Catalogue, Heads};
use super::{BuildError, Context, packages};

/// The verified roots of all repositories' metadata, and below them what was loaded so far.
#[derive(Debug)]
pub(super) struct Metadata {
    repositories: Vec<Repository>,
    heads: Heads,
    catalogue: Mutex<Option<Arc<Catalogue>>>,
}

/// What builds of one call have in common. Builds that have the same repositories verify and load them once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    metadata: Mutex<Vec<(Identity, Slot)>>,
}

/// What must be the same.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    provider: String,
    cache: PathBuf,
    arch: Arch,
    offline: bool,
    repositories: Vec<Repository>,
}

/// Held while somebody verifies; the others wait for the same.
type Slot = Arc<Mutex<Option<Arc<Metadata>>>>;

impl Metadata {
    /// Verifies the metadata of the repositories of the provider and the template, unless a build of the same call has.
    pub fn of(context: &Context<'_>) -> Result<Arc<Self>, BuildError> {
        let repositories = packages::repositories(context)?;
        let identity = Identity {
            provider: context.request.loaded.provider.id(),
            cache: context.workspace.metadata(),
            arch: context.request.loaded.template.target.arch,
            offline: context.request.offline,
            repositories: repositories.clone(),
        };
        let slot = context.shared.slot(identity);
        let mut verified = locked(&slot);
        if let Some(known) = &*verified {
            return Ok(Arc::clone(known));
        }
        let metadata = Arc::new(Self::verify(context, repositories)?);
        *verified = Some(Arc::clone(&metadata));
        Ok(metadata)
    }

    fn verify(context: &Context<'_>, mut repositories: Vec<Repository>) -> Result<Self, BuildError> {
        let metadata_dir = context.workspace.metadata();
        std::fs::create_dir_all(&metadata_dir).map_err(PathError::on("create", &metadata_dir))?;
        let heads = Heads::verify(context, &repositories)?;
        heads.place(&mut repositories);
        for note in heads.notes() {
            context.progress.note(&note);
        }
        Ok(Self {
            repositories,
            heads,
            catalogue: Mutex::default(),
        })
    }

    /// The repositories, each with the base URL that it was found at.
    pub fn repositories(&self) -> &[Repository] {
        &self.repositories
    }

    /// The root of each repository's metadata, with the repository's id.
    pub fn releases(&self) -> Vec<(String, ReleaseInfo)> {
        self.heads.releases()
    }

    /// All records; loaded by whoever comes first.
    pub fn catalogue(&self, context: &Context<'_>) -> Result<Arc<Catalogue>, BuildError> {
        let mut catalogue = locked(&self.catalogue);
        if let Some(known) = &*catalogue {
            return Ok(Arc::clone(known));
        }
        let provider = &context.request.loaded.provider;
        // The provider's records come first: the base is resolved from them alone, so that all templates share it.
        let own: BTreeSet<&str> = provider.repositories.iter().map(|own| own.id.as_str()).collect();
        let loaded = Arc::new(self.heads.load(context, &own)?);
        *catalogue = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}

impl Shared {
    fn slot(&self, identity: Identity) -> Slot {
        let mut all = locked(&self.metadata);
        if let Some((_, slot)) = all.iter().find(|(known, _)| *known == identity) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        all.push((identity, Arc::clone(&slot)));
        slot
    }
}

/// Every change is one assignment; a panic elsewhere cannot leave half of it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
