//! `oic cp`: files out of a disk image. The image is hostile: everything that is made is new, so that no name of the image
//! leads through a link that another name of it has made.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueHint};

use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::overlay::layer::{Attributes, FileKind, Layer, LayerError, NodeId, Timestamp};

use super::error::{CommandError, tell};
use super::interrupt::Interrupt;
use super::place::{PartitionArgs, Place};

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 1 << 20;
/// The deepest directory that is copied; paths of the host end at 4,096 bytes anyway.
const DEPTH_MAX: usize = 2000;

/// Copy a file or a directory out of a disk image, without mounting it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic cp image.raw:/etc/os-release .
  oic cp image.raw:/etc etc-of-the-image   a directory with all that is below it
  oic cp image.raw:/vmlinuz kernel

Contents, permissions, times and symbolic links are kept. Files belong to the caller; set-id bits, devices and
attributes stay behind. Nothing that exists is overwritten.")]
pub struct CpArgs {
    /// Disk image, and the path in it
    #[arg(value_name = "IMAGE:PATH", value_hint = ValueHint::FilePath)]
    place: OsString,
    /// The copy, or an existing directory for it
    #[arg(value_hint = ValueHint::AnyPath)]
    destination: PathBuf,
    #[command(flatten)]
    chosen: PartitionArgs,
}

/// The tree that is copied from.
struct Source<'a> {
    layer: &'a dyn Layer,
    place: &'a Place,
    cancel: Cancel,
}

/// Copies.
pub fn run(args: &CpArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let place = Place::parse(&args.place);
    let layer = place.open(&args.chosen)?;
    let node = place.node(&*layer, true)?;
    let destination = match (args.destination.is_dir(), place.path.file_name()) {
        (true, Some(name)) => args.destination.join(name),
        _ => args.destination.clone(),
    };
    let source = Source {
        layer: &*layer,
        place: &place,
        cancel: interrupt.cancel(),
    };
    source.copy(node, &destination)
}

impl Source<'_> {
    /// Makes the error of reading the file whose copy is `to`.
    fn failed(&self, to: &Path, error: &LayerError) -> CommandError {
        let image = self.place.image.display();
        CommandError::failed(format!("{image}: cannot copy to {}: {error}", to.display()))
    }

    /// Copies `node` and all that is below it to `to`. Directories get their times when they are complete.
    fn copy(&self, node: NodeId, to: &Path) -> Result<(), CommandError> {
        let mut open = vec![(node, to.to_owned(), 0)];
        let mut directories = Vec::new();
        while let Some((node, to, depth)) = open.pop() {
            self.cancel.check()?;
            let attributes = self.layer.attributes(node).map_err(|error| self.failed(&to, &error))?;
            match attributes.kind {
                FileKind::Regular => self.file(node, &attributes, &to)?,
                FileKind::Symlink => self.link(node, &to)?,
                FileKind::Directory if depth < DEPTH_MAX => {
                    fs::create_dir(&to).map_err(PathError::on("create", &to))?;
                    let names = self.names(node, &to)?;
                    open.extend(names.into_iter().map(|(name, node)| (node, to.join(name), depth + 1)));
                    directories.push((attributes, to));
                }
                FileKind::Directory => tell(&format_args!("note: {} is too deep; it stays empty", to.display())),
                _ => tell(&format_args!(
                    "note: {} is left out: it is a device, a FIFO or a socket",
                    to.display()
                )),
            }
        }
        for (attributes, to) in directories.iter().rev() {
            let directory = File::open(to).map_err(PathError::on("open", to))?;
            finish(&directory, attributes, to)?;
        }
        Ok(())
    }

    fn names(&self, node: NodeId, to: &Path) -> Result<Vec<(OsString, NodeId)>, CommandError> {
        let mut names = Vec::new();
        let listed = self.layer.entries(node, 0, &mut |entry| {
            names.push((entry.name.to_owned(), entry.node));
            true
        });
        listed.map_err(|error| self.failed(to, &error))?;
        Ok(names)
    }

    fn link(&self, node: NodeId, to: &Path) -> Result<(), CommandError> {
        let target = self.layer.read_link(node).map_err(|error| self.failed(to, &error))?;
        let made = std::os::unix::fs::symlink(OsStr::from_bytes(&target), to);
        Ok(made.map_err(PathError::on("create", to))?)
    }

    /// Copies a file; its holes stay holes.
    fn file(&self, node: NodeId, attributes: &Attributes, to: &Path) -> Result<(), CommandError> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(to);
        let file = file.map_err(PathError::on("create", to))?;
        let size = attributes.size_bytes;
        file.set_len(size).map_err(PathError::on("write", to))?;
        let (mut buffer, mut offset) = (vec![0; PIECE_BYTES.min(size.max(1) as usize)], 0);
        while offset < size {
            self.cancel.check()?;
            offset = self
                .layer
                .next_data(node, offset)
                .map_err(|error| self.failed(to, &error))?;
            let count = self
                .layer
                .read_at(node, offset, &mut buffer)
                .map_err(|error| self.failed(to, &error))?;
            if count == 0 {
                break;
            }
            file.write_all_at(&buffer[..count], offset)
                .map_err(PathError::on("write", to))?;
            offset += count as u64;
        }
        finish(&file, attributes, to)
    }
}

/// Sets permissions, without set-id bits, and the time of modification.
fn finish(file: &File, attributes: &Attributes, path: &Path) -> Result<(), CommandError> {
    let times = FileTimes::new().set_modified(time(attributes.modified));
    file.set_times(times).map_err(PathError::on("set the time of", path))?;
    let permissions = Permissions::from_mode(attributes.permissions & 0o777);
    Ok(file
        .set_permissions(permissions)
        .map_err(PathError::on("set the mode of", path))?)
}

fn time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = match time.seconds < 0 {
        true => UNIX_EPOCH.checked_sub(seconds),
        false => UNIX_EPOCH.checked_add(seconds),
    };
    let nanoseconds = Duration::from_nanos(time.nanoseconds.into());
    whole
        .and_then(|whole| whole.checked_add(nanoseconds))
        .unwrap_or(UNIX_EPOCH)
}
