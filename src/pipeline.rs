//! The build, from a template to an image: [`build`] reads as the product's flow.

mod assemble;
mod base;
mod catalogue;
pub mod check;
mod claim;
mod compose;
mod dates;
mod error;
mod groups;
mod kernel;
mod keys;
mod local;
mod locked;
mod log;
mod metadata;
pub mod mirrors;
mod packages;
mod plain;
pub mod report;
mod resolved;
mod select;
pub mod serve;
mod several;
mod sources;
mod stanza;
mod steps;

use std::path::PathBuf;
use std::time::SystemTime;

use crate::boot;
use crate::cancel::Cancel;
use crate::durable;
use crate::fetch::{FetchOptions, Fetcher, Proxies};
use crate::image::artifacts;
use crate::image::plan::{self, DiskPlan};
use crate::image::seed::ImageSeed;
use crate::mount::Engine;
use crate::package::{ResolvedPackage, Sha256};
use crate::progress::Progress;
use crate::provider::mirror::Mirrors;
use crate::resolve::lockfile::Lockfile;
use crate::store::InUse;
use crate::template::Loaded;
use crate::workspace::{ImageBuild, Workspace};

use assemble::Assembly;
use claim::Claim;
use compose::Frozen;
pub use error::BuildError;
use log::BuildLog;
use metadata::Shared;
use report::{BuildReport, ReportedPackage, SCHEMA_VERSION, Timeline};
pub use resolved::{Resolved, resolve};
pub use several::build_all;
use steps::Steps;

/// What to build, and with what.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The template, and the provider it names.
    pub loaded: Loaded,
    /// Where packages may come from.
    pub mirrors: Mirrors,
    /// Directory of the package cache.
    pub cache_dir: PathBuf,
    /// Directory of bases and images.
    pub work_dir: PathBuf,
    /// Downloads at once.
    pub workers: usize,
    /// Threads of work that takes a processor, at least one.
    pub jobs: usize,
    /// Install exactly this.
    pub lock: Option<Lockfile>,
    /// Reuse nothing of an earlier build: no step layer, no image.
    pub from_scratch: bool,
    /// Proxies for downloads.
    pub proxies: Proxies,
    /// Use only what is cached.
    pub offline: bool,
    /// Who merges the layers; the image is the same.
    pub engine: Engine,
    /// Write the dependency graph there as well.
    pub dot_file: Option<PathBuf>,
    /// Leave out of that graph what the template did not ask for by name.
    pub system_packages_only: bool,
    /// The time that `Valid-Until` is compared with.
    pub now: SystemTime,
    /// No time in the image is later, in seconds since 1970; by default the newest package's date.
    pub source_date_epoch: Option<u64>,
}

impl BuildRequest {
    fn workspace(&self) -> Workspace {
        Workspace::new(&self.cache_dir, &self.work_dir, &self.loaded.provider.id())
    }

    fn image_build(&self) -> ImageBuild {
        self.workspace().image_build(&self.loaded.template.system.name)
    }
}

/// What the stages share.
struct Context<'a> {
    request: &'a BuildRequest,
    shared: &'a Shared,
    workspace: Workspace,
    fetcher: Fetcher,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    timeline: Timeline,
}

impl<'a> Context<'a> {
    fn new(
        request: &'a BuildRequest,
        shared: &'a Shared,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Result<Self, BuildError> {
        let options = FetchOptions {
            workers: request.workers,
            offline: request.offline,
            proxies: request.proxies.clone(),
            ..FetchOptions::default()
        };
        Ok(Self {
            request,
            shared,
            workspace: request.workspace(),
            fetcher: Fetcher::new(options, cancel.clone())?,
            progress,
            cancel,
            timeline: Timeline::new(),
        })
    }
}

/// Builds the image of `request`. The caller is root, and in a mount namespace
/// of its own ([`crate::mount::namespace::enter_private`]).
///
/// # Errors
/// [`BuildError`]; nothing stays mounted, no temporary file stays, and an image
/// of an earlier build is gone.
pub fn build(request: &BuildRequest, progress: &dyn Progress, cancel: &Cancel) -> Result<BuildReport, BuildError> {
    build_one(request, &Shared::among(1), progress, cancel)
}

/// [`build`], with what other builds of the same call have found out.
fn build_one(
    request: &BuildRequest,
    shared: &Shared,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<BuildReport, BuildError> {
    let clock = Timeline::new();
    let template = &request.loaded.template;
    check(request)?;
    let output = request.image_build();
    let waiting = |by: &str| progress.note(&format!("waiting for {by}"));
    let in_use = InUse::claim(&request.workspace(), cancel, &waiting)?;
    in_use.note();
    let (claim, earlier) = Claim::take(&output, &compose::raw_path(request, &output), progress, cancel)?;
    let log = BuildLog::create(&output.log(), progress)?;
    let progress: &dyn Progress = &log;
    let context = Context {
        timeline: clock.clone(),
        ..Context::new(request, shared, progress, cancel)?
    };
    clock.lap("Configuration");

    let selection = match &request.lock {
        Some(lockfile) => locked::select(&context, lockfile)?,
        None => {
            let selection = select::select(&context)?;
            packages::write_graph(&context, &selection)?;
            selection
        }
    };
    clock.lap("Resolution");
    let (cached, base) = packages::obtain(&context, &selection, |packages| {
        clock.lap("Packages");
        let base = base::ensure(&context, &selection, packages)?;
        clock.lap("Base");
        Ok(base)
    })?;

    let lockfile = output.lockfile(&template.image.name);
    let plan = disk_plan(request, selection.lockfile.seed())?;
    let assembly = Assembly {
        context: &context,
        output: &output,
        selection: &selection,
        dates: cached.dates(),
        plan: &plan,
    };
    let mut steps = Steps::new(&context, &output, &selection, &cached, base.key)?;
    assembly.install(&mut steps)?;
    clock.lap("Install");
    assembly.configure(&mut steps)?;
    clock.lap("Configure");
    let tree = Frozen::new(steps, &output)?;
    let earlier = earlier.filter(|_| !request.from_scratch);
    let image = tree.serialize(&context, &plan, cached.dates().image, earlier)?;
    clock.lap("Serialize");
    let (image, artifacts) = compose::finish(&context, &output, image)?;
    durable::write_file(&lockfile, selection.lockfile.to_json())?;
    clock.lap("Convert and hash");
    let layers = tree.layers();
    let mut warnings = selection.warnings.clone();
    warnings.extend(tree.warnings());
    let base_use = tree.close(base)?;
    claim.keep();
    clock.lap("Clean up");

    Ok(BuildReport {
        schema_version: SCHEMA_VERSION,
        provider: request.loaded.provider.id(),
        system_config: template.system.name.clone(),
        epoch_seconds: cached.dates().image,
        stages: clock.finish(),
        packages: cached.counts(),
        base: base_use,
        layers,
        image,
        artifacts,
        lockfile,
        warnings: plan.warnings.into_iter().chain(warnings).collect(),
        package_list: selection.image.packages.iter().map(reported).collect(),
    })
}

fn reported(package: &ResolvedPackage) -> ReportedPackage {
    ReportedPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        size_bytes: package.size_bytes,
        installed_size_bytes: package.installed_size_bytes,
    }
}

/// Finds out, before any work, what would fail at the end.
fn check(request: &BuildRequest) -> Result<(), BuildError> {
    let findings = crate::template::check_buildable(&request.loaded);
    if findings.has_errors() {
        return Err(BuildError::NotBuildable(findings));
    }
    let template = &request.loaded.template;
    boot::check_supported(template.system.bootloader)?;
    artifacts::check_tools(&template.disk.artifacts)?;
    let plan = disk_plan(request, Sha256::of(""))?;
    plan.esp()?;
    Ok(())
}

/// The disk with identifiers that depend on the template and on what is installed, on nothing else.
fn disk_plan(request: &BuildRequest, installed: Sha256) -> Result<DiskPlan, BuildError> {
    let template = &request.loaded.template;
    let seed = format!("{installed} {} {}", template.image.name, template.system.name);
    Ok(plan::plan(
        &template.disk,
        template.target.arch,
        &ImageSeed(Sha256::of(seed)),
    )?)
}
