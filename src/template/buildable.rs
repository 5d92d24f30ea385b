//! What this version cannot build is refused before any work, with the field that asks for it.

mod encrypted;
mod immutable;
mod packages;
mod signing;

use std::io::ErrorKind;
use std::path::Path;

use super::Loaded;
use super::rules::is_overlay;
use super::schema::checks::is_placeholder;
use super::schema::{SECURE_BOOT, additional_file, baseline, disk, partition, repository, system, target, template};
use crate::durable;
use crate::model::{FileSource, FileSystem, ImageType, PartitionFlag};
use crate::package::Arch;
use crate::words::Words;
use crate::yaml::{Findings, Place};

/// Finds everything in the template that this version cannot build; each finding names what it can build.
pub fn check_buildable(loaded: &Loaded) -> Findings {
    let mut findings = Findings::new();
    let root = Place::root(&loaded.merged);
    let system = root.get(template::SYSTEM);
    let image_type = loaded.template.target.image_type;
    let arch = loaded.template.target.arch;
    if image_type == ImageType::Iso && arch != Arch::X86_64 {
        let at = root.at(template::TARGET).at(target::IMAGE_TYPE);
        let what = format!("{} for {arch} is", image_type.word());
        refuse(&mut findings, &at, &what, "iso for x86_64");
    }
    if let Some(mode) = root.get(template::BASELINE).filter(|_| is_overlay(&loaded.merged)) {
        refuse(
            &mut findings,
            &mode.at(baseline::MODE),
            "an image on top of another one is",
            "mode: create",
        );
    }
    self::target(loaded, &root, &mut findings);
    if let Some(disk) = root.get(template::DISK) {
        self::disk(&disk, &mut findings);
    }
    if let Some(system) = &system {
        self::system(system, &mut findings);
        immutable::check(&loaded.merged, system, &mut findings);
        signing::check(loaded, system, &mut findings);
        encrypted::check(loaded, system, &mut findings);
    }
    repositories(loaded, &root, &mut findings);
    packages::check(loaded, &root, &mut findings);
    if let Some(system) = &system {
        files(loaded, system, &mut findings);
    }
    findings
}

/// Adds the finding that `what` is not built; `supported` says what is.
fn refuse(findings: &mut Findings, at: &Place<'_>, what: &str, supported: &str) {
    let finding = at.error(format!("{what} not built by this version"));
    findings.push(finding.hint(format!("this version builds {supported}")));
}

/// Refuses another architecture than that of this machine.
fn target(loaded: &Loaded, root: &Place<'_>, findings: &mut Findings) {
    let wanted = loaded.template.target.arch;
    if Arch::host() != Some(wanted) {
        let what = format!("{wanted} on a machine of another architecture is");
        let at = root.at(template::TARGET).at(target::ARCH);
        refuse(findings, &at, &what, "for the architecture that it runs on");
    }
}

/// Refuses a repository without a key, and directories and package files that do not exist: all would end the build.
fn repositories(loaded: &Loaded, root: &Place<'_>, findings: &mut Findings) {
    for place in root.items(template::REPOSITORIES) {
        if let Some(path) = place
            .read(repository::PATH)
            .filter(|path| !is_placeholder(path) && !Path::new(path).is_dir())
        {
            let message = format!("there is no directory {path}");
            findings.push(place.at(repository::PATH).error(message));
        }
        let keys = place.read(repository::PKEYS);
        let mut keys = place
            .read(repository::PKEY)
            .into_iter()
            .chain(keys.iter().map(String::as_str));
        let has_key = keys.any(|key| !key.is_empty() && !is_placeholder(key));
        let is_left_out = place.read(repository::URL).is_some_and(is_placeholder);
        let codename = place.read(repository::CODENAME);
        let is_suite = |name: &str| loaded.provider.repositories.iter().any(|own| own.suite == name);
        let is_mirror = place.get(repository::URL).is_some() && codename.is_some_and(is_suite);
        if !has_key && !is_left_out && !is_mirror {
            let finding = place.error("has no key, so nothing of it could be verified");
            let hint = "give it pkey: URL-or-path, or pkey: \"[trusted=yes]\" to take its packages unverified";
            findings.push(finding.hint(hint));
        }
    }
}

/// Refuses file systems and flags that are not built.
fn disk(disk: &Place<'_>, findings: &mut Findings) {
    for partition in disk.items(disk::PARTITIONS) {
        if partition.read(partition::FS_TYPE) == Some(Some(FileSystem::Xfs)) {
            let at = partition.at(partition::FS_TYPE);
            refuse(findings, &at, "xfs is", "fat32, fat16, ext2, ext3, ext4 and swap");
        }
        for place in partition.items(partition::FLAGS) {
            let flag = place.node.text().and_then(PartitionFlag::named);
            if let Some(flag) = flag.filter(|flag| flag.attribute_bits().is_none()) {
                let what = format!("the flag {} is", flag.word());
                refuse(findings, &place, &what, &built_flags());
            }
        }
    }
}

/// Lists the flags of partitions that end up in a GPT entry or in its type.
fn built_flags() -> String {
    let is_built = |word: &&str| PartitionFlag::named(word).is_some_and(|flag| flag.attribute_bits().is_some());
    let built: Vec<&str> = PartitionFlag::CHOICES.iter().copied().filter(is_built).collect();
    built.join(", ")
}

/// Refuses keys whose paths have variables that are not set.
fn system(system: &Place<'_>, findings: &mut Findings) {
    if let Some(section) = system.get(system::IMMUTABILITY) {
        for path in SECURE_BOOT.iter().filter_map(|field| section.get(*field)) {
            if path.node.text().is_some_and(|path| path.contains("${")) {
                let finding = path.error("has a variable that is not set");
                findings.push(finding.hint("give it a value, as NAME=VALUE"));
            }
        }
    }
}

/// Refuses a file that does not exist. In a template that is only validated it is a warning.
fn files(loaded: &Loaded, system: &Place<'_>, findings: &mut Findings) {
    let places: Vec<Place<'_>> = system.items(system::ADDITIONAL_FILES).collect();
    for file in &loaded.template.system.additional_files {
        let FileSource::Host(path) = &file.source else { continue };
        // An entry may stand for the files of a directory.
        let is_of = |place: &&Place<'_>| {
            let place = place.read(additional_file::FINAL);
            place.is_some_and(|place| Path::new(&file.destination).starts_with(place))
        };
        let Some(place) = places.iter().rev().find(is_of) else {
            continue;
        };
        if let Err(error) = durable::open_regular(path) {
            let message = match error.kind() {
                ErrorKind::NotFound => format!("there is no file {}", path.display()),
                _ => format!("{} cannot be used: {error}", path.display()),
            };
            findings.push(place.at(additional_file::LOCAL).error(message));
        }
    }
}
