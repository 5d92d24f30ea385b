//! Container images: the layers of the build in an archive.

use crate::image::artifacts::{self, Beside, Body};
use crate::image::merged::Merged;
use crate::image::oci::{self, Inputs};
use crate::model::{Artifact, ArtifactFormat};
use crate::pipeline::context::Context;

/// Lists the container images among the artifacts of the build, made of the layers of `merged` when they are written.
/// `content` tells the contents of the image from others, `epoch_seconds` is the time of its making.
pub fn images<'a>(context: &Context<'a>, merged: &'a Merged, (content, epoch_seconds): (&str, u64)) -> Vec<Beside<'a>> {
    let request = context.request;
    let mut images: Vec<Beside<'a>> = Vec::new();
    let wanted = request.artifacts().into_iter();
    for artifact in wanted.filter(|artifact| artifact.format == ArtifactFormat::Oci) {
        let name = artifacts::file_name(&request.output_name(), &artifact);
        if images.iter().all(|image| image.name != name) {
            let inputs = inputs(context, merged, &artifact, epoch_seconds);
            let identity = inputs.identity(content);
            let make = move |target: &std::path::Path, work: crate::work::Work<'_>| oci::write(target, inputs, work);
            images.push(Beside {
                name,
                body: Body::Made(identity, Box::new(make)),
            });
        }
    }
    images
}

fn inputs<'a>(context: &Context<'a>, merged: &'a Merged, artifact: &Artifact, epoch_seconds: u64) -> Inputs<'a> {
    let template = &context.request.loaded().template;
    let level = |method: crate::model::Compression| artifact.level.unwrap_or(method.default_level());
    Inputs {
        layers: merged.overlay().layers(),
        container: &template.container,
        arch: template.target.arch,
        reference: &template.image.version,
        epoch_seconds,
        compression: artifact.compression.map(|method| (method, level(method))),
    }
}
