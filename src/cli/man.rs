//! `oic man`.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, ValueEnum, ValueHint};

use crate::durable::PathError;

use super::error::{CommandError, print_line};
use super::{Cli, reference};

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic man | man -l -                         read the first page
  oic man ./man1                             one page for each command
  oic man --format markdown                  everything as one document")]
pub struct ManArgs {
    /// Directory to write the pages to [default: the first page goes to standard output]
    #[arg(value_hint = ValueHint::DirPath, conflicts_with = "format")]
    directory: Option<PathBuf>,
    /// Format of the text on standard output
    #[arg(long, value_enum, default_value = "roff")]
    format: ManFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ManFormat {
    /// For man(1).
    Roff,
    /// docs/cli-reference.md.
    Markdown,
}

/// Writes the pages.
pub fn run(args: &ManArgs) -> Result<(), CommandError> {
    if args.format == ManFormat::Markdown {
        return print_line(reference::markdown().trim_end());
    }
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(CommandError::failed)?;
        return print_line(String::from_utf8_lossy(&page).trim_end());
    };
    fs::create_dir_all(directory)
        .map_err(PathError::on("create", directory))
        .map_err(CommandError::failed)?;
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(PathError::on("write the manual pages to", directory))
        .map_err(CommandError::failed)
}
