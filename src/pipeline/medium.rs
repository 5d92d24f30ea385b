//! Builds of media: a medium that installs a system needs that system's disk image first.
//!
//! Both builds are of one template, so they share the base and the layers of packages.

use crate::model::{Artifact, ArtifactFormat, Compression, ImageType, Template};
use crate::pipeline::build::build_image;
use crate::pipeline::error::BuildError;
use crate::pipeline::report::BuildReport;
use crate::pipeline::request::{BuildRequest, Payload};
use crate::pipeline::shared::Shared;
use crate::work::Work;

/// What the name of the build of an installed system ends with.
const INSTALLED: &str = "-installed";
/// The size of a disk image that is to be installed, in bytes, if the template gives none. The installer gives the last
/// partition the rest of the disk.
const SIZE_BYTES: u64 = 4 << 30;

/// Builds the image of `request`. The caller is root, and in a mount namespace
/// of its own ([`crate::mount::namespace::enter_private`]).
///
/// # Errors
/// As [`build_image`].
pub fn build(request: &BuildRequest, work: Work<'_>) -> Result<BuildReport, BuildError> {
    build_one(request, &Shared::among(1), work)
}

/// Does the same as [`build`], with what other builds of the same call have found out.
///
/// # Errors
/// As there.
pub fn build_one(request: &BuildRequest, shared: &Shared, work: Work<'_>) -> Result<BuildReport, BuildError> {
    let template = &request.loaded().template;
    if template.target.image_type != ImageType::Iso {
        return build_image(request, shared, work);
    }
    let mut medium = request.clone();
    if template.installs() {
        let mut installed = request.clone();
        installed.selecting.loaded.template = installed_by(template);
        let report = build_image(&installed, shared, work)?;
        medium.payload = report.artifacts.first().map(|image| Payload {
            image: image.clone(),
            size_bytes: report.image.size_bytes,
            digest: report.image.digest.to_string(),
        });
    }
    // A verified root is for a disk.
    medium.selecting.loaded.template.system.immutable = false;
    build_image(&medium, shared, work)
}

/// Returns the template of the system that a medium of `template` installs.
fn installed_by(template: &Template) -> Template {
    let mut installed = template.clone();
    installed.target.image_type = ImageType::Raw;
    installed.system.name.push_str(INSTALLED);
    installed.disk.size_bytes = installed.disk.size_bytes.or(Some(SIZE_BYTES));
    installed.disk.artifacts = vec![Artifact {
        format: ArtifactFormat::Raw,
        compression: Some(Compression::Zstd),
        level: None,
    }];
    installed
}
