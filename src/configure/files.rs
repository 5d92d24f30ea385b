//! `additionalFiles`: files of the build host, or of the program itself, in the image.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;

use super::{ConfigureError, Context};
use crate::durable::PathError;
use crate::root::Root;
use crate::template::model::{AdditionalFile, FileSource};

/// Permission bits of files that have no host file to take them from.
const EMBEDDED_MODE: u32 = 0o644;

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
        local: match &file.source {
            FileSource::Host(path) => path.clone(),
            FileSource::Embedded(_) => "a file that came with oic".into(),
        },
        destination: file.destination.clone(),
        reason,
    };
    if !file.destination.starts_with('/') || file.destination.ends_with('/') {
        return Err(fail("the destination is not the absolute path of a file".to_owned()));
    }
    let copied = match &file.source {
        FileSource::Embedded(contents) => copy_file(&context.root, *contents, EMBEDDED_MODE, &file.destination),
        FileSource::Host(path) => {
            let source = File::open(path).map_err(|e| fail(e.to_string()))?;
            let metadata = source.metadata().map_err(|e| fail(e.to_string()))?;
            if !metadata.is_file() {
                return Err(fail("it is not a regular file".to_owned()));
            }
            copy_file(&context.root, source, metadata.permissions().mode(), &file.destination)
        }
    };
    copied.map_err(|e| fail(e.source.to_string()))
}
