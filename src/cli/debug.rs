//! `oic debug`: files of oic as text, for the search for a problem.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::durable::{PathError, ScratchDir};
use crate::snapshot::foreign::{self, PrepareOptions};
use crate::snapshot::{SnapshotError, dump};

use super::error::CommandError;
use super::interrupt::Interrupt;

const EXAMPLES: &str = "\
Examples:
  oic debug snapshot chrootenv.tar.gz | less";

/// Show what is inside oic's own files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DebugArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print a snapshot or any tarball: its tree with metadata and digests, and the members it is unpacked by
    #[command(after_help = EXAMPLES)]
    Snapshot {
        /// Snapshot (chrootenv.tar.gz), its index (chrootenv.idx), or a .tar, .tar.gz or .tar.zst from elsewhere
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Prints the file.
pub fn run(args: &DebugArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let What::Snapshot { file } = &args.what;
    let mut out = BufWriter::new(io::stdout().lock());
    let dumped = match foreign::Kind::of(file) {
        foreign::Kind::Tarball => {
            let options = PrepareOptions {
                cancel: interrupt.cancel(),
                ..PrepareOptions::default()
            };
            let directory = ScratchDir::create_in(&std::env::temp_dir())?;
            let index = directory.path().join("index");
            foreign::index_tarball(file, &index, &options)?;
            dump::dump(&index, &mut out)
        }
        foreign::Kind::Other(problem) => Err(problem),
        foreign::Kind::Unknown => dump::dump(file, &mut out),
    };
    let flushed = dumped.and_then(|()| Ok(out.flush().map_err(PathError::on("write", "standard output"))?));
    match flushed {
        // The reader has closed the pipe.
        Err(SnapshotError::Path(error)) if error.source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
