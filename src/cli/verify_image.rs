//! `oic verify-image`.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::manifest::{self, Deviation, MANIFEST_BYTES_MAX, Manifest};

use super::Format;
use super::environment;
use super::error::{CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::tree;

/// Compare every file of an image with the manifest that its build wrote; exit code 1 if any differs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic verify-image image.raw image.manifest.json             every file is read and compared
  oic verify-image image.qcow2 image.manifest.json --unvouched
                                                             and what neither a package nor the template vouches for

Exit codes: 0 the image is that of the manifest, 1 it is not (or failed), 2 wrong use.")]
pub struct VerifyImageArgs {
    /// Disk image, or a directory with a system
    #[arg(value_hint = ValueHint::AnyPath)]
    image: PathBuf,
    /// The manifest, NAME.manifest.json beside the image
    #[arg(value_hint = ValueHint::FilePath)]
    manifest: PathBuf,
    /// Also list the files that nothing vouches for
    #[arg(long)]
    unvouched: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    files: usize,
    deviations: &'a [Deviation],
    unvouched: Vec<&'a str>,
}

/// Verifies and prints.
pub fn run(args: &VerifyImageArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::failed(format!("{}: {error}", args.manifest.display()));
    let file = std::fs::File::open(&args.manifest).map_err(|error| failed(&error))?;
    let mut text = Vec::new();
    file.take(MANIFEST_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|error| failed(&error))?;
    let manifest = Manifest::from_json(&text).map_err(|error| failed(&error))?;
    let layer = tree::open(&args.image, None)?;
    let threads = environment::processors();
    let deviations = manifest::verify(&*layer, &manifest, threads, &interrupt.cancel())
        .map_err(|error| CommandError::failed(format!("{}: {error}", args.image.display())))?;
    let unvouched: Vec<&str> = manifest.unvouched().map(|entry| entry.path.as_str()).collect();
    match args.format {
        Format::Json => print_versioned(&Report {
            files: manifest.files.len(),
            deviations: &deviations,
            unvouched,
        })?,
        Format::Text => {
            for Deviation { path, what } in &deviations {
                print_line(&format!("{path}: {what}"))?;
            }
            let count = unvouched.len();
            if args.unvouched {
                unvouched
                    .iter()
                    .try_for_each(|path| print_line(&format!("{path}: nothing vouches for it")))?;
            }
            print_line(&format!(
                "{} files, {} differences; nothing vouches for {count} files",
                manifest.files.len(),
                deviations.len()
            ))?;
        }
    }
    match deviations.len() {
        0 => Ok(()),
        count => Err(CommandError::verdict(
            1,
            "different",
            format!("{count} files are not those of the manifest"),
        )),
    }
}
