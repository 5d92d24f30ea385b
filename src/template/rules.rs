//! Rules that span several fields.

mod disk;
mod system;

pub(super) use system::{is_hash_partition, is_hashed};

use super::schema::ANY_DISTRIBUTION;
use super::schema::checks::is_placeholder;
use crate::provider::{PackageSystem, Provider, Providers};
use crate::yaml::{Finding, Findings, Node, did_you_mean};

/// Checks what can be said of any template, merged or not.
pub(super) fn check(root: &Node, providers: &Providers, findings: &mut Findings) {
    target(root, providers, findings);
    if let Some(disk) = root.get("disk") {
        disk::check(disk, findings);
    }
    if let Some(system) = root.get("systemConfig") {
        system::check(system, findings);
        groups(system, root, providers, findings);
    }
    for (index, repository) in root.items_at("packageRepositories").iter().enumerate() {
        if findings.is_full() {
            return;
        }
        self::repository(repository, &format!("packageRepositories[{index}]"), findings);
    }
}

/// Checks what must hold once the default template was merged in.
pub(super) fn check_merged(root: &Node, providers: &Providers, findings: &mut Findings) {
    check(root, providers, findings);
    let is_raw = root.at(&["target", "imageType"]).and_then(Node::text) == Some("raw");
    if is_raw {
        disk::check_bootable(root, findings);
    }
    system::check_merged(root, findings);
}

/// The operating system and its distribution are those of a provider.
fn target(root: &Node, providers: &Providers, findings: &mut Findings) {
    let text = |key| {
        let node = root.at(&["target", key])?;
        Some((node, node.text().filter(|text| !text.is_empty())?))
    };
    let Some((node, os)) = text("os") else { return };
    let systems = providers.systems();
    if !systems.contains(&os) {
        let message = format!("{os:?} is not a known value");
        unknown(node, "target.os", message, os, &systems, findings);
        return;
    }
    let known = providers.distributions(os);
    if let Some((node, dist)) = text("dist").filter(|(_, dist)| os != ANY_DISTRIBUTION && !known.contains(dist)) {
        let message = format!("{dist:?} is no distribution of {os}");
        unknown(node, "target.dist", message, dist, &known, findings);
    }
}

/// Only repositories of `.rpm` packages have groups.
fn groups(system: &Node, root: &Node, providers: &Providers, findings: &mut Findings) {
    let target = |key| root.at(&["target", key]).and_then(Node::text);
    let is_target = |provider: &&Provider| {
        (Some(provider.os.as_str()), Some(provider.dist.as_str())) == (target("os"), target("dist"))
    };
    let provider = providers.all().iter().find(is_target);
    let Some(provider) = provider.filter(|provider| provider.package_system == PackageSystem::Deb) else {
        return;
    };
    for (index, node) in system.items_at("packages").iter().enumerate() {
        if let Some(text) = node.text().filter(|text| text.starts_with('@') && text.len() > 1) {
            let path = format!("systemConfig.packages[{index}]");
            let message = format!(
                "{text:?} is a group, and the packages of {} come in none",
                provider.dist
            );
            let finding = Finding::error(&node.span, path, message);
            findings.push(finding.hint("name the packages, or a package that depends on them"));
        }
    }
}

fn unknown(node: &Node, path: &str, message: String, text: &str, known: &[&str], findings: &mut Findings) {
    let finding = Finding::error(&node.span, path, message).allowed(known.iter().copied());
    findings.push(match did_you_mean(text, known.iter().copied()) {
        Some(near) => finding.hint(format!("did you mean {near:?}?")),
        None => finding,
    });
}

fn repository(repository: &Node, path: &str, findings: &mut Findings) {
    match (repository.get("url"), repository.get("path")) {
        (None, None) => findings.push(
            Finding::error(&repository.span, path, "has neither url nor path").hint("say where its packages are"),
        ),
        (Some(_), Some(second)) => findings.push(Finding::error(&second.span, path, "has both url and path")),
        (Some(url), None) if url.text().is_some_and(is_placeholder) => findings.push(
            Finding::warning(
                &url.span,
                format!("{path}.url"),
                "is a placeholder: the repository is left out",
            )
            .hint("put the real URL in, or remove the entry"),
        ),
        _ => {}
    }
}
