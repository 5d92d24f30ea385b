//! `oic diff`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::diff::{self, Action, Aspect, Change, Difference};
use crate::overlay::layer::FileKind;
use crate::snapshot::{Snapshot, SnapshotPaths};
use crate::terminal;
use crate::workspace::Workspace;

use super::environment::Environment;
use super::error::{AS_ROOT, CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::{Format, GlobalOptions, mount, words};

/// Show what a build added to, changed in and removed from the base
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic diff debian-debian13-x86_64 minimal                   what the last build of it changed
  oic diff debian-debian13-x86_64 minimal --format json     for machines

A is added, M changed (in what stands in parentheses), D removed, with all that was below it.
Reading an upper needs root.")]
pub struct DiffArgs {
    /// Provider id ({os}-{dist}-{arch}), template file, or the name of a template that oic brings
    #[arg(value_name = "PROVIDER_ID")]
    provider: std::ffi::OsString,
    /// systemConfig.name of the template
    #[arg(value_name = "SYSTEM_CONFIG")]
    system_config: String,
    /// How the changes are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Compares and prints.
pub fn run(global: &GlobalOptions, args: &DiffArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let provider = mount::provider_id(&environment, &args.provider)?;
    let workspace = Workspace::new(&environment.cache_dir(), &environment.work_dir(), &provider);
    if !rustix::process::geteuid().is_root() {
        let error = CommandError::failed("reading an upper needs root: only root sees the overlay's marks in it");
        return Err(error.hint(Some(AS_ROOT)));
    }
    let (layers, below) = mount::finished_layers(&workspace, &args.system_config)?;
    let cancel = interrupt.cancel();
    let paths = SnapshotPaths::of(&workspace);
    let base = Snapshot::open(&paths)?;
    if base.base_key() != below {
        let error = CommandError::failed("the base was made again since this image was built");
        return Err(error.hint(Some("build the image again, then compare")));
    }
    let difference = diff::diff(&base, &layers, &cancel)?;
    match args.format {
        Format::Json => print_versioned(&Report::of(&difference)),
        Format::Text => print(&difference),
    }
}

#[derive(Serialize)]
struct Report {
    added: usize,
    changed: usize,
    removed: usize,
    unchanged: u64,
    changes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    /// The path; lossy if it is not UTF-8, and then `path_bytes` has it in hexadecimal.
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    action: Action,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aspects: Vec<Aspect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_from: Option<String>,
}

impl Report {
    fn of(difference: &Difference) -> Self {
        let line = |change: &Change| Line {
            path: change.path.to_string_lossy().into_owned(),
            path_bytes: match change.path.to_str() {
                Some(_) => None,
                None => Some(hex::encode(change.path.as_os_str().as_bytes())),
            },
            action: change.action,
            kind: change.kind.word(),
            size_bytes: change.size_bytes,
            aspects: change.aspects.iter().copied().collect(),
            moved_from: change
                .moved_from
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned()),
        };
        Self {
            added: count(difference, Action::Added),
            changed: count(difference, Action::Changed),
            removed: count(difference, Action::Removed),
            unchanged: difference.unchanged,
            changes: difference.changes.iter().map(line).collect(),
        }
    }
}

fn count(difference: &Difference, action: Action) -> usize {
    difference
        .changes
        .iter()
        .filter(|change| change.action == action)
        .count()
}

fn print(difference: &Difference) -> Result<(), CommandError> {
    for change in &difference.changes {
        let letter = match change.action {
            Action::Added => 'A',
            Action::Changed => 'M',
            Action::Removed => 'D',
        };
        let slash = if change.kind == FileKind::Directory { "/" } else { "" };
        let mut line = format!("{letter} {}{slash}", printable(&change.path));
        if let Some(origin) = &change.moved_from {
            line += &format!("  (moved from {}/)", printable(origin));
        }
        if !change.aspects.is_empty() {
            let aspects: Vec<&str> = change.aspects.iter().map(|aspect| name(*aspect)).collect();
            line += &format!("  ({})", aspects.join(", "));
        }
        print_line(&line)?;
    }
    let size = difference.changes.iter().filter_map(|change| change.size_bytes);
    print_line(&format!(
        "{} added, {} changed, {} removed; {} in files; {} copied up without a change",
        count(difference, Action::Added),
        count(difference, Action::Changed),
        count(difference, Action::Removed),
        words::size(size.fold(0, u64::saturating_add)),
        difference.unchanged
    ))
}

/// Gives a path for a terminal: what is no printable character becomes `\xNN`.
fn printable(path: &Path) -> String {
    let mut text = String::new();
    for chunk in OsStr::as_bytes(path.as_os_str()).utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                c if terminal::is_hidden(c) => c.escape_default().for_each(|c| text.push(c)),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn name(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Kind => "kind",
        Aspect::Content => "content",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Xattrs => "attributes",
        Aspect::Time => "time",
    }
}
