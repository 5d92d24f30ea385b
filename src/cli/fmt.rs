//! `oic fmt`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use clap::{Args, ValueHint};

use crate::durable::{AtomicFile, PathError};
use crate::yaml::{self, Findings};

use super::error::{CommandError, print_data, print_line};
use super::interrupt::Interrupt;

/// Bring templates into the usual form; comments stay
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic fmt my-template.yml             two spaces for each level, and the same everywhere
  oic fmt --check templates/*.yml     exit code 1, with the names of those that have another form
  oic fmt - < t.yml > formatted.yml   from standard input to standard output

Values and comments stay as they are. A file that is no YAML is refused, and stays as it is.")]
pub struct FmtArgs {
    /// Template files, or - for standard input
    #[arg(value_hint = ValueHint::FilePath, required = true)]
    template: Vec<OsString>,
    /// Write nothing, and end with exit code 1 if a file has another form
    #[arg(long)]
    check: bool,
}

/// Formats all files. What is wrong with one does not keep the others from being formatted.
pub fn run(args: &FmtArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let (mut others, mut wrong) = (Vec::new(), Findings::new());
    for template in &args.template {
        match one(template, args.check, interrupt) {
            Ok(true) => others.push(template.to_string_lossy().into_owned()),
            Ok(false) => {}
            Err(Failure::Text(findings)) => wrong.extend(findings),
            Err(Failure::Command(error)) => return Err(error),
        }
    }
    if wrong.has_errors() {
        return Err(CommandError::findings("not all files can be formatted", &wrong));
    }
    match (args.check, others.is_empty()) {
        (true, false) => Err(CommandError::verdict(1, "not in the usual form", others.join(", "))),
        _ => others
            .iter()
            .filter(|name| *name != "-")
            .try_for_each(|name| print_line(&format!("{name}: formatted"))),
    }
}

/// Why a file was not formatted.
enum Failure {
    /// Something is wrong with its text.
    Text(Findings),
    /// The command cannot go on.
    Command(CommandError),
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::Command(error.into())
    }
}

/// Formats one file, or only checks its form; returns whether it had another one.
fn one(template: &OsStr, check: bool, interrupt: &Interrupt) -> Result<bool, Failure> {
    let is_stream = template == "-";
    let source = match is_stream {
        true => yaml::read_stream(Path::new("standard input"), std::io::stdin().lock()),
        false => yaml::read_source(Path::new(template)),
    };
    let source = source.map_err(Failure::Text)?;
    let formatted = yaml::format(&source).map_err(Failure::Text)?;
    let is_other = formatted != source.text;
    match (check, is_stream) {
        (true, _) => {}
        (false, true) => print_data(formatted.strip_suffix('\n').unwrap_or(&formatted)).map_err(Failure::Command)?,
        (false, false) if is_other => {
            // A signal does not cut the writing short: it takes effect behind it.
            let cancel = interrupt.cancel();
            replace(Path::new(template), &formatted)?;
            cancel.check().map_err(|cancelled| Failure::Command(cancelled.into()))?;
        }
        (false, false) => {}
    }
    Ok(is_other)
}

/// Replaces the text of the file `path`, which keeps its mode and its owner.
fn replace(path: &Path, text: &str) -> Result<(), PathError> {
    let real = path.canonicalize().map_err(PathError::on("find", path))?;
    let before = fs::metadata(&real).map_err(PathError::on("look at", path))?;
    let mut new = AtomicFile::create(&real)?;
    let file = new.file();
    let written = file.write_all(text.as_bytes());
    // Only root needs to, and may.
    let owned = match file.metadata().map(|own| (own.uid(), own.gid())) {
        Ok(own) if own != (before.uid(), before.gid()) => fchown(&*file, Some(before.uid()), Some(before.gid())),
        _ => Ok(()),
    };
    let set = written
        .and(owned)
        .and_then(|()| file.set_permissions(before.permissions()));
    set.map_err(PathError::on("write", path))?;
    new.commit().map(drop)
}
