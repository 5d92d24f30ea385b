//! `additionalFiles`: files of the build host, of servers, or of the program itself, in the image.

use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::ownership::Homes;
use super::{ConfigureError, Context};
use crate::cache;
use crate::durable::{self, PathError};
use crate::model::{AdditionalFile, FileSource};
use crate::root::Root;

/// Permission bits of files that have no host file to take them from.
pub(super) const EMBEDDED_MODE: u32 = 0o644;

/// Where users have their home directories, as a rule.
const HOMES: &str = "/home";

/// Copies everything that `source` gives to `destination` in the image: owned by root, with permission bits `mode`.
/// Missing directories are made with mode 0755.
///
/// # Errors
/// If the source cannot be read or the destination cannot be written.
pub fn copy_file(root: &Root, source: impl Read, mode: u32, destination: &str) -> Result<(), PathError> {
    root.copy_in(destination, source, mode)
}

/// Copies the template's files, in its order.
pub(super) fn copy_all(context: &Context<'_>) -> Result<(), ConfigureError> {
    let homes = Homes::read(context)?;
    for file in &context.request.template.system.additional_files {
        context.work.cancel.check()?;
        copy(context, &homes, file)?;
    }
    Ok(())
}

fn copy(context: &Context<'_>, homes: &Homes, file: &AdditionalFile) -> Result<(), ConfigureError> {
    let fail = |reason: String| ConfigureError::File {
        local: match &file.source {
            FileSource::Host(path) => path.clone(),
            FileSource::Link(target) => target.clone(),
            FileSource::Embedded(_) => "a file that came with oic".into(),
            FileSource::Text(_) => "content".into(),
            FileSource::Fetched(url, _) => url.into(),
            FileSource::Directory => "directory".into(),
        },
        destination: file.destination.clone(),
        reason,
    };
    if !file.destination.starts_with('/') || file.destination.ends_with('/') {
        return Err(fail("the destination is not the absolute path of a file".to_owned()));
    }
    let path = Path::new(&file.destination);
    let owner = homes.owner(path, file.owner.as_deref()).map_err(fail)?;
    if owner.is_none() && path.starts_with(HOMES) {
        let destination = &file.destination;
        context.work.progress.note(&format!(
            "{destination} belongs to root: no user of the image has a home directory above it"
        ));
    }
    let made = homes.make_directories(&context.root, path);
    made.map_err(|e| fail(e.source.to_string()))?;
    let plain = file.mode_of(EMBEDDED_MODE);
    let copied = match &file.source {
        FileSource::Link(target) => {
            let made = context.root.symlink(target, path);
            return made.map_err(|e| fail(e.source.to_string()));
        }
        FileSource::Directory => make_directory(&context.root, file),
        FileSource::Embedded(contents) => copy_file(&context.root, *contents, plain, &file.destination),
        FileSource::Text(text) => copy_file(&context.root, text.as_bytes(), plain, &file.destination),
        FileSource::Fetched(_, sha256) => {
            let kept = cache::file_path(context.request.package_cache, *sha256);
            let source = durable::open_regular(&kept).map_err(|e| fail(e.to_string()))?;
            copy_file(&context.root, source, plain, &file.destination)
        }
        FileSource::Host(path) => {
            let source = durable::open_regular(path).map_err(|e| fail(e.to_string()))?;
            let metadata = source.metadata().map_err(|e| fail(e.to_string()))?;
            let mode = file.mode_of(metadata.permissions().mode());
            copy_file(&context.root, source, mode, &file.destination)
        }
    };
    let owned = copied.and_then(|()| owner.map_or(Ok(()), |owner| context.root.set_owner(path, owner)));
    owned.map_err(|e| fail(e.source.to_string()))
}

/// Makes sure that a directory exists, and has the mode that the template gives it.
fn make_directory(root: &Root, file: &AdditionalFile) -> Result<(), PathError> {
    root.create_directory(&file.destination)?;
    file.mode.map_or(Ok(()), |mode| root.set_mode(&file.destination, mode))
}
