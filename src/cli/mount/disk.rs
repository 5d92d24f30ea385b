//! `oic mount` of a disk image.

use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::disk::image::Image;
use crate::disk::system;
use crate::layers::{DISK, DiskRequest, LayerRequest};
use crate::mount::Label;
use crate::mount::server::Lifetime;
use crate::mount::session::{self, MountRequest};

use super::super::environment::Environment;
use super::super::error::CommandError;
use super::MountArgs;
use super::subject;

/// Returns whether the file at `path` is a disk image that can be mounted.
pub(super) fn is_image(path: &Path) -> bool {
    path.is_file() && Image::is_at(path)
}

/// Describes the image at `path`, if it is one.
///
/// # Errors
/// If the arguments ask for what an image does not have, or it has no such tree.
pub(super) fn subject(args: &MountArgs, path: &Path) -> Result<Option<DiskRequest>, CommandError> {
    if !is_image(path) {
        return match &args.partition {
            Some(_) => Err(CommandError::usage("--partition needs a disk image")),
            None => Ok(None),
        };
    }
    if args.image.is_some() || args.upper.is_some() || args.tmp_upper {
        return Err(CommandError::usage("a disk image is shown read-only, as it is"));
    }
    // The server opens it again; errors of the user are told here.
    let failed = |error: &dyn std::fmt::Display| CommandError::failed(format!("{}: {error}", path.display()));
    let image = Image::open(path).map_err(|error| failed(&error))?;
    system::open(&image, args.partition.as_deref()).map_err(|error| failed(&error))?;
    Ok(Some(DiskRequest {
        image: subject::real_path(path)?,
        partition: args.partition.clone(),
    }))
}

/// Mounts the image that `disk` names.
pub(super) fn mount(
    environment: &Environment,
    args: &MountArgs,
    disk: DiskRequest,
    cancel: &Cancel,
) -> Result<(), CommandError> {
    let at: PathBuf = match &args.mount_point {
        Some(path) => path.clone(),
        None => super::make_directory(subject::own_mount_point(environment, &disk.image)?)?,
    };
    let name = disk.image.display().to_string();
    let layers = LayerRequest {
        disk: Some(disk),
        ..LayerRequest::default()
    };
    let request = MountRequest {
        label: Label::new(&name, args.partition.as_deref()),
        allow_other: args.allow_other,
        lifetime: if args.foreground {
            Lifetime::Caller
        } else {
            Lifetime::Mount
        },
        ..MountRequest::view(layers, DISK)
    };
    let session = session::mount(&request, &at)?;
    super::keep(args, session, &at, cancel)
}
