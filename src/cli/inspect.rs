//! `oic inspect`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use serde_json::{Map, Value};

use crate::durable;
use crate::inspect::{self, PartitionReport, Report, SystemReport, Wanted};
use crate::installed::people::Password;
use crate::yaml;

use super::environment;
use super::error::{CommandError, print_data, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::words;

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// For machines.
    Yaml,
}

/// Tell what is inside a disk image, without mounting it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic inspect image.raw                    partitions, file systems, boot programs, system, packages
  oic inspect image.qcow2 --format json    the same for machines
  oic inspect image.raw --hash             with the SHA-256 of the file
  oic inspect image.raw --size             and what takes the space
  oic inspect image.raw --extract-sbom     and write the bill of materials in it to this directory")]
pub struct InspectArgs {
    /// Disk image: raw, qcow2, vhd, vhdx, vmdk or vdi
    #[arg(value_hint = ValueHint::FilePath)]
    image: PathBuf,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Also compute the SHA-256 of the file, which reads all of it
    #[arg(long)]
    hash: bool,
    /// Also tell the sizes of packages and directories
    #[arg(long)]
    size: bool,
    /// Write the software bill of materials of the image to this file or into this directory
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = ".")]
    extract_sbom: Option<PathBuf>,
    /// Accepted for scripts of the Go tool: JSON is always indented
    #[arg(long, hide = true)]
    pretty: bool,
}

/// Inspects and prints.
pub fn run(args: &InspectArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let cancel = interrupt.cancel();
    let wanted = Wanted {
        hashes: args.hash,
        sizes: args.size,
        threads: environment::processors(),
    };
    let report = inspect::inspect(&args.image, wanted, &cancel)
        .map_err(|error| CommandError::failed(format!("{}: {error}", args.image.display())))?;
    cancel.check()?;
    if let Some(path) = &args.extract_sbom {
        extract(&report, path)?;
    }
    match args.format {
        Format::Json => print_versioned(&report),
        Format::Yaml => {
            let value = serde_json::to_value(&report).map_err(CommandError::failed)?;
            let text = yaml::serialize(&lowered(value)).map_err(CommandError::failed)?;
            print_data(text.trim_end())
        }
        Format::Text => text(&report),
    }
}

/// Writes the bill of materials of the image to `path`, a file or a directory.
fn extract(report: &Report, path: &Path) -> Result<(), CommandError> {
    let Some(content) = &report.sbom_content else {
        let message = format!("{} has no bill of materials", report.file);
        return Err(CommandError::failed(message).hint(Some("oic sbom makes one of any image")));
    };
    let target = match path.is_dir() {
        true => path.join(&report.sbom.file_name),
        false => path.to_owned(),
    };
    durable::write_public_file(&target, content).map_err(CommandError::failed)
}

/// Gives the keys that the Go tool's YAML has: those of the image and its table are in lower case.
fn lowered(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let lower = |fields: Map<String, Value>| fields.into_iter().map(|(key, value)| (key.to_lowercase(), value));
    let part = |value: Value| match value {
        Value::Object(fields) => lower(fields).collect(),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(fields) => lower(fields).collect(),
                other => other,
            })
            .collect(),
        other => other,
    };
    let fields = lower(fields).map(|(key, value)| match (key.as_str(), value) {
        ("partitiontable", Value::Object(table)) => {
            let table = lower(table).map(|(key, value)| (key, part(value)));
            (key, table.collect())
        }
        (_, value) => (key, value),
    });
    fields.collect()
}

fn text(report: &Report) -> Result<(), CommandError> {
    let table = &report.partition_table;
    print_line(&format!(
        "{}: {}, {}, {}",
        report.file,
        report.format,
        words::size(report.size_bytes),
        match table.kind {
            "none" => "no partition table".to_owned(),
            kind => format!("{kind} {}", table.disk_guid),
        }
    ))?;
    if let Some(digest) = &report.sha256 {
        print_line(&format!("sha256 {digest}"))?;
    }
    table.partitions.iter().try_for_each(partition)?;
    if let Some(span) = &table.largest_free_span {
        print_line(&format!("largest free span: {}", words::size(span.size_bytes)))?;
    }
    if report.verity.enabled {
        print_line(&format!("dm-verity: {}", report.verity.method))?;
    }
    if report.sbom.present {
        print_line(&format!(
            "SBOM: {}, {} packages",
            report.sbom.path, report.sbom.package_count
        ))?;
    }
    if let Some(system) = &report.system {
        system_text(system)?;
    }
    report
        .notes
        .iter()
        .try_for_each(|note| print_line(&format!("note: {note}")))
}

fn system_text(system: &SystemReport) -> Result<(), CommandError> {
    print_line(&format!("system: {}", system.os.pretty_name))?;
    for mount in &system.mounts {
        print_line(&format!("  {} is partition {}", mount.path, mount.partition))?;
    }
    for kernel in &system.kernels {
        let initrd = if kernel.initrd.is_empty() {
            "no initrd"
        } else {
            &kernel.initrd
        };
        print_line(&format!("kernel: {} {}, {initrd}", kernel.version, kernel.image))?;
    }
    access_text(system)?;
    if let Some(sizes) = &system.sizes {
        print_line(&format!("size of all files: {}", words::size(sizes.total_bytes)))?;
        print_line(&format!("  {} belongs to no package", words::size(sizes.unowned_bytes)))?;
        for size in sizes.packages.iter().chain(&sizes.directories) {
            print_line(&format!("  {:>12} {}", words::size(size.size_bytes), size.name))?;
        }
    }
    if let Some(count) = system.package_count {
        print_line(&format!("packages: {count} ({})", system.package_system))?;
    }
    system.packages.iter().try_for_each(|package| {
        print_line(&format!(
            "  {} {} {}",
            package.name, package.version, package.architecture
        ))
    })
}

/// Prints who and what has rights in the system.
fn access_text(system: &SystemReport) -> Result<(), CommandError> {
    for user in &system.users {
        let password = match user.password {
            Password::Empty => "no password is asked",
            Password::Set => "password",
            Password::Locked => "no password",
        };
        let keys = if user.ssh_keys == 0 {
            String::new()
        } else {
            format!(", {} SSH keys", user.ssh_keys)
        };
        print_line(&format!("user: {} ({}), {password}{keys}", user.name, user.uid))?;
    }
    if !system.enabled_units.is_empty() {
        print_line(&format!("enabled units: {}", system.enabled_units.join(" ")))?;
    }
    for file in &system.set_id {
        print_line(&format!(
            "set-id: {} {} {}:{} {}",
            file.path, file.mode, file.uid, file.gid, file.package
        ))?;
    }
    for file in &system.capabilities {
        print_line(&format!(
            "capabilities: {} {} {}",
            file.path, file.capabilities, file.package
        ))?;
    }
    for secret in &system.private_keys {
        print_line(&format!(
            "warning: {} is {} that all copies of the image share",
            secret.path, secret.kind
        ))?;
    }
    Ok(())
}

fn partition(partition: &PartitionReport) -> Result<(), CommandError> {
    let size = words::size(partition.size_bytes);
    print_line(&format!(
        "partition {} {:?}: {size}, type {}",
        partition.index, partition.name, partition.kind
    ))?;
    let Some(system) = &partition.filesystem else {
        return Ok(());
    };
    if !system.kind.is_empty() {
        let free = system.free_bytes.map(|bytes| format!(", {} free", words::size(bytes)));
        print_line(&format!(
            "  {} {:?} {}{}",
            system.kind,
            system.label,
            system.uuid,
            free.unwrap_or_default()
        ))?;
    }
    for binary in &system.efi_binaries {
        let signed = if binary.signed { ", signed" } else { "" };
        print_line(&format!("  {} {} {}{signed}", binary.path, binary.kind, binary.arch))?;
        if !binary.cmdline.is_empty() {
            print_line(&format!("    {}", binary.cmdline))?;
        }
    }
    system
        .notes
        .iter()
        .try_for_each(|note| print_line(&format!("  note: {note}")))
}
