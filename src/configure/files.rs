//! `additionalFiles`: files of the build host, or of the program itself, in the image.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;

use super::{ConfigureError, Context};
use crate::durable::PathError;
use crate::root::Root;
use crate::template::model::AdditionalFile;

/// Copies everything that `source` gives to `destination` in the image: owned by root, with
/// permission bits `mode`; missing directories are made with mode 0755.
///
/// # Errors
/// If the source cannot be read or the destination cannot be written.
pub fn copy_file(root: &Root, source: impl Read, mode: u32, destination: &str) -> Result<(), PathError> {
    root.copy_in(destination, source, mode)
}

/// Copies the template's files, in its order.
pub(super) fn copy_all(context: &Context<'_>) -> Result<(), ConfigureError> {
    for file in &context.request.template.system.additional_files {
        context.cancel.check()?;
        copy(context, file)?;
    }
    Ok(())
}

fn copy(context: &Context<'_>, file: &AdditionalFile) -> Result<(), ConfigureError> {
    let fail = |reason: String| ConfigureError::File {
        local: file.local.clone(),
        destination: file.destination.clone(),
        reason,
    };
    let source = File::open(&file.local).map_err(|e| fail(e.to_string()))?;
    let metadata = source.metadata().map_err(|e| fail(e.to_string()))?;
    if !metadata.is_file() {
        return Err(fail("it is not a regular file".to_owned()));
    }
    if !file.destination.starts_with('/') || file.destination.ends_with('/') {
        return Err(fail("the destination is not the absolute path of a file".to_owned()));
    }
    copy_file(&context.root, source, metadata.permissions().mode(), &file.destination)
        .map_err(|e| fail(e.source.to_string()))
}
