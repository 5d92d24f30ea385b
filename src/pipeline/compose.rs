//! The tree of one image: layers mounted, packages installed, settings applied, disk written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::boot;
use crate::configure::{self, ConfigureRequest, FstabEntry};
use crate::durable::{self, PathError};
use crate::image::plan::DiskPlan;
use crate::image::raw::{self, Inputs, RawSummary, Tools};
use crate::image::{artifacts, populate};
use crate::install::{self, InstallRequest};
use crate::mount::Restrictions;
use crate::mount::kernel::Upper;
use crate::mount::server::{LayerRequest, Lifetime, PoolRequest, Prefetch, SnapshotRequest};
use crate::mount::session::{self, MountRequest, Session, THIS_PROGRAM, View};
use crate::pool::POOL_DIRECTORY;
use crate::root::Root;
use crate::template::model::FileSystem;
use crate::workspace::ImageBuild;

use super::base::{self, BaseState};
use super::packages::Selection;
use super::report::{BaseUse, ImageFile};
use super::serve::LayerStats;
use super::{BuildError, Context};

/// Threads that answer the kernel for one build.
const SERVER_THREADS: usize = 2;

/// The tree while it is written to: upper over pool over base.
pub(super) struct Tree {
    session: Session,
    output: ImageBuild,
}

/// The tree as the image will have it: upper over base, read-only.
pub(super) struct Frozen {
    session: Session,
    output: ImageBuild,
    earlier: LayerStats,
}

impl Tree {
    /// Mounts the layers with a new upper.
    pub fn mount(context: &Context<'_>, output: &ImageBuild, selection: &Selection) -> Result<Self, BuildError> {
        let upper = Upper {
            directory: output.upper(),
            work: output.work(),
            base: selection.base_key.to_string(),
            volatile: true,
        };
        let view = View::Overlay {
            upper: Some(upper),
            steps: Vec::new(),
        };
        let pool = PoolRequest {
            cache_dir: context.request.cache_dir.clone(),
            provider_id: context.request.loaded.provider.id(),
            packages: selection.image.packages.iter().cloned().map(Into::into).collect(),
            base_urls: selection.base_urls(),
            offline: context.request.offline,
            proxies: context.request.proxies.clone(),
        };
        let session = mount(context, output, view, Some(pool))?;
        Ok(Self {
            session,
            output: output.clone(),
        })
    }

    /// Installs what the base does not bring, in one transaction.
    /// Gives what could not be done as the template asks.
    pub fn install(&mut self, context: &Context<'_>, selection: &Selection) -> Result<Vec<String>, BuildError> {
        let request = InstallRequest {
            root: self.session.mount_point(),
            packages: &selection.beyond_base(),
            requested: &selection.requested_names(),
            pool: &Path::new("/").join(POOL_DIRECTORY),
            pool_source: None,
            initrd_modules: &context.request.loaded.template.system.kernel.extra_modules,
            temporary: self.output.directory(),
            arch: context.request.loaded.template.target.arch,
            epoch: selection.epoch_seconds,
            helper: Path::new(THIS_PROGRAM),
        };
        Ok(install::install(&request, context.progress, context.cancel)?.warnings)
    }

    /// Applies the template's settings.
    pub fn configure(
        &mut self,
        context: &Context<'_>,
        plan: &DiskPlan,
        selection: &Selection,
    ) -> Result<(), BuildError> {
        let root = Root::open(self.session.mount_point())?;
        populate::ensure_mount_points(plan, &root)?;
        let request = ConfigureRequest {
            root: self.session.mount_point(),
            template: &context.request.loaded.template,
            fstab: &fstab(plan),
            sources: &selection.apt_sources,
            epoch: selection.epoch_seconds,
            seed: selection.digest,
            network: false,
            helper: Path::new(THIS_PROGRAM),
        };
        configure::configure(&request, context.progress, context.cancel)?;
        Ok(())
    }

    /// Ends writing: what is shown from now on is what the image gets.
    pub fn freeze(mut self, context: &Context<'_>) -> Result<Frozen, BuildError> {
        let earlier = LayerStats::of(&mut self.session)?;
        self.session.close()?;
        let view = View::Overlay {
            upper: None,
            steps: vec![self.output.upper()],
        };
        let session = mount(context, &self.output, view, None)?;
        Ok(Frozen {
            session,
            output: self.output,
            earlier,
        })
    }
}

impl Frozen {
    /// Writes the disk.
    pub fn serialize(
        &self,
        context: &Context<'_>,
        plan: &DiskPlan,
        tools: &Tools,
        epoch_seconds: u64,
    ) -> Result<(PathBuf, RawSummary), BuildError> {
        let template = &context.request.loaded.template;
        let root = Root::open(self.session.mount_point())?;
        let mut sources = populate::sources(plan);
        if let Some(partition) = plan.root() {
            let esp = plan.esp()?.partition.mount_point.as_deref().map(Path::new);
            let arch = template.target.arch;
            let contents = boot::prepare(&root, arch, &template.system.kernel, partition.uuid, esp)?;
            populate::add_to_esp(&mut sources, plan, contents.files)?;
        }
        let target = self.output.directory().join(format!("{}.raw", output_name(context)));
        let inputs = Inputs {
            plan,
            root: &root,
            sources: &sources,
            tools,
            epoch_seconds,
        };
        let summary = raw::write(&target, inputs, context.progress, context.cancel)?;
        Ok((target, summary))
    }

    /// Unmounts everything; tells how much of the base was needed.
    pub fn close(mut self, base: BaseState) -> Result<BaseUse, BuildError> {
        let stats = self.earlier.with(&LayerStats::of(&mut self.session)?);
        self.session.close()?;
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

fn mount(
    context: &Context<'_>,
    output: &ImageBuild,
    view: View,
    pool: Option<PoolRequest>,
) -> Result<Session, BuildError> {
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
        view,
        engine: context.request.engine,
        restrictions: Restrictions::BUILD,
        allow_other: true,
        threads: SERVER_THREADS,
        lifetime: Lifetime::Caller,
        log: None,
        scratch: None,
    };
    Ok(session::mount(&request, &at)?)
}

/// Every partition that is mounted or swapped to, by PARTUUID (fstab(5)).
fn fstab(plan: &DiskPlan) -> Vec<FstabEntry> {
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
fn output_name(context: &Context<'_>) -> String {
    let loaded = &context.request.loaded;
    format!("{}-{}", loaded.template.image.name, loaded.provider.release_version)
}

/// Hashes the image and makes its other forms, both at once.
pub(super) fn finish(
    context: &Context<'_>,
    (path, summary): (PathBuf, RawSummary),
) -> Result<(ImageFile, Vec<PathBuf>), BuildError> {
    let wanted = &context.request.loaded.template.disk.artifacts;
    let (progress, cancel) = (context.progress, context.cancel);
    let (sha256, made) = std::thread::scope(|scope| {
        let digest = scope.spawn(|| raw::digest(&path, progress, cancel));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let made = artifacts::make(&path, &output_name(context), wanted, threads, progress, cancel);
        (digest.join(), made)
    });
    let sha256 = sha256.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let made = made?.into_iter().map(|made| made.path).collect();
    let image = ImageFile {
        path,
        size_bytes: summary.size_bytes,
        data_bytes: summary.data_bytes,
        sha256,
    };
    if !artifacts::keeps_raw(wanted) {
        std::fs::remove_file(&image.path).map_err(PathError::on("remove", &image.path))?;
    }
    Ok((image, made))
}
