//! Files that a command writes for the user to edit.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::durable::{PathError, TEMPORARY_PREFIX};

use super::error::CommandError;

/// Says whether the name of `file` is one that oic reads YAML from.
pub fn is_yaml(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "yml" || extension == "yaml")
}

/// Writes `text` to `file`, with the permissions `mode`. It never follows a symbolic link, never replaces a directory,
/// and replaces a file only with `force`, as a whole.
///
/// # Errors
/// If the file is there already and `force` is not given, or it cannot be written.
pub fn write(file: &Path, text: &str, mode: u32, force: bool) -> Result<(), CommandError> {
    place(file, text, mode, force).map_err(|error| match error.source.kind() {
        ErrorKind::AlreadyExists => {
            let error = CommandError::failed(format!("{} is there already", file.display()));
            error.hint(Some("choose another name, or replace it with --force"))
        }
        _ => error.into(),
    })
}

fn place(file: &Path, text: &str, mode: u32, force: bool) -> Result<(), PathError> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(PathError::on("write to", directory))?;
    // The file itself: what is around it would hide the error's number.
    let content = temporary.as_file_mut();
    content
        .write_all(text.as_bytes())
        .and_then(|()| content.sync_all())
        .map_err(PathError::on("write", file))?;
    let placed = if force {
        temporary.persist(file)
    } else {
        temporary.persist_noclobber(file)
    };
    placed
        .map(drop)
        .map_err(|error| PathError::on("create", file)(error.error))
}
