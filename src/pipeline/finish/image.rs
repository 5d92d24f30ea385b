//! The disk of one image: written from the layers, hashed, and delivered in all formats.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::boot::{self, RootDevice, distribution, grub};
use crate::durable;
use crate::image::artifacts::Order;
use crate::image::digest;
use crate::image::earlier::{self, Earlier};
use crate::image::merged::Merged;
use crate::image::plan::DiskPlan;
use crate::image::raw::{self, Inputs};
use crate::image::{artifacts, populate};
use crate::model::{BootProvider, Bootloader, SecureBoot, Template};
use crate::package::Sha256;
use crate::pipeline::assemble::base::BaseState;
use crate::pipeline::assemble::steps::{Done, Steps};
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::finish::manifest::{self, Making};
use crate::pipeline::finish::provenance::{self, Stated};
use crate::pipeline::finish::written::Written;
use crate::pipeline::finish::{archive, bills, container, handover};
use crate::pipeline::report::{BaseUse, ImageFile, LayerUse};
use crate::resolve::lockfile::Lockfile;
use crate::sbom::Form;
use crate::sign::Signer;
use crate::workspace::ImageBuild;

/// The tree as the image will have it: read-only, and mounted nowhere.
pub struct Frozen {
    done: Done,
    output: ImageBuild,
}

impl Frozen {
    /// Ends writing: the image gets what the layers hold from now on.
    pub fn new(steps: Steps<'_>, output: &ImageBuild) -> Result<Self, BuildError> {
        Ok(Self {
            done: steps.freeze()?,
            output: output.clone(),
        })
    }

    /// Lists the layers that it is made of.
    pub fn layers(&self) -> Vec<LayerUse> {
        self.done.uses.clone()
    }

    /// Gives the warnings of the layers.
    pub fn warnings(&self) -> Vec<String> {
        self.done.warnings.clone()
    }

    /// Writes the disk, or the archive of an image that has none, over an earlier image where one exists.
    pub fn serialize(
        &self,
        context: &Context<'_>,
        plan: &DiskPlan,
        epoch_seconds: u64,
        earlier: Option<Earlier>,
    ) -> Result<Written<'static>, BuildError> {
        let template = &context.loaded().template;
        if !template.target.image_type.has_disk() {
            return archive::write(context, &self.done.merged, (plan.uuid, epoch_seconds), earlier);
        }
        let (mut contents, mut boot_code, mut warnings) = (populate::contents(plan), None, Vec::new());
        if let Some(partition) = plan.root() {
            let mut device = match populate::root_hash(&contents) {
                Some(hash) => RootDevice::verified(hash),
                None => RootDevice::partition(&partition.partuuid),
            };
            if let (Some(keys), Some(encryption)) = (&context.keys, &template.system.encryption) {
                warnings.extend(keys.warning());
                device = device.unlocking(&partition.partition.id, keys.encrypt(encryption, plan, &mut contents));
            }
            let esp = plan.find_esp();
            let esp = esp.and_then(|esp| esp.partition.mount_point.as_deref()).map(Path::new);
            let arch = template.target.arch;
            let (tree, system) = (&self.done.merged, &template.system);
            let Bootloader {
                boot_type, provider, ..
            } = system.bootloader;
            let mut files = match provider {
                BootProvider::Grub => grub::prepare(tree, arch, plan, boot_type)?,
                BootProvider::SystemdBoot => boot::prepare(tree, arch, &system.kernel, &device, esp)?.files,
            };
            files.retain(|(path, _)| !esp.is_some_and(|esp| is_given(template, &esp.join(path))));
            if system.bootloader.secure_boot == SecureBoot::Distribution && provider == BootProvider::SystemdBoot {
                distribution::replace(tree, arch, &mut files)?;
            }
            if let (Some(signing), Some(signer)) = (&system.signing, &context.signer) {
                let signer: Arc<dyn Signer> = signer.clone();
                boot::signed::sign(&mut files, signing, &signer)?;
            }
            if !files.is_empty() {
                populate::add_to_esp(&mut contents, plan, files)?;
            }
            if provider == BootProvider::Grub {
                boot_code = grub::bios::prepare(tree, plan, boot_type)?;
            }
        }
        if let Some(boot_code) = &boot_code {
            populate::leave_free(&mut contents, plan, boot_code.lba);
        }
        let target = context.request.raw_path();
        let inputs = Inputs {
            plan,
            merged: &self.done.merged,
            contents: &contents,
            boot_code: boot_code.as_ref(),
            epoch_seconds,
        };
        let summary = raw::write(&target, inputs, earlier, context.work)?;
        Ok(Written {
            path: target,
            summary,
            beside: Vec::new(),
            warnings,
        })
    }

    /// Returns all layers, merged.
    pub fn merged(&self) -> &Merged {
        &self.done.merged
    }

    /// Unmounts and removes what the build needed; says how much of the base was read.
    pub fn close(self, base: BaseState) -> Result<BaseUse, BuildError> {
        let stats = self.done.stats.with(&self.done.base.stats().into());
        self.done.close()?;
        durable::sweep_temporaries(self.output.directory())?;
        Ok(BaseUse {
            reused: base.reused,
            packages: base.packages,
            files: stats.base.files_total,
            files_read: stats.base.files_touched,
            bytes: stats.base.content_bytes_total,
            inflated_bytes: stats.base.bytes_inflated,
            parts: stats.base.members_total,
            parts_inflated: stats.base.members_inflated,
            parts_reused: stats.base.members_reused,
            parts_ahead: stats.base.members_ahead,
            packages_opened: stats.packages_opened,
        })
    }
}

/// Says whether the template has a file of its own at `path` on the EFI system partition, where case does not count
/// (UEFI 2.10, 13.3).
fn is_given(template: &Template, path: &Path) -> bool {
    let path = path.as_os_str();
    template
        .system
        .destinations()
        .any(|given| path.eq_ignore_ascii_case(given))
}

/// What a build delivers.
pub struct Finished {
    /// The image.
    pub image: ImageFile,
    /// The paths of its other forms.
    pub artifacts: Vec<PathBuf>,
    /// The paths of what tells about the image.
    pub documents: Vec<PathBuf>,
    /// The path of the list of digests, if there is one.
    pub sums: Option<PathBuf>,
}

/// Makes the other forms of the image, and its SHA-256 if it is asked for, both at once; records its contents for the
/// next build.
pub fn finish<'a>(
    context: &'a Context<'a>,
    output: &ImageBuild,
    (tree, epoch_seconds, lockfile): (&'a Frozen, u64, &'a Lockfile),
    mut written: Written<'a>,
) -> Result<Finished, BuildError> {
    let (merged, content) = (tree.merged(), written.summary.tree.digest().to_string());
    let images = container::images(context, merged, (&content, epoch_seconds));
    written.beside.extend(images);
    written.beside.extend(bills::of(context, merged)?);
    let making = Making {
        context,
        merged,
        layers: tree.done.layers.clone(),
        lockfile,
        epoch_seconds,
        raw: written.path.clone(),
    };
    written.beside.push(manifest::beside(making, &content));
    let (made, sha256) = other_forms(context, output, &written)?;
    let Written { path, summary, .. } = written;
    let is_delivered = context.request.delivers_raw();
    let digests = made.iter().filter_map(|made| Some((made.path.as_path(), made.sha256?)));
    let digests: Vec<_> = digests.chain(sha256.map(|sha256| (path.as_path(), sha256))).collect();
    let sums = artifacts::write_sums(output.directory(), digests.iter().copied())?;
    let stated = Stated {
        lockfile,
        merged,
        files: &digests,
    };
    let provenance = provenance::write(context, output.directory(), stated)?;
    // Before the records below: a file with another owner has another time of change.
    if let Some(owner) = context.request.owner {
        handover::note(artifacts::give(&output.artifact_record(), owner), context.work.progress);
    }
    for given in sums.iter().chain(&provenance).chain(is_delivered.then_some(&path)) {
        handover::give(context.request, given, context.work.progress);
    }
    let image = ImageFile {
        path,
        is_delivered,
        size_bytes: summary.size_bytes,
        data_bytes: summary.data_bytes,
        written_bytes: summary.written_bytes,
        digest: summary.tree.digest(),
        sha256,
        root_hash: summary.root_hash.map(|root| root.to_string()),
    };
    earlier::remember(&image.path, &summary.drawn, &summary.tree, &output.image_record())?;
    let paths = made.into_iter().map(|made| made.path);
    let (mut documents, artifacts): (Vec<_>, Vec<_>) = paths.partition(|path| is_document(path));
    documents.extend(provenance);
    Ok(Finished {
        image,
        artifacts,
        documents,
        sums,
    })
}

/// Says whether the delivered file `path` tells about the image, rather than being a form of it.
fn is_document(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut ends = Form::ALL.iter().map(|form| form.suffix()).chain([manifest::SUFFIX]);
    ends.any(|end| name.ends_with(end))
}

/// Makes the other forms of the image and, where it is asked for, the SHA-256 of the image itself, both at once.
fn other_forms(
    context: &Context<'_>,
    output: &ImageBuild,
    written: &Written<'_>,
) -> Result<(Vec<artifacts::Made>, Option<Sha256>), BuildError> {
    let (raw, work, request) = (&written.path, context.work, context.request);
    let order = Order {
        raw,
        directory: output.directory(),
        tree: Some(&written.summary.tree),
        stem: &request.output_name(),
        artifacts: &request.artifacts(),
        beside: &written.beside,
        record: &output.artifact_record(),
        uuid: written.summary.uuid,
        with_all_digests: request.sha256,
    };
    let (sha256, made) = std::thread::scope(|scope| {
        let is_asked = request.sha256 && request.delivers_raw();
        let hashed = is_asked.then(|| scope.spawn(|| digest::sha256(raw, work)));
        let made = artifacts::make(order, work);
        let hashed = hashed.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        (hashed, made)
    });
    Ok((made?, sha256.transpose()?))
}
