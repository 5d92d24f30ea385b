//! The tree of one image: layers mounted, and the disk written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::boot;
use crate::configure::FstabEntry;
use crate::durable::{self, PathError};
use crate::image::digest;
use crate::image::earlier::{self, Earlier};
use crate::image::plan::DiskPlan;
use crate::image::raw::{self, Inputs, RawSummary};
use crate::image::{artifacts, populate};
use crate::mount::Restrictions;
use crate::mount::kernel::Upper;
use crate::mount::lower::LowerOptions;
use crate::mount::server::{LayerRequest, Lifetime, PoolRequest, Prefetch, SnapshotRequest};
use crate::mount::session::{self, MountRequest, Session, THIS_PROGRAM, View};
use crate::package::ResolvedPackage;
use crate::template::model::FileSystem;
use crate::workspace::ImageBuild;

use super::base::{self, BaseState};
use super::packages::Selection;
use super::report::{BaseUse, ImageFile, LayerUse};
use super::serve::LayerStats;
use super::steps::{Done, Steps};
use super::{BuildError, BuildRequest, Context};

/// The layers, merged and mounted.
pub(super) struct Mounted {
    session: Session,
}

impl Mounted {
    /// The root directory.
    pub fn root(&self) -> &Path {
        self.session.mount_point()
    }

    /// What was taken from the base so far.
    pub fn stats(&mut self) -> Result<LayerStats, BuildError> {
        Ok(LayerStats::of(&mut self.session)?)
    }

    pub fn close(self) -> Result<(), BuildError> {
        Ok(self.session.close()?)
    }
}

/// The tree as the image will have it: read-only, and mounted nowhere.
pub(super) struct Frozen {
    done: Done,
    output: ImageBuild,
}

impl Frozen {
    /// Ends writing: what is there from now on is what the image gets.
    pub fn new(steps: Steps<'_>, output: &ImageBuild) -> Result<Self, BuildError> {
        Ok(Self {
            done: steps.freeze()?,
            output: output.clone(),
        })
    }

    /// Which layers it is made of.
    pub fn layers(&self) -> Vec<LayerUse> {
        self.done.uses.clone()
    }

    /// What the layers have to tell.
    pub fn warnings(&self) -> Vec<String> {
        self.done.warnings.clone()
    }

    /// Writes the disk; into the place of an earlier image, if there is one.
    pub fn serialize(
        &self,
        context: &Context<'_>,
        plan: &DiskPlan,
        epoch_seconds: u64,
        earlier: Option<Earlier>,
    ) -> Result<(PathBuf, RawSummary), BuildError> {
        let template = &context.request.loaded.template;
        let mut sources = populate::sources(plan);
        if let Some(partition) = plan.root() {
            let esp = plan.esp()?.partition.mount_point.as_deref().map(Path::new);
            let arch = template.target.arch;
            let contents = boot::prepare(&self.done.merged, arch, &template.system.kernel, partition.uuid, esp)?;
            populate::add_to_esp(&mut sources, plan, contents.files)?;
        }
        let target = raw_path(context.request, &self.output);
        let inputs = Inputs {
            plan,
            merged: &self.done.merged,
            sources: &sources,
            epoch_seconds,
            threads: threads(),
        };
        let summary = raw::write(&target, inputs, earlier, context.progress, context.cancel)?;
        Ok((target, summary))
    }

    /// Cleans up; tells how much of the base was needed.
    pub fn close(self, base: BaseState) -> Result<BaseUse, BuildError> {
        let stats = self.done.stats.with(&self.done.base.stats().into());
        self.done.close()?;
        durable::sweep_temporaries(self.output.directory())?;
        Ok(BaseUse {
            reused: base.reused,
            packages: base.packages,
            files: stats.files_total,
            files_read: stats.files_touched,
            bytes: stats.content_bytes_total,
            inflated_bytes: stats.bytes_inflated,
            parts: stats.members_total,
            parts_inflated: stats.members_inflated,
            parts_reused: stats.members_reused,
            parts_ahead: stats.members_ahead,
            packages_opened: stats.packages_opened,
        })
    }
}

/// The package pool with these packages and no others.
pub(super) fn pool(context: &Context<'_>, selection: &Selection, packages: &[ResolvedPackage]) -> PoolRequest {
    PoolRequest {
        cache_dir: context.request.cache_dir.clone(),
        provider_id: context.request.loaded.provider.id(),
        packages: packages.iter().cloned().map(Into::into).collect(),
        base_urls: selection.base_urls(),
        offline: context.request.offline,
        proxies: context.request.proxies.clone(),
    }
}

/// Mounts the base and `steps` (the topmost first), and the pool if it is given.
pub(super) fn mount(
    context: &Context<'_>,
    output: &ImageBuild,
    upper: Option<Upper>,
    steps: Vec<PathBuf>,
    pool: Option<PoolRequest>,
) -> Result<Mounted, BuildError> {
    let at = output.merged_mount();
    fs::create_dir_all(&at).map_err(PathError::on("create", &at))?;
    let snapshot = base::paths(context);
    let request = MountRequest {
        program: THIS_PROGRAM.into(),
        layers: LayerRequest {
            snapshot: Some(SnapshotRequest {
                tarball: snapshot.tarball,
                index: snapshot.index,
                backing_dir: snapshot.backing_dir,
                prefetch: Prefetch::Recorded,
                // Only installing jumps about; what comes later reads everything in order.
                record_order: pool.is_some(),
            }),
            pool,
        },
        view: View::Overlay { upper, steps },
        engine: context.request.engine,
        restrictions: Restrictions::BUILD,
        allow_other: true,
        threads: LowerOptions::default().threads,
        lifetime: Lifetime::Caller,
        log: None,
        scratch: None,
    };
    Ok(Mounted {
        session: session::mount(&request, &at)?,
    })
}

/// Every partition that is mounted or swapped to, by PARTUUID (fstab(5)).
pub(super) fn fstab(plan: &DiskPlan) -> Vec<FstabEntry> {
    let used = plan.partitions.iter().filter_map(|planned| {
        let partition = &planned.partition;
        let file_system = partition.file_system?;
        let (mount_point, pass) = match (file_system, partition.mount_point.as_deref()) {
            (FileSystem::Swap, _) => ("none", 0),
            (_, Some("/")) => ("/", 1),
            (_, Some(path)) => (path, 2),
            (_, None) => return None,
        };
        Some(FstabEntry {
            source: format!("PARTUUID={}", planned.uuid),
            mount_point: mount_point.to_owned(),
            fs_type: file_system.fstab_type().to_owned(),
            options: partition.mount_options.clone(),
            pass,
        })
    });
    used.collect()
}

/// `{image.name}-{version}`, the base name of the output files.
fn output_name(request: &BuildRequest) -> String {
    let loaded = &request.loaded;
    format!("{}-{}", loaded.template.image.name, loaded.provider.release_version)
}

/// Where the raw image goes.
pub(super) fn raw_path(request: &BuildRequest, output: &ImageBuild) -> PathBuf {
    output.directory().join(format!("{}.raw", output_name(request)))
}

/// Threads for work that waits for nothing.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Hashes the image and makes its other forms, both at once; remembers what is in it for the next build.
pub(super) fn finish(
    context: &Context<'_>,
    output: &ImageBuild,
    (path, summary): (PathBuf, RawSummary),
) -> Result<(ImageFile, Vec<PathBuf>), BuildError> {
    let wanted = &context.request.loaded.template.disk.artifacts;
    let (progress, cancel) = (context.progress, context.cancel);
    let (sha256, made) = std::thread::scope(|scope| {
        let hashed = scope.spawn(|| match summary.sha256 {
            Some(known) => Ok((known, summary.checkpoints)),
            None => digest::digest(&path, summary.checkpoints, progress, cancel),
        });
        let made = artifacts::make(
            &path,
            &output_name(context.request),
            wanted,
            threads(),
            progress,
            cancel,
        );
        (hashed.join(), made)
    });
    let (sha256, checkpoints) = sha256.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let made = made?.into_iter().map(|made| made.path).collect();
    let image = ImageFile {
        path,
        size_bytes: summary.size_bytes,
        data_bytes: summary.data_bytes,
        written_bytes: summary.written_bytes,
        sha256,
    };
    if artifacts::keeps_raw(wanted) {
        earlier::remember(
            &image.path,
            &summary.drawn,
            (sha256, &checkpoints),
            &output.image_record(),
        )?;
    } else {
        std::fs::remove_file(&image.path).map_err(PathError::on("remove", &image.path))?;
    }
    Ok((image, made))
}
