//! `oic compare`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum, ValueHint};
use serde_json::Value;

use crate::compare::{
    self, Class, Comparison, FilesDifference, Known, Parts, Side, bill_packages, compare_bills, compare_files,
    compare_packages,
};
use crate::durable;
use crate::inspect::{self, Report, Wanted};
use crate::installed::visit::{self, Listing};
use crate::installed::{Database, Owners};
use crate::overlay::layer::Layer;
use crate::template::Scope;

use super::environment::{self, Environment};
use super::error::{CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::{Format, GlobalOptions, lock, templates, tree, words};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// What differs.
    Diff,
    /// The verdict alone.
    Summary,
    /// All of it, with what means nothing.
    Full,
    /// The bills of materials in both images.
    Spdx,
}

/// Compare two images, trees, lockfiles, bills of materials or templates; exit code 1 if they differ
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic compare old.raw new.qcow2                      partitions, boot programs, packages, and file by file
  oic compare old.raw new.raw --html review.html     and a page for the review of a release
  oic compare /mnt image.raw                         a directory beside an image
  oic compare old.lock.json new.spdx.json            packages alone
  oic compare a.yml b.yml                            templates, merged over their defaults
  oic compare old.raw new.raw --mode spdx            the bills of materials in them

Exit codes: 0 the same but for identifiers and dates, 1 different (or failed), 2 wrong use.")]
pub struct CompareArgs {
    /// The older one
    #[arg(value_hint = ValueHint::AnyPath)]
    a: PathBuf,
    /// The newer one
    #[arg(value_hint = ValueHint::AnyPath)]
    b: PathBuf,
    /// How the difference is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// How much is told [default: diff for text, full for JSON]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Also compute the SHA-256 of the images' files, which reads all of them
    #[arg(long)]
    hash_images: bool,
    /// Do not compare file by file
    #[arg(long)]
    no_files: bool,
    /// Also write a page for people to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    html: Option<PathBuf>,
    /// Accepted for scripts of the Go tool: JSON is always indented
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    pretty: Option<bool>,
}

/// One of the two.
enum Subject {
    /// A disk image or a directory.
    Tree(Box<Tree>),
    /// A lockfile or a bill of materials.
    Packages(Vec<Known>, Vec<u8>),
    /// A template.
    Template(Value),
}

/// A tree, and what was read of it.
struct Tree {
    report: Option<Report>,
    layer: Arc<dyn Layer>,
    listing: Listing,
    database: Database,
    owners: Owners,
}

impl Tree {
    fn side(&self) -> Side<'_> {
        Side {
            layer: &*self.layer,
            listing: &self.listing,
            database: &self.database,
            owners: &self.owners,
        }
    }
}

/// Compares and prints.
pub fn run(global: &GlobalOptions, args: &CompareArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let mode = args.mode.unwrap_or(match args.format {
        Format::Text => Mode::Diff,
        Format::Json => Mode::Full,
    });
    let from = Subject::open(global, &args.a, args, interrupt)?;
    let to = Subject::open(global, &args.b, args, interrupt)?;
    if mode == Mode::Spdx {
        return bills(args, &from, &to);
    }
    let files = files(args, &from, &to, interrupt)?;
    let is_template = |subject: &Subject| matches!(subject, Subject::Template(_));
    if is_template(&from) != is_template(&to) {
        let message =
            "a template can only be compared with another template: what it becomes depends on the repositories";
        return Err(CommandError::usage(message).hint(Some("build it, and compare the lockfile")));
    }
    let parts = Parts {
        paths: (args.a.display().to_string(), args.b.display().to_string()),
        images: from.report().zip(to.report()),
        values: from.value().zip(to.value()),
        packages: compare_packages(&from.packages(), &to.packages()),
        files,
    };
    let comparison = compare::compare(parts);
    if let Some(path) = &args.html {
        durable::write_public_file(path, compare::page(&comparison)).map_err(CommandError::failed)?;
    }
    match args.format {
        Format::Json => print_versioned(&shortened(&comparison, mode))?,
        Format::Text => text(&comparison, mode)?,
    }
    match comparison.equality.class {
        Class::Different => Err(CommandError::verdict(
            1,
            "different",
            format!("{} differences", comparison.equality.meaningful_diffs),
        )),
        _ => Ok(()),
    }
}

impl Subject {
    /// Opens what lies at `path`.
    fn open(
        global: &GlobalOptions,
        path: &Path,
        args: &CompareArgs,
        interrupt: &Interrupt,
    ) -> Result<Self, CommandError> {
        let is_yaml = |end: &OsStr| end == "yml" || end == "yaml";
        if path.extension().is_some_and(is_yaml) {
            return template(global, path);
        }
        if path.is_file()
            && let Some(content) = json(path)?
        {
            let is_lockfile = content.windows(14).take(200).any(|part| part == b"\"oic-lockfile\"");
            let packages = match is_lockfile {
                true => lock::read(path)?.packages.iter().map(Known::from).collect(),
                false => bill_packages(&content).map_err(|error| failed(path, &error))?,
            };
            return Ok(Self::Packages(packages, content));
        }
        let cancel = interrupt.cancel();
        let wanted = Wanted {
            hashes: args.hash_images,
            sizes: false,
            threads: environment::processors(),
        };
        let report = match path.is_dir() {
            true => None,
            false => Some(inspect::inspect(path, wanted, &cancel).map_err(|error| failed(path, &error))?),
        };
        cancel.check()?;
        let layer = tree::open(path, None)?;
        let database = Database::read(&*layer).map_err(|error| failed(path, &error))?;
        let owners = Owners::read(&*layer, &database).map_err(|error| failed(path, &error))?;
        let listing = match args.no_files {
            true => Listing::default(),
            false => visit::list(&*layer, wanted.threads),
        };
        Ok(Self::Tree(Box::new(Tree {
            report,
            layer,
            listing,
            database,
            owners,
        })))
    }

    fn report(&self) -> Option<&Report> {
        match self {
            Self::Tree(tree) => tree.report.as_ref(),
            Self::Packages(..) | Self::Template(_) => None,
        }
    }

    fn value(&self) -> Option<Value> {
        match self {
            Self::Template(value) => Some(value.clone()),
            Self::Tree(_) | Self::Packages(..) => None,
        }
    }

    fn packages(&self) -> Vec<Known> {
        match self {
            Self::Tree(tree) => tree.database.packages.iter().map(Known::from).collect(),
            Self::Packages(packages, _) => packages.clone(),
            Self::Template(_) => Vec::new(),
        }
    }

    /// Returns the bill of materials in it.
    fn bill(&self) -> Option<&[u8]> {
        match self {
            Self::Tree(tree) => tree.report.as_ref()?.sbom_content.as_deref(),
            Self::Packages(_, content) => Some(content),
            Self::Template(_) => None,
        }
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::failed(format!("{}: {error}", path.display()))
}

/// Reads the file at `path` if it is JSON: its first byte that is no space is a brace.
fn json(path: &Path) -> Result<Option<Vec<u8>>, CommandError> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| failed(path, &error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut head = [0; 64];
    let count = file.read(&mut head).map_err(failed)?;
    let head = head.get(..count).unwrap_or_default();
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Ok(None);
    }
    let mut content = head.to_vec();
    file.take(compare::BILL_BYTES_MAX as u64)
        .read_to_end(&mut content)
        .map_err(failed)?;
    Ok(Some(content))
}

/// Loads a template, merged over its provider's default.
fn template(global: &GlobalOptions, path: &Path) -> Result<Subject, CommandError> {
    let environment = Environment::load(global, None)?;
    let loaded = templates::load(&environment, path.as_os_str(), &templates::ValueArgs::default())?;
    let text = loaded.resolved(Scope::Full, false).map_err(CommandError::failed)?;
    let value = serde_saphyr::from_str(&text).map_err(|error| failed(path, &error))?;
    Ok(Subject::Template(value))
}

fn files(
    args: &CompareArgs,
    from: &Subject,
    to: &Subject,
    interrupt: &Interrupt,
) -> Result<Option<FilesDifference>, CommandError> {
    let (Subject::Tree(one), Subject::Tree(other)) = (from, to) else {
        return Ok(None);
    };
    if args.no_files {
        return Ok(None);
    }
    let threads = environment::processors();
    Ok(Some(compare_files(
        &one.side(),
        &other.side(),
        threads,
        &interrupt.cancel(),
    )?))
}

/// Compares the bills of materials.
fn bills(args: &CompareArgs, from: &Subject, to: &Subject) -> Result<(), CommandError> {
    let missing = |path: &Path| {
        let message = format!("{} has no bill of materials", path.display());
        CommandError::failed(message).hint(Some("oic sbom makes one of any image"))
    };
    let before = from.bill().ok_or_else(|| missing(&args.a))?;
    let after = to.bill().ok_or_else(|| missing(&args.b))?;
    let (a, b) = (args.a.display().to_string(), args.b.display().to_string());
    let found = compare_bills((&a, before), (&b, after)).map_err(CommandError::failed)?;
    match args.format {
        Format::Json => print_versioned(&found)?,
        Format::Text => {
            let lists = [
                ("A", &found.added_packages),
                ("D", &found.removed_packages),
                ("M", &found.upgraded_packages),
            ];
            for (letter, list) in lists {
                list.iter()
                    .try_for_each(|line| print_line(&format!("{letter} {line}")))?;
            }
        }
    }
    match found.equal {
        true => Ok(()),
        false => Err(CommandError::verdict(
            1,
            "different",
            "the bills list other packages".to_owned(),
        )),
    }
}

/// Returns the parts of `comparison` that `mode` asks for.
fn shortened(comparison: &Comparison, mode: Mode) -> Value {
    let mut value = serde_json::to_value(comparison).unwrap_or_default();
    if let (Mode::Summary, Some(fields)) = (mode, value.as_object_mut()) {
        for field in ["diff", "packages", "files"] {
            fields.remove(field);
        }
    }
    value
}

fn text(comparison: &Comparison, mode: Mode) -> Result<(), CommandError> {
    let equality = &comparison.equality;
    if mode != Mode::Summary {
        equality
            .meaningful_reasons
            .iter()
            .try_for_each(|reason| print_line(reason))?;
    }
    if mode == Mode::Full {
        let volatile = equality.volatile_reasons.iter();
        volatile
            .map(|reason| format!("(identifier or date) {reason}"))
            .try_for_each(|line| print_line(&line))?;
    }
    if let Some(files) = &comparison.files {
        files
            .notes
            .iter()
            .try_for_each(|note| print_line(&format!("note: {note}")))?;
        let sign = if files.grown_bytes < 0 { "-" } else { "+" };
        print_line(&format!(
            "files: {} added, {} removed, {} modified, {} the same, {sign}{}",
            files.added,
            files.removed,
            files.modified,
            files.unchanged,
            words::size(files.grown_bytes.unsigned_abs())
        ))?;
    }
    let class = match equality.class {
        Class::BinaryIdentical => "binary identical",
        Class::SemanticallyIdentical => "semantically identical",
        Class::SemanticallyIdenticalUnverified => "semantically identical, not verified",
        Class::Different => "different",
    };
    print_line(&format!(
        "{class}: {} differences, {} of identifiers and dates",
        equality.meaningful_diffs, equality.volatile_diffs
    ))
}
