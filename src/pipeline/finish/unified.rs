//! Unified kernel images of an initrd image: one program that firmware starts from a network (PXE, HTTP boot).

use std::path::{Path, PathBuf};

use crate::boot::{self, uki};
use crate::durable::PathError;
use crate::image::ImageError;
use crate::image::artifacts::{self, Beside, Body};
use crate::image::host::HostDirectory;
use crate::image::merged::Merged;
use crate::model::{Artifact, ArtifactFormat};
use crate::package::{Arch, Sha256};
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::request;
use crate::work::Work;

/// Lists the unified kernel images among the artifacts of the build, made of `kernel` (version and path in `merged`) and
/// of the initrds that are delivered with them. `content` is the digest of the tree.
///
/// # Errors
/// [`BuildError`] if the tree lacks a part of them.
pub fn images(
    context: &Context<'_>,
    merged: &Merged,
    (version, image): (&str, &Path),
    content: &str,
) -> Result<Vec<Beside<'static>>, BuildError> {
    let (request, template) = (context.request, &context.loaded().template);
    let mut images: Vec<Beside<'static>> = Vec::new();
    let (stem, line) = (request.output_name(), &template.system.kernel.command_line);
    for artifact in request.artifacts() {
        let name = artifacts::file_name(&stem, &artifact);
        if artifact.format != ArtifactFormat::Uki || images.iter().any(|image| image.name == name) {
            continue;
        }
        let arch = template.target.arch;
        let parts = boot::parts_without_initrd(merged, arch, line, (version, image))?;
        let initrd = artifacts::file_name(&stem, &request::initrd_of(&artifact));
        let initrd = request.image_build().directory().join(initrd);
        let make = move |target: &Path, work: Work<'_>| {
            let image = unified(arch, parts.clone(), &initrd)?;
            artifacts::from_source(&image, target, work)
        };
        images.push(Beside {
            name,
            body: Body::Late(identity(&artifact, content, line), Box::new(make)),
        });
    }
    Ok(images)
}

/// Joins `parts` with the initrd at the path `initrd`.
fn unified(arch: Arch, parts: uki::Parts, initrd: &PathBuf) -> Result<crate::image::content::Source, ImageError> {
    let (directory, name) = (initrd.parent(), initrd.file_name().and_then(|name| name.to_str()));
    let missing = || PathError::on("open", initrd)(std::io::ErrorKind::NotFound.into());
    let (directory, name) = directory.zip(name).ok_or_else(missing)?;
    let initrd = HostDirectory::open(directory)?.file(name)?;
    let joined = uki::build(arch, uki::Parts { initrd, ..parts });
    Ok(joined.map_err(|error| PathError::on("make a program of", name)(std::io::Error::other(error)))?)
}

/// Computes the digest of all that decides about the bytes of `artifact`.
fn identity(artifact: &Artifact, content: &str, line: &str) -> Sha256 {
    Sha256::of(format!("{} {artifact:?} {content} {line}", env!("CARGO_PKG_VERSION")))
}
