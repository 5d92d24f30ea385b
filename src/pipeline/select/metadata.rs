//! What the repositories of a build offer: verified at once, loaded when a build needs it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::repositories;
use crate::durable;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::shared::{Identity, Metadata};
use crate::repo::{ReleaseInfo, Repository};
use crate::sync::lock;
use crate::system::Catalogue;

impl Metadata {
    /// Verifies the metadata of the provider's and the template's repositories, unless a build of the same call has.
    pub fn of(context: &Context<'_>) -> Result<Arc<Self>, BuildError> {
        let repositories = repositories::of(context, None)?;
        let identity = Identity {
            provider: context.loaded().provider.id(),
            cache: context.workspace.metadata(),
            arch: context.loaded().template.target.arch,
            foreign: context.loaded().template.system.foreign_architectures.clone(),
            offline: context.request.selecting.offline,
            repositories: repositories.clone(),
        };
        let slot = context.shared.slot(identity);
        let mut verified = lock(&slot);
        if let Some(known) = &*verified {
            return Ok(Arc::clone(known));
        }
        let metadata = Arc::new(Self::verify(context, repositories)?);
        *verified = Some(Arc::clone(&metadata));
        Ok(metadata)
    }

    fn verify(context: &Context<'_>, mut repositories: Vec<Repository>) -> Result<Self, BuildError> {
        let metadata_dir = context.workspace.metadata();
        durable::public_directory(&metadata_dir)?;
        let heads = context.system.verify(&context.loader(), &repositories)?;
        heads.place(&mut repositories);
        for note in heads.notes() {
            context.work.progress.note(&note);
        }
        Ok(Self {
            repositories,
            heads,
            catalogue: Default::default(),
        })
    }

    /// Gives the root of each repository's metadata, with the repository's id.
    pub fn releases(&self) -> Vec<(String, ReleaseInfo)> {
        self.heads.releases()
    }

    /// Gives all records; the first caller loads them.
    pub fn catalogue(&self, context: &Context<'_>) -> Result<Arc<dyn Catalogue>, BuildError> {
        let mut catalogue = lock(&self.catalogue);
        if let Some(known) = &*catalogue {
            return Ok(Arc::clone(known));
        }
        let provider = &context.loaded().provider;
        // The provider's records come first: the base is resolved from them alone, so that all templates share it.
        let own: BTreeSet<&str> = provider.repositories.iter().map(|own| own.id.as_str()).collect();
        let loaded: Arc<dyn Catalogue> = Arc::from(self.heads.load(&context.loader(), &own)?);
        *catalogue = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}
