//! `oic sbom`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};

use crate::disk::walk;
use crate::durable;
use crate::overlay::layer::Layer;
use crate::sbom::{self, Build, Form, Subject};

use super::environment::{self, Environment};
use super::error::{CommandError, print_data};
use super::interrupt::Interrupt;
use super::place::PartitionArgs;
use super::{GlobalOptions, lock, tree};

/// The form of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// SPDX 2.3.
    Spdx,
    /// CycloneDX 1.6.
    Cyclonedx,
}

/// Make a software bill of materials of a disk image: packages, licences, origins
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic sbom image.raw                                SPDX 2.3 as JSON, of any image
  oic sbom image.qcow2 --format cyclonedx -o a.json
  oic sbom image.raw --lock image.lock.json         with origins and digests of the packages
  oic sbom /mnt --files                             of a directory, with all files and their digests")]
pub struct SbomArgs {
    /// Disk image, or a directory with a system
    #[arg(value_hint = ValueHint::AnyPath)]
    image: PathBuf,
    /// The form of the document
    #[arg(long, value_enum, default_value = "spdx")]
    format: Format,
    /// Also list all files with their digests, which reads all of them
    #[arg(long)]
    files: bool,
    /// Lockfile of the build that made the image: tells origins and digests of packages, and what else was installed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    lock: Option<PathBuf>,
    /// Write it to this file [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    #[command(flatten)]
    chosen: PartitionArgs,
}

/// Makes the bill and prints it.
pub fn run(global: &GlobalOptions, args: &SbomArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let layer = tree::open(&args.image, args.chosen.partition.as_deref())?;
    let lockfile = args.lock.as_deref().map(lock::read).transpose()?;
    let build = lockfile.as_ref().map(|lockfile| Build { lockfile, stated: &[] });
    let given = Environment::load(global, None)?.source_date_epoch()?;
    let subject = Subject {
        name: &tree::name(&args.image),
        version: "",
        epoch_seconds: given.unwrap_or_else(|| newest(&*layer)),
        build: build.as_ref(),
        with_files: args.files,
        threads: environment::processors(),
    };
    let bill = sbom::bill(&*layer, &subject)
        .map_err(|error| CommandError::failed(format!("{}: {error}", args.image.display())))?;
    interrupt.cancel().check()?;
    let document = bill.document(match args.format {
        Format::Spdx => Form::Spdx,
        Format::Cyclonedx => Form::CycloneDx,
    });
    match &args.output {
        Some(path) => durable::write_public_file(path, document).map_err(CommandError::failed),
        None => print_data(String::from_utf8_lossy(&document).trim_end()),
    }
}

/// Returns the time of the last change of the database of packages, in seconds since 1970: without a clock, the time that
/// a bill of a finished image was true at. 0 if there is none.
fn newest(layer: &dyn Layer) -> u64 {
    let database = crate::installed::Database::read(layer).unwrap_or_default();
    let node = walk::find(layer, Path::new(database.path), true);
    let attributes = node.and_then(|node| layer.attributes(node));
    let seconds = attributes.map_or(0, |attributes| attributes.modified.seconds);
    u64::try_from(seconds).unwrap_or_default()
}
