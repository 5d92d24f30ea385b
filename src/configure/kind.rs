//! What only an image without a disk needs: the first program of an initrd.

use super::{ConfigureError, Context};
use crate::model::ImageType;

/// The program that the kernel starts in an initrd (`rdinit=`, kernel parameters).
const INIT: &str = "/init";
/// The first process of a system.
const SYSTEM_INIT: &str = "/sbin/init";

/// Writes the files of the image's kind.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    match context.request.template.target.image_type {
        ImageType::Img => link_init(context),
        ImageType::Raw | ImageType::Iso | ImageType::Wsl2 => Ok(()),
    }
}

/// Makes the system's init the first program, unless the image has one of its own.
fn link_init(context: &Context<'_>) -> Result<(), ConfigureError> {
    let root = &context.root;
    let is_own = root.is_spared(INIT) || root.exists(INIT)? || root.read_link(INIT)?.is_some();
    if !is_own && root.exists(SYSTEM_INIT)? {
        root.symlink(SYSTEM_INIT.trim_start_matches('/'), INIT)?;
    }
    Ok(())
}
