//! `oic ls`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::{Args, ValueHint};
use serde::Serialize;

use crate::date;
use crate::overlay::layer::{Attributes, FileKind, Layer, LayerResult, NodeId};

use super::Format;
use super::error::{CommandError, print_line, print_versioned};
use super::place::{PartitionArgs, Place};

/// List a directory of a disk image, without mounting it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic ls image.raw                         the root directory of the system in it
  oic ls image.raw:/etc --long             with modes, owners, sizes and dates
  oic ls image.raw:/EFI --partition 1      a partition alone")]
pub struct LsArgs {
    /// Disk image, and the path in it
    #[arg(value_name = "IMAGE[:PATH]", value_hint = ValueHint::FilePath)]
    place: OsString,
    #[command(flatten)]
    chosen: PartitionArgs,
    /// Also print modes, owners, sizes and dates
    #[arg(short, long)]
    long: bool,
    /// How the names are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Listing {
    entries: Vec<Line>,
}

/// A name and what it names.
#[derive(Debug, Serialize)]
struct Line {
    /// The name; lossy if it is not UTF-8, and then `name_bytes` has it in hexadecimal.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_bytes: Option<String>,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    size_bytes: u64,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// Lists.
pub fn run(args: &LsArgs) -> Result<(), CommandError> {
    let place = Place::parse(&args.place);
    let layer = place.open(&args.chosen)?;
    let node = place.node(&*layer, true)?;
    let entries = entries(&*layer, node, place.path.file_name()).map_err(|error| place.failed(&error))?;
    if args.format == Format::Json {
        return print_versioned(&Listing { entries });
    }
    entries.iter().try_for_each(|entry| match args.long {
        true => print_line(&entry.long()),
        false => print_line(&entry.name),
    })
}

/// Returns the entries of a directory in the order of their names, or the file itself under its `name`.
fn entries(layer: &dyn Layer, node: NodeId, name: Option<&OsStr>) -> LayerResult<Vec<Line>> {
    let mut found = Vec::new();
    if layer.attributes(node)?.kind == FileKind::Directory {
        layer.entries(node, 0, &mut |entry| {
            found.push((entry.name.to_owned(), entry.node));
            true
        })?;
    } else {
        found.push((name.unwrap_or_default().to_owned(), node));
    }
    found.sort();
    found
        .into_iter()
        .map(|(name, node)| Line::of(layer, &name, node))
        .collect()
}

impl Line {
    fn of(layer: &dyn Layer, name: &OsStr, node: NodeId) -> LayerResult<Self> {
        let attributes = layer.attributes(node)?;
        let target = match attributes.kind {
            FileKind::Symlink => Some(String::from_utf8_lossy(&layer.read_link(node)?).into_owned()),
            _ => None,
        };
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            name_bytes: name.to_str().is_none().then(|| hex::encode(name.as_bytes())),
            kind: attributes.kind.word(),
            mode: mode(&attributes),
            uid: attributes.uid,
            gid: attributes.gid,
            size_bytes: attributes.size_bytes,
            modified: date::show(attributes.modified.seconds),
            target,
        })
    }

    fn long(&self) -> String {
        let target = self.target.as_ref().map(|target| format!(" -> {target}"));
        format!(
            "{} {:>5} {:>5} {:>11} {} {}{}",
            self.mode,
            self.uid,
            self.gid,
            self.size_bytes,
            self.modified,
            self.name,
            target.unwrap_or_default()
        )
    }
}

/// Returns kind and permissions as ls(1) writes them.
fn mode(attributes: &Attributes) -> String {
    let kind = match attributes.kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    };
    let bits = attributes.permissions;
    let classes = [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')];
    let letters = classes.into_iter().flat_map(|(shift, special, letter)| {
        let has = |bit: u32| bits >> shift & bit != 0;
        let last = match (bits & special != 0, has(1)) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        };
        [if has(4) { 'r' } else { '-' }, if has(2) { 'w' } else { '-' }, last]
    });
    std::iter::once(kind).chain(letters).collect()
}
