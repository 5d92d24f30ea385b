//! `oic debug`: files of oic as text, for those who look into a problem.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};

use crate::durable::PathError;
use crate::snapshot::{SnapshotError, dump, rebuild_index};

use super::error::CommandError;

/// How a gzip file starts (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

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
    /// Print a snapshot: its tree with metadata and digests, and its gzip members
    #[command(after_help = EXAMPLES)]
    Snapshot {
        /// Snapshot (chrootenv.tar.gz) or its index (chrootenv.idx)
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Prints the file.
pub fn run(args: &DebugArgs) -> Result<(), CommandError> {
    let What::Snapshot { file } = &args.what;
    let failed = |error: SnapshotError| CommandError::failed(&error).hint(error.hint());
    let mut out = BufWriter::new(io::stdout().lock());
    let dumped = if is_gzip(file)? {
        let directory = tempfile::tempdir().map_err(CommandError::failed)?;
        let index = directory.path().join("index");
        rebuild_index(file, &index).map_err(failed)?;
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

fn is_gzip(path: &Path) -> Result<bool, CommandError> {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(CommandError::failed(PathError::on("read", path)(error)))
        }
        _ => Ok(start == GZIP_MAGIC),
    }
}
