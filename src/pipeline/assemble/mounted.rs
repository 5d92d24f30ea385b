//! The layers of one image, mounted.

use std::path::{Path, PathBuf};

use super::base;
use crate::durable;
use crate::layers::{BaseRequest, LayerRequest, LayerStats, PoolRequest, Prefetch};
use crate::mount::kernel::Upper;
use crate::mount::server::Lifetime;
use crate::mount::session::{self, MountRequest, Session, THIS_PROGRAM, View};
use crate::mount::{Label, Restrictions, ServeOptions};
use crate::package::ResolvedPackage;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::select::selection::Selection;
use crate::workspace::ImageBuild;

/// The layers, merged and mounted.
pub struct Mounted {
    session: Session<LayerRequest>,
}

impl Mounted {
    /// Gives the root directory.
    pub fn root(&self) -> &Path {
        self.session.mount_point()
    }

    /// Counts what was read from the base so far.
    pub fn stats(&mut self) -> Result<LayerStats, BuildError> {
        Ok(self.session.stats()?.layers)
    }

    /// Unmounts the layers.
    pub fn close(self) -> Result<(), BuildError> {
        Ok(self.session.close()?)
    }
}

/// Describes the package pool that holds `packages` and no others.
pub fn pool(context: &Context<'_>, selection: &Selection, packages: &[ResolvedPackage]) -> PoolRequest {
    let selecting = &context.request.selecting;
    PoolRequest {
        cache_dir: selecting.cache_dir.clone(),
        provider_id: context.loaded().provider.id(),
        packages: packages.to_vec(),
        base_urls: selection.base_urls(),
        offline: selecting.offline,
        network: selecting.network.clone(),
    }
}

/// Mounts the base and `steps` (the topmost first), and `pool` unless it is `None`.
pub fn mount(
    context: &Context<'_>,
    output: &ImageBuild,
    upper: Option<Upper>,
    steps: Vec<PathBuf>,
    pool: Option<PoolRequest>,
) -> Result<Mounted, BuildError> {
    let at = output.merged_mount();
    durable::private_directory(&at)?;
    let request = MountRequest {
        program: THIS_PROGRAM.into(),
        label: Label::new(
            &context.loaded().provider.id(),
            Some(&context.loaded().template.system.name),
        ),
        layers: LayerRequest {
            base: Some(BaseRequest {
                paths: base::paths(context),
                prefetch: Prefetch::Recorded,
                // Only installing reads out of order; what comes later reads everything in order.
                record_order: pool.is_some(),
            }),
            pool,
            disk: None,
        },
        view: View::Overlay { upper, steps },
        engine: context.request.engine,
        restrictions: Restrictions::BUILD,
        allow_other: true,
        threads: ServeOptions::default().threads,
        lifetime: Lifetime::Caller,
        log: None,
        scratch: None,
    };
    Ok(Mounted {
        session: session::mount(&request, &at)?,
    })
}
