//! Images without a disk: an archive of the tree.

use crate::boot::kernel;
use crate::image::archive::{self, Format, Inputs};
use crate::image::artifacts::{Beside, Body};
use crate::image::earlier::Earlier;
use crate::image::merged::Merged;
use crate::model::ImageType;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;

use super::medium;
use super::unified;
use super::written::Written;

/// An initrd of more bytes than this is worth a warning: a machine needs memory for its files and for the packed form.
const LARGE_BYTES: u64 = 1 << 30;

/// Writes the archive of `merged` that an image without a disk consists of, over an earlier one where one exists; no time
/// in it is later than `epoch_seconds`. `identifier` tells it from other archives.
///
/// # Errors
/// [`BuildError`]; for one, if the tree of an initrd has no kernel.
pub fn write(
    context: &Context<'_>,
    merged: &Merged,
    (identifier, epoch_seconds): (uuid::Uuid, u64),
    earlier: Option<Earlier>,
) -> Result<Written<'static>, BuildError> {
    let template = &context.loaded().template;
    let is_initrd = matches!(template.target.image_type, ImageType::Img | ImageType::Iso);
    let (mut beside, mut kernel) = (Vec::new(), None);
    if is_initrd {
        let wanted = template.system.kernel.version.as_deref();
        let (version, image) = kernel::newest(merged, template.target.arch, wanted)?;
        beside.push(Beside {
            name: format!("vmlinuz-{version}"),
            body: Body::Source(merged.file(&image)?),
        });
        kernel = Some((version, image));
    }
    let path = context.request.raw_path();
    let inputs = Inputs {
        merged,
        format: if is_initrd { Format::Cpio } else { Format::Tar },
        uuid: identifier,
        epoch_seconds,
    };
    let (summary, mut warnings) = archive::write(&path, inputs, earlier, context.work)?;
    if let Some((version, image)) = &kernel {
        let content = summary.tree.digest().to_string();
        beside.extend(unified::images(context, merged, (version, image), &content)?);
        if template.target.image_type == ImageType::Iso {
            let identity = (identifier, epoch_seconds, content.as_str());
            let (medium, told) = medium::image(context, merged, image, identity)?;
            beside.push(medium);
            warnings.extend(told);
        }
    }
    if is_initrd && summary.size_bytes > LARGE_BYTES {
        warnings.push(format!(
            "the initrd unpacks to {} MiB, and a machine needs more memory than that to boot it",
            summary.size_bytes >> 20
        ));
    }
    Ok(Written {
        path,
        summary,
        beside,
        warnings,
    })
}
