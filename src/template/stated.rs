//! `sbomPackageMetadata`: the older tool writes it with names of fields that changed over time, so that names are taken in
//! any case, and what is not understood is read past.

use crate::model::StatedPackage;
use crate::yaml::Node;

/// The algorithms that SPDX knows, section 7.10, as far as they are in use.
const ALGORITHMS: [&str; 6] = ["MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"];

/// Converts the entries that have a name.
pub(super) fn packages(nodes: &[Node]) -> Vec<StatedPackage> {
    nodes.iter().filter_map(package).collect()
}

fn package(node: &Node) -> Option<StatedPackage> {
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| value(node, name)?.text().map(str::to_owned))
    };
    let given = |names: &[&str]| text(names).unwrap_or_default();
    let checksums = ["checksum", "checksums"].iter().find_map(|name| value(node, name));
    let checksums = checksums.map_or(&[][..], Node::items);
    Some(StatedPackage {
        name: text(&["name"]).filter(|name| !name.is_empty())?,
        version: given(&["version", "versioninfo"]),
        licence: given(&["license", "licensedeclared", "licence"]),
        supplier: given(&["supplier", "origin", "maintainer"]),
        download: given(&["downloadlocation", "url"]),
        homepage: given(&["homepage"]),
        summary: given(&["summary", "description"]),
        checksums: checksums.iter().filter_map(checksum).collect(),
    })
}

/// Returns a digest of an algorithm that is known, in lower case.
fn checksum(node: &Node) -> Option<(String, String)> {
    let algorithm = value(node, "algorithm")?.text()?.to_ascii_uppercase().replace('-', "");
    let digest = ["value", "checksumvalue"]
        .iter()
        .find_map(|name| value(node, name))?
        .text()?;
    let is_digest = !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    (ALGORITHMS.contains(&algorithm.as_str()) && is_digest).then(|| (algorithm, digest.to_ascii_lowercase()))
}

/// Returns the value of the key `name`, in any case.
fn value<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let found = node
        .entries()
        .iter()
        .find(|(key, _)| key.text.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}
