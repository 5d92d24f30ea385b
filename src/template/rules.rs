//! Rules that span several fields.

mod baseline;
mod disk;
mod files;
mod machine;
mod network;
mod packages;
mod people;
mod storage;
mod system;

pub(super) use baseline::{check_folded, is_overlay};
pub(super) use files::refused;
pub(super) use machine::check_packages;
pub(super) use packages::check_merged as check_choice;
pub(super) use people::is_hashed;
pub(super) use system::{has_hash_partition, hash_partition};

use super::schema::checks::is_placeholder;
use super::schema::{ANY_DISTRIBUTION, repository, system as system_fields, target, template};
use crate::model::ImageType;
use crate::provider::{Provider, Providers};
use crate::yaml::{Finding, Findings, Node, Place, did_you_mean};

/// Checks the rules that hold for any template, merged or not.
pub(super) fn check(root: &Node, providers: &Providers, findings: &mut Findings) {
    let root = Place::root(root);
    if let Some(target) = root.get(template::TARGET) {
        self::target(&target, providers, findings);
    }
    baseline::check(&root, findings);
    if let Some(disk) = root.get(template::DISK) {
        disk::check(&disk, findings);
    }
    if let Some(system) = root.get(template::SYSTEM) {
        system::check(&system, findings);
        storage::check_encryption(&system, findings);
        if let Some(network) = system.get(system_fields::NETWORK) {
            network::check(&network, findings);
        }
        people::check(&system, findings);
        files::check(&system, findings);
        machine::check(&system, findings);
        packages::check(&system, findings);
        groups(&system, &root, providers, findings);
    }
    for repository in root.items(template::REPOSITORIES) {
        if findings.is_full() {
            return;
        }
        self::repository(&repository, findings);
    }
}

/// Checks the rules that hold once the default template is merged in.
pub(super) fn check_merged(root: &Node, providers: &Providers, findings: &mut Findings) {
    check(root, providers, findings);
    let target = root.read(template::TARGET);
    // The image that is built on brings its disk.
    let is_raw = target.and_then(|target| target.read(target::IMAGE_TYPE)) == Some(ImageType::Raw);
    if is_raw && !is_overlay(root) {
        disk::check_bootable(root, findings);
    }
    let place = Place::root(root);
    storage::check_kind(&place, findings);
    storage::check_merged(root, findings);
    let system = place.get(template::SYSTEM);
    if let Some(network) = system.and_then(|system| system.get(system_fields::NETWORK)) {
        network::check_merged(&network, findings);
    }
    system::check_merged(root, findings);
    people::check_merged(root, findings);
    files::check_merged(root, findings);
    machine::check_merged(root, findings);
}

/// Checks that the operating system and its distribution are those of a provider.
fn target(target: &Place<'_>, providers: &Providers, findings: &mut Findings) {
    let Some(os) = target.read(target::OS) else { return };
    let systems = providers.systems();
    if !systems.contains(&os) {
        let finding = target.at(target::OS).error(format!("{os:?} is not a known value"));
        findings.push(with_choices(finding, os, &systems));
        return;
    }
    let known = providers.distributions(os);
    let is_unknown = |dist: &&str| os != ANY_DISTRIBUTION && !known.contains(dist);
    if let Some(dist) = target.read(target::DIST).filter(is_unknown) {
        let message = format!("{dist:?} is no distribution of {os}");
        let finding = target.at(target::DIST).error(message);
        findings.push(with_choices(finding, dist, &known));
    }
}

/// Adds the known words to a finding, and the most similar one as a suggestion.
fn with_choices(finding: Finding, word: &str, known: &[&str]) -> Finding {
    let finding = finding.allowed(known.iter().copied());
    match did_you_mean(word, known.iter().copied()) {
        Some(near) => finding.hint(format!("did you mean {near:?}?")),
        None => finding,
    }
}

/// Refuses groups of packages where the provider's kind of packages has none.
fn groups(system: &Place<'_>, root: &Place<'_>, providers: &Providers, findings: &mut Findings) {
    let Some(target) = root.read(template::TARGET) else {
        return;
    };
    let wanted = (target.read(target::OS), target.read(target::DIST));
    let is_wanted = |provider: &&Provider| (Some(provider.os.as_str()), Some(provider.dist.as_str())) == wanted;
    let provider = providers.all().iter().find(is_wanted);
    let Some(provider) = provider.filter(|provider| !provider.packages.has_groups) else {
        return;
    };
    for package in system.items(system_fields::PACKAGES) {
        let name = package.node.text().unwrap_or_default();
        if name.starts_with('@') && name.len() > 1 {
            let message = format!(
                "{name:?} is a group, and the packages of {} come in none",
                provider.dist
            );
            findings.push(
                package
                    .error(message)
                    .hint("name the packages, or a package that depends on them"),
            );
        }
    }
}

/// Checks that a repository has one address, and its files their digests where no certificate vouches for them.
fn repository(repository: &Place<'_>, findings: &mut Findings) {
    let (url, packages) = (repository.get(repository::URL), repository.get(repository::PACKAGES));
    let packages = packages.filter(|packages| !packages.node.items().is_empty());
    let path = repository.get(repository::PATH);
    let path = path.filter(|path| !path.node.text().is_some_and(is_placeholder));
    match (&url, path.as_ref().or(packages.as_ref())) {
        (None, None) => findings.push(
            repository
                .error("has none of url, path and packages")
                .hint("say where its packages are"),
        ),
        (Some(_), Some(other)) => {
            let name = other.path.rsplit('.').next().unwrap_or_default();
            let message = format!("has both url and {name}");
            findings.push(Finding::error(&other.node.span, &repository.path, message));
        }
        (Some(url), None) if url.node.text().is_some_and(is_placeholder) => findings.push(
            url.warning("is a placeholder: the repository is left out")
                .hint("put the real URL in, or remove the entry"),
        ),
        _ => {}
    }
    let skips = repository.get(repository::INSECURE_SKIP_VERIFY);
    if skips.is_some_and(|skips| skips.node.bool() == Some(true)) {
        for file in repository.items(repository::PACKAGES) {
            let is_unpinned = |text: &str| text.starts_with("https://") && !text.contains('#');
            if file.node.text().is_some_and(is_unpinned) {
                let finding = file.error("has no digest, and insecureSkipVerify lets any server answer");
                findings.push(finding.hint("append #sha256= and the digest of the file, or remove insecureSkipVerify"));
            }
        }
    }
}
