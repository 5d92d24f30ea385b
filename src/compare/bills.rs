//! Bills of materials of any origin, SPDX or CycloneDX in JSON, compared by their packages.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::packages::{Known, PackageChange, compare_packages};
use crate::inspect::{canonical_digest, sha256};

/// The largest bill that is read, in bytes.
pub const BILL_BYTES_MAX: usize = 256 << 20;

/// The reason why a bill cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// It is no JSON.
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("it is neither SPDX nor CycloneDX")]
    Unknown,
}

/// The difference, in the keys of the tool that oic replaces.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BillsDifference {
    /// The path of the first one.
    pub from_path: String,
    /// The path of the second one.
    pub to_path: String,
    /// Whether both list the same packages.
    pub equal: bool,
    /// The SHA-256 of the first one.
    #[serde(rename = "fromSha256")]
    pub from_digest: String,
    /// The SHA-256 of the second one.
    #[serde(rename = "toSha256")]
    pub to_digest: String,
    /// The SHA-256 of what the first one says.
    #[serde(rename = "fromCanonicalSha256")]
    pub from_canonical: String,
    /// The SHA-256 of what the second one says.
    #[serde(rename = "toCanonicalSha256")]
    pub to_canonical: String,
    /// The number of packages of the first one.
    pub from_package_count: usize,
    /// The number of packages of the second one.
    pub to_package_count: usize,
    /// `name: version` of packages that only the second one has.
    pub added_packages: Vec<String>,
    /// Those that only the first one has.
    pub removed_packages: Vec<String>,
    /// `name: from -> to` of packages that both have in different versions.
    pub upgraded_packages: Vec<String>,
}

/// Returns the packages of a bill: those of SPDX that are no sources and not the image itself, the components of CycloneDX.
///
/// # Errors
/// [`BillError`].
pub fn bill_packages(content: &[u8]) -> Result<Vec<Known>, BillError> {
    // Other programs write a mark of the byte order.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let bill: Value = serde_json::from_slice(content)?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    if bill["spdxVersion"].is_string() {
        let is_installed = |package: &&Value| {
            let purpose = package["primaryPackagePurpose"].as_str().unwrap_or_default();
            !matches!(purpose, "SOURCE" | "OPERATING-SYSTEM")
        };
        let all = bill["packages"].as_array().map_or(&[][..], Vec::as_slice);
        let known = |package: &Value| Known {
            name: text(package, "name"),
            version: text(package, "versionInfo"),
            architecture: architecture(package["externalRefs"].as_array().and_then(|all| {
                let urls = all.iter().filter(|own| own["referenceType"] == "purl");
                urls.filter_map(|own| own["referenceLocator"].as_str()).next()
            })),
            installed_bytes: 0,
        };
        return Ok(all.iter().filter(is_installed).map(known).collect());
    }
    if bill["bomFormat"].is_string() {
        let all = bill["components"].as_array().map_or(&[][..], Vec::as_slice);
        let known = |component: &Value| Known {
            name: text(component, "name"),
            version: text(component, "version"),
            architecture: architecture(component["purl"].as_str()),
            installed_bytes: 0,
        };
        return Ok(all.iter().filter(|own| own["type"] != "file").map(known).collect());
    }
    Err(BillError::Unknown)
}

/// Returns the architecture in a package URL.
fn architecture(url: Option<&str>) -> String {
    let qualifiers = url
        .and_then(|url| url.split_once('?'))
        .map_or("", |(_, qualifiers)| qualifiers);
    let arch = qualifiers.split(['&', '#']).find_map(|own| own.strip_prefix("arch="));
    arch.unwrap_or_default().to_owned()
}

/// Compares two bills, each with its path and bytes.
///
/// # Errors
/// [`BillError`].
pub fn compare_bills(from: (&str, &[u8]), to: (&str, &[u8])) -> Result<BillsDifference, BillError> {
    let (before, after) = (bill_packages(from.1)?, bill_packages(to.1)?);
    let changes = compare_packages(&before, &after);
    let told = |wanted: fn(&PackageChange) -> Option<String>| {
        let all: BTreeSet<String> = changes.iter().filter_map(wanted).collect();
        all.into_iter().collect::<Vec<_>>()
    };
    Ok(BillsDifference {
        from_path: from.0.to_owned(),
        to_path: to.0.to_owned(),
        equal: changes.is_empty(),
        from_digest: sha256(from.1),
        to_digest: sha256(to.1),
        from_canonical: canonical_digest(from.1),
        to_canonical: canonical_digest(to.1),
        from_package_count: before.len(),
        to_package_count: after.len(),
        added_packages: told(|one| match (&one.from, &one.to) {
            (None, Some(to)) => Some(format!("{}: {to}", one.name)),
            _ => None,
        }),
        removed_packages: told(|one| match (&one.from, &one.to) {
            (Some(from), None) => Some(format!("{}: {from}", one.name)),
            _ => None,
        }),
        upgraded_packages: told(|one| match (&one.from, &one.to) {
            (Some(from), Some(to)) => Some(format!("{}: {} -> {}", one.name, shown(from), shown(to))),
            _ => None,
        }),
    })
}

/// Returns a version, or the word for none.
fn shown(version: &str) -> &str {
    if version.is_empty() { "unknown" } else { version }
}
