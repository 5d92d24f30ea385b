//! `oic cat`.

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::{Args, ValueHint};

use crate::overlay::layer::{Errno, FileKind};

use super::error::CommandError;
use super::interrupt::Interrupt;
use super::place::{PartitionArgs, Place};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Print a file of a disk image, without mounting it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic cat image.raw:/etc/os-release
  oic cat image.raw:/EFI/Linux/linux.efi --partition boot > linux.efi")]
pub struct CatArgs {
    /// Disk image, and the path of a file in it
    #[arg(value_name = "IMAGE:PATH", value_hint = ValueHint::FilePath)]
    place: OsString,
    #[command(flatten)]
    chosen: PartitionArgs,
}

/// Prints the bytes of the file, as they are.
pub fn run(args: &CatArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let place = Place::parse(&args.place);
    let layer = place.open(&args.chosen)?;
    let node = place.node(&*layer, true)?;
    let failed = |error| place.failed(&error);
    match layer.attributes(node).map_err(failed)?.kind {
        FileKind::Regular => {}
        FileKind::Directory => return Err(failed(Errno::ISDIR.into())),
        _ => return Err(failed(Errno::INVAL.into())),
    }
    let (mut buffer, mut offset, cancel) = (vec![0; PIECE_BYTES], 0, interrupt.cancel());
    let mut out = io::stdout().lock();
    loop {
        cancel.check()?;
        let count = layer.read_at(node, offset, &mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        match out.write_all(&buffer[..count]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| CommandError::failed(format!("cannot write: {error}")))?,
        }
        offset += count as u64;
    }
    out.flush()
        .map_err(|error| CommandError::failed(format!("cannot write: {error}")))
}
