//! One build, from a template to an image: [`build_image`] reads as the product's flow.

use std::thread;

use crate::boot::{self, distribution};
use crate::durable;
use crate::image::plan::{self, DiskPlan};
use crate::image::seed::ImageSeed;
use crate::install::{encrypted, verity};
use crate::model::SecureBoot;
use crate::mount::upper;
use crate::package::{ResolvedPackage, Sha256};
use crate::pipeline::assemble::Assembly;
use crate::pipeline::assemble::base::{self, BaseState};
use crate::pipeline::assemble::dates::{self, Dates};
use crate::pipeline::assemble::steps::Steps;
use crate::pipeline::context::Context;
use crate::pipeline::encryption::Keys;
use crate::pipeline::error::BuildError;
use crate::pipeline::finish::claim::Claim;
use crate::pipeline::finish::handover;
use crate::pipeline::finish::image::{self, Frozen};
use crate::pipeline::finish::log::BuildLog;
use crate::pipeline::finish::written::Written;
use crate::pipeline::full;
use crate::pipeline::heal;
use crate::pipeline::packages::Packages;
use crate::pipeline::report::{BuildReport, ReportedPackage, SCHEMA_VERSION, Timeline};
use crate::pipeline::request::BuildRequest;
use crate::pipeline::select;
use crate::pipeline::select::selection::Selection;
use crate::pipeline::shared::Shared;
use crate::pipeline::signing;
use crate::provider::PackageSystem;
use crate::resolve::lockfile::Newest;
use crate::store::InUse;
use crate::work::Work;
use crate::workspace::ImageBuild;

/// Builds one image, with what other builds of the same call have found out. The caller is root, and in a mount namespace
/// of its own ([`crate::mount::namespace::enter_private`]).
///
/// # Errors
/// [`BuildError`]; nothing stays mounted, no temporary file stays, and the raw image
/// of an earlier build is gone if the build has begun to change it.
pub fn build_image(request: &BuildRequest, shared: &Shared, work: Work<'_>) -> Result<BuildReport, BuildError> {
    let workspace = request.workspace();
    let places = [request.selecting.cache_dir.as_path(), workspace.provider()];
    heal::healed(|| attempt(request, shared, work).map_err(|error| full::explain(error, &places)))
}

/// Builds once, and reuses what earlier builds left.
///
/// # Errors
/// [`BuildError::Damaged`] if something that they left was damaged; it is removed then.
fn attempt(request: &BuildRequest, shared: &Shared, work: Work<'_>) -> Result<BuildReport, BuildError> {
    let clock = Timeline::new();
    check(request)?;
    let signer = signing::open(request, work.cancel)?;
    let keys = Keys::open(request)?;
    let output = request.image_build();
    let _in_use = use_workspace(request, work)?;
    let mut claim = Claim::take(&output, &request.earlier_raws(), work)?;
    let log = BuildLog::create(&output.log(), work.progress)?;
    handover::open_way(request, work.progress);
    handover::give(request, &output.log(), work.progress);
    let mut context = Context::new(request, shared, Work { progress: &log, ..work }, clock.clone())?;
    (context.signer, context.keys) = (signer, keys);
    clock.lap("Configuration");
    let selection = select(&context)?;
    check_names(&context, &selection)?;
    clock.lap("Resolution");
    let packages = Packages::new(&context, &selection)?;
    let (base, newest) = base(&context, &selection, &packages)?;
    select::remember(&context, &selection, newest);
    let dates = Dates::of(&context, newest);
    let plan = disk_plan(request, selection.lockfile.seed())?;
    let assembly = Assembly {
        context: &context,
        output: &output,
        selection: &selection,
        dates,
        plan: &plan,
    };
    let written = write(&assembly, &packages, base.key, &mut claim);
    let (tree, written) = written.map_err(|error| heal::explain(error, &context, &output, base))?;
    let told_by_image = written.warnings.clone();
    let lock = selection.lockfile_with(newest);
    let finished = image::finish(&context, &output, (&tree, dates.image, &lock), written)?;
    let lockfile = output.lockfile(&request.loaded().template.image.name);
    save(&context, &output)?;
    durable::write_file(&lockfile, lock.to_json())?;
    handover::give(request, &lockfile, work.progress);
    clock.lap("Convert and hash");
    let (layers, told) = (tree.layers(), tree.warnings());
    let base = tree.close(base)?;
    claim.keep();
    clock.lap("Clean up");
    Ok(BuildReport {
        schema_version: SCHEMA_VERSION,
        provider: request.loaded().provider.id(),
        system_config: request.loaded().template.system.name.clone(),
        epoch_seconds: dates.image,
        stages: clock.finish(),
        packages: packages.counts(),
        base,
        layers,
        image: finished.image,
        artifacts: finished.artifacts,
        documents: finished.documents,
        sums: finished.sums,
        lockfile,
        warnings: [plan.warnings, selection.warnings, told, told_by_image].concat(),
        package_list: selection.image.packages.iter().map(reported).collect(),
    })
}

/// Checks that the packages of `selection` bring what the image starts with: an initrd for a verified or encrypted root, and
/// what the distribution has signed.
fn check_names(context: &Context<'_>, selection: &Selection) -> Result<(), BuildError> {
    let loaded = context.loaded();
    let system = &loaded.template.system;
    let names = || selection.image.packages.iter().map(|package| package.name.as_str());
    if system.immutable || loaded.template.disk.has_fixed_root() {
        verity::check_names(names())?;
    }
    if context.keys.is_some() {
        encrypted::check_names(names())?;
    }
    let is_signed = system.bootloader.secure_boot == SecureBoot::Distribution;
    if is_signed && loaded.provider.packages.system == PackageSystem::Deb {
        distribution::check_names(system, loaded.template.target.arch, names())?;
    }
    Ok(())
}

/// Keeps for the next build what this one has signed, and drawn by chance.
fn save(context: &Context<'_>, output: &ImageBuild) -> Result<(), BuildError> {
    if let Some(signer) = &context.signer {
        signer.save()?;
    }
    if let Some(keys) = &context.keys {
        keys.save(&output.disk_seed())?;
    }
    Ok(())
}

/// Keeps other processes from removing what the build uses, until the result is dropped.
fn use_workspace(request: &BuildRequest, work: Work<'_>) -> Result<InUse, BuildError> {
    let waiting = |by: &str| work.progress.note(&format!("waiting for {by}"));
    let in_use = InUse::claim(&request.workspace(), work.cancel, &waiting)?;
    in_use.note();
    // First of all: what is made below it is never open to another user, not even for an instant.
    let provider = request.workspace();
    durable::private_directory(provider.provider())?;
    upper::check(provider.provider())?;
    Ok(in_use)
}

/// Selects the packages: those of the request's lockfile, or those that the repositories offer now.
fn select(context: &Context<'_>) -> Result<Selection, BuildError> {
    if let Some(lockfile) = &context.request.lock {
        return select::locked::select(context, lockfile);
    }
    let selection = select::select(context)?;
    selection.write_graph(context)?;
    Ok(selection)
}

/// Finds the base, or makes it as soon as its packages have arrived, while the others still arrive. Gives the dates of
/// the newest packages too.
fn base<'a>(
    context: &'a Context<'a>,
    selection: &'a Selection,
    packages: &'a Packages<'a>,
) -> Result<(BaseState, Newest), BuildError> {
    if let Some(newest) = selection.lockfile.newest
        && let Some(base) = base::find(context, selection, newest)?
    {
        context.timeline.lap("Base");
        return Ok((base, newest));
    }
    thread::scope(|scope| {
        let mut arriving = packages.start(scope);
        let of_base = arriving.base()?;
        context.timeline.lap("Packages");
        // If a download fails meanwhile, the base is finished all the same: the next build can use it.
        let base = base::ensure(context, selection, &of_base)?;
        context.timeline.lap("Base");
        let newest = dates::newest(context, selection, &arriving.finish()?)?;
        Ok((base, newest))
    })
}

/// Goes through all steps and writes the disk, over an earlier image where one exists.
fn write(
    assembly: &Assembly<'_>,
    packages: &Packages<'_>,
    base: Sha256,
    claim: &mut Claim,
) -> Result<(Frozen, Written<'static>), BuildError> {
    let Assembly {
        context,
        output,
        selection,
        ..
    } = assembly;
    let clock = &context.timeline;
    let mut steps = Steps::new(context, output, selection, packages, base)?;
    assembly.install(&mut steps)?;
    clock.lap("Install");
    assembly.configure(&mut steps)?;
    clock.lap("Configure");
    let tree = Frozen::new(steps, output)?;
    let earlier = claim.take_earlier()?.filter(|_| !context.request.from_scratch);
    let written = tree.serialize(context, assembly.plan, assembly.dates.image, earlier)?;
    clock.lap("Serialize");
    Ok((tree, written))
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
pub(super) fn check(request: &BuildRequest) -> Result<(), BuildError> {
    let findings = crate::template::check_buildable(request.loaded());
    if findings.has_errors() {
        return Err(BuildError::NotBuildable(findings));
    }
    let template = &request.loaded().template;
    if !template.target.image_type.has_disk() {
        return Ok(());
    }
    boot::check(&template.system, template.target.arch)?;
    let boot_type = template.system.bootloader.boot_type;
    Ok(plan::check(&template.disk, template.target.arch, boot_type)?)
}

/// Plans the disk, if the image has one, with identifiers that depend on the template and on what is installed, on nothing else.
pub fn disk_plan(request: &BuildRequest, installed: Sha256) -> Result<DiskPlan, BuildError> {
    let template = &request.loaded().template;
    let seed = format!("{installed} {} {}", template.image.name, template.system.name);
    let seed = ImageSeed(Sha256::of(seed));
    if !template.target.image_type.has_disk() {
        return Ok(plan::none(&seed));
    }
    Ok(plan::plan(&template.disk, template.target.arch, &seed)?)
}
