//! Rules that span several fields.

mod disk;
mod system;

pub(super) use system::{is_hash_partition, is_hashed};

use super::schema::DISTRIBUTIONS;
use super::schema::checks::is_placeholder;
use crate::yaml::{Finding, Findings, Node, did_you_mean};

/// Checks what can be said of any template, merged or not.
pub(super) fn check(root: &Node, findings: &mut Findings) {
    target(root, findings);
    if let Some(disk) = root.get("disk") {
        disk::check(disk, findings);
    }
    if let Some(system) = root.get("systemConfig") {
        system::check(system, findings);
    }
    for (index, repository) in root.items_at("packageRepositories").iter().enumerate() {
        if findings.is_full() {
            return;
        }
        self::repository(repository, &format!("packageRepositories[{index}]"), findings);
    }
}

/// Checks what must hold once the default template was merged in.
pub(super) fn check_merged(root: &Node, findings: &mut Findings) {
    check(root, findings);
    let is_raw = root.at(&["target", "imageType"]).and_then(Node::text) == Some("raw");
    if is_raw {
        disk::check_bootable(root, findings);
    }
    system::check_merged(root, findings);
}

fn target(root: &Node, findings: &mut Findings) {
    let os = root.at(&["target", "os"]).and_then(Node::text);
    let Some((_, known)) = DISTRIBUTIONS.iter().find(|(name, _)| Some(*name) == os) else {
        return;
    };
    let Some((node, dist)) = root.at(&["target", "dist"]).and_then(|node| Some((node, node.text()?))) else {
        return;
    };
    if known.is_empty() || known.contains(&dist) {
        return;
    }
    let message = format!("{dist:?} is no distribution of {}", os.unwrap_or_default());
    let finding = Finding::error(&node.span, "target.dist", message).allowed(known.iter().copied());
    findings.push(match did_you_mean(dist, known.iter().copied()) {
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
