//! `oic digest`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::image::digest::{self, Digest};
use crate::work::Work;

use super::environment::processors;
use super::error::{CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::{Format, progress};

/// Compute the digest of an image, as the report of its build gives it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic digest image.raw                  64 hexadecimal digits, and the name
  oic digest image.raw --format json    for machines

It is the fs-verity digest (SHA-256, blocks of 4096 bytes, no salt), which `fsverity digest` computes too. Holes are not
read, so the time depends on the data in the file, not on its size. For the SHA-256 of all bytes: sha256sum.")]
pub struct DigestArgs {
    /// Files or block devices
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    files: Vec<PathBuf>,
    /// Number of threads [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// How the digests are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Report {
    files: Vec<Hashed>,
}

#[derive(Serialize)]
struct Hashed {
    path: PathBuf,
    size_bytes: u64,
    digest: Digest,
}

/// Hashes the files in their order, and prints.
pub fn run(args: &DigestArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let (progress, cancel) = (progress::for_stderr(), interrupt.cancel());
    let jobs = args.jobs.and_then(|jobs| usize::try_from(jobs).ok());
    let work = Work {
        progress: &*progress,
        cancel: &cancel,
        threads: jobs.unwrap_or_else(processors),
    };
    let mut files = Vec::new();
    for path in &args.files {
        let tree = digest::of_file(path, work).map_err(CommandError::failed)?;
        let digest = tree.digest();
        if args.format == Format::Text {
            print_line(&format!("{digest}  {}", path.display()))?;
        }
        files.push(Hashed {
            path: path.clone(),
            size_bytes: tree.size_bytes(),
            digest,
        });
    }
    match args.format {
        Format::Text => Ok(()),
        Format::Json => print_versioned(&Report { files }),
    }
}
