//! The optical medium of an image: its loader, its kernel and initrd, and what it installs.

use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use crate::boot::grub::medium::{self as grub, Loader};
use crate::configure::kind::MEDIUM_LABEL;
use crate::durable::PathError;
use crate::image::ImageError;
use crate::image::artifacts::{self, Beside, Body};
use crate::image::content::Source;
use crate::image::host::HostDirectory;
use crate::image::iso::{self, Bios, Boot, Entry, Medium};
use crate::image::merged::Merged;
use crate::model::ArtifactFormat;
use crate::package::Sha256;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::template::Scope;
use crate::words::Words as _;
use crate::work::Work;

/// The running program.
const PROGRAM: &str = "/proc/self/exe";
/// What is installed, from the top of the medium.
const PAYLOAD: &str = "images/disk.raw.zstd";

/// What the installer is told.
#[derive(Debug, Serialize)]
struct Plan<'a> {
    /// Name of the system.
    name: &'a str,
    /// The disk image, from the top of the medium.
    image: &'a str,
    /// Its size in bytes when it is unpacked.
    size_bytes: u64,
    /// The device, if the template names it.
    path: Option<&'a Path>,
    /// `disk.selectionPolicy.strategy`.
    strategy: Option<&'static str>,
    /// The rest of it.
    exclude_removable: bool,
    require_empty: bool,
}

/// Returns the medium, which is made as soon as the initrd is delivered, and what the user should know. `kernel` is a path
/// in `merged`; `identity` is the identifier of the image, the time of its files and the digest of the tree.
///
/// # Errors
/// [`BuildError`] if the tree lacks a part of the medium.
pub fn image(
    context: &Context<'_>,
    merged: &Merged,
    kernel: &Path,
    (uuid, epoch_seconds, content): (Uuid, u64, &str),
) -> Result<(Beside<'static>, Vec<String>), BuildError> {
    let (request, template) = (context.request, &context.loaded().template);
    let loader = grub::prepare(merged, template.target.arch, &iso::modified(epoch_seconds))?;
    let warnings = warnings(&loader);
    let menu = grub::menu(&template.image.name, &template.system.kernel)?;
    let (stem, wanted) = (request.output_name(), request.artifacts());
    let initrd = wanted.iter().find(|artifact| artifact.format == ArtifactFormat::Img);
    let initrd = initrd
        .map(|artifact| artifacts::file_name(&stem, artifact))
        .unwrap_or_default();
    let dump = context.loaded().resolved(Scope::Full, false).unwrap_or_default();
    let plan = plan(context);
    let payload = request.payload.as_ref();
    let decisive = [
        env!("CARGO_PKG_VERSION"),
        content,
        &menu,
        &dump,
        plan.as_deref().unwrap_or_default(),
        payload.map(|payload| payload.digest.as_str()).unwrap_or_default(),
        &format!("{initrd} {uuid} {epoch_seconds}"),
    ];
    let identity = Sha256::of(format!("{decisive:?}"));
    let mut files = Medium::default();
    for (path, source) in &loader.files {
        files.add(path, Entry::file(source.clone()));
    }
    files.add(grub::KERNEL, Entry::file(merged.file(kernel)?));
    files.add("boot/grub/grub.cfg", Entry::file(Source::Bytes(menu.into_bytes())));
    files.add(
        "config/template-dump.yaml",
        Entry::file(Source::Bytes(dump.into_bytes())),
    );
    let parts = Parts {
        files,
        boot: boot(loader),
        initrd: request.image_build().directory().join(initrd),
        payload: payload.map(|payload| payload.image.clone()).zip(plan),
        uuid,
        epoch_seconds,
    };
    let make = move |target: &Path, work: Work<'_>| parts.write(target, work);
    let medium = Beside {
        name: format!("{stem}.iso"),
        body: Body::Late(identity, Box::new(make)),
    };
    Ok((medium, warnings))
}

/// What a medium is made of.
struct Parts {
    files: Medium,
    boot: Boot,
    initrd: PathBuf,
    /// The disk image to install, and the plan of its installation.
    payload: Option<(PathBuf, String)>,
    uuid: Uuid,
    epoch_seconds: u64,
}

impl Parts {
    fn write(&self, target: &Path, work: Work<'_>) -> Result<(crate::durable::AtomicFile, Sha256), ImageError> {
        let mut medium = self.files.clone();
        medium.add(grub::INITRD, Entry::file(of_host(&self.initrd)?));
        if let Some((image, plan)) = &self.payload {
            let program = std::fs::read_link(PROGRAM).map_err(PathError::on("find", PROGRAM))?;
            medium.add("installer/oic", Entry::Program(of_host(&program)?));
            medium.add("installer/plan.json", Entry::file(plan.as_str().into()));
            medium.add(PAYLOAD, Entry::file(of_host(image)?));
        }
        let inputs = iso::Inputs {
            medium: &medium,
            boot: &self.boot,
            label: MEDIUM_LABEL,
            uuid: self.uuid,
            epoch_seconds: self.epoch_seconds,
        };
        iso::write(target, inputs, work)
    }
}

/// Returns the file `path` of the host.
fn of_host(path: &Path) -> Result<Source, PathError> {
    let (directory, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
    let missing = || PathError::on("open", path)(std::io::ErrorKind::NotFound.into());
    let (directory, name) = directory.zip(name).ok_or_else(missing)?;
    HostDirectory::open(directory)?.file(name)
}

fn boot(loader: Loader) -> Boot {
    Boot {
        bios: loader.bios.map(|(path, core, hybrid)| Bios { path, core, hybrid }),
        esp: loader.esp,
    }
}

fn warnings(loader: &Loader) -> Vec<String> {
    let missing = [
        (
            loader.bios.is_none(),
            "BIOS: its packages do not have GRUB's modules for i386-pc, and grub-mkimage",
        ),
        (loader.esp.is_empty(), "UEFI: its packages have no GRUB for it"),
    ];
    let missing = missing.into_iter().filter(|(is_missing, _)| *is_missing);
    missing
        .map(|(_, what)| format!("the medium does not start on {what}"))
        .collect()
}

/// Returns what the installer is told, if the medium installs something.
fn plan(context: &Context<'_>) -> Option<String> {
    let (payload, template) = (context.request.payload.as_ref()?, &context.loaded().template);
    let installation = &template.disk.installation;
    let selection = installation.selection;
    let plan = Plan {
        name: &template.image.name,
        image: PAYLOAD,
        size_bytes: payload.size_bytes,
        path: installation.path.as_deref(),
        strategy: selection.map(|selection| selection.strategy.word()),
        exclude_removable: selection.is_none_or(|selection| selection.exclude_removable),
        require_empty: selection.is_none_or(|selection| selection.require_empty),
    };
    serde_json::to_string_pretty(&plan).ok()
}
