//! `oic debug`: files of oic as text, for those who look into a problem.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::durable::PathError;
use crate::snapshot::foreign::{self, PrepareOptions};
use crate::snapshot::{SnapshotError, dump};

use super::error::CommandError;

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
pub fn run(args: &DebugArgs) -> Result<(), CommandError> {
    let What::Snapshot { file } = &args.what;
    let failed = |error: SnapshotError| CommandError::failed(&error).hint(error.hint());
    let mut out = BufWriter::new(io::stdout().lock());
    let dumped = if foreign::is_tarball(file) {
        let directory = tempfile::tempdir().map_err(CommandError::failed)?;
        let index = directory.path().join("index");
        foreign::index_tarball(file, &index, &PrepareOptions::default()).map_err(failed)?;
        dump::dump(&index, &mut out)
    } else {
        dump::dump(file, &mut out)
    };
    let flushed = dumped.and_then(|()| Ok(out.flush().map_err(PathError::on("write", "standard output"))?));
    match flushed {
        // Whoever read it has seen enough.
        Err(SnapshotError::Path(error)) if error.source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(failed),
    }
}
