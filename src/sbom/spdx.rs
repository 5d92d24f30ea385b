//! A bill as SPDX 2.3 in JSON (spdx.github.io/spdx-spec/v2.3).

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use uuid::Uuid;

use super::identity::{self, Supplier};
use super::licence::identifier;
use super::{Bill, Component, Origin};
use crate::date;
use crate::package::Sha256;

/// What the specification has for "nobody has found out".
const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: Creation,
    packages: Vec<Package<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File<'a>>,
    #[serde(rename = "hasExtractedLicensingInfos", skip_serializing_if = "Vec::is_empty")]
    licences: Vec<Licence<'a>>,
    relationships: Vec<Relationship>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Creation {
    created: String,
    creators: Vec<String>,
    license_list_version: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version_info: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    package_file_name: &'a str,
    supplier: String,
    download_location: &'a str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_verification_code: Option<Verification>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_info: String,
    license_concluded: &'static str,
    license_declared: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    license_comments: &'a str,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    summary: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<External>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    package_verification_code_value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum<'a> {
    algorithm: &'a str,
    checksum_value: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct External {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    file_name: String,
    checksums: [Checksum<'a>; 2],
    license_concluded: &'static str,
    copyright_text: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Licence<'a> {
    license_id: &'a str,
    name: &'a str,
    extracted_text: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// Returns the document, with a line end.
pub(super) fn document(bill: &Bill) -> Vec<u8> {
    let ids = ids(bill);
    let (sources, from) = sources(bill);
    let mut document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: [bill.name.as_str(), bill.version.as_str()]
            .join("-")
            .trim_matches('-')
            .to_owned(),
        document_namespace: String::new(),
        creation_info: Creation {
            created: created(bill),
            creators: vec![format!("Tool: oic-sbom-{}", super::VERSION)],
            license_list_version: list_version(),
        },
        packages: vec![image(bill)],
        files: Vec::new(),
        licences: bill
            .references
            .iter()
            .map(|(id, reference)| Licence {
                license_id: id,
                name: &reference.name,
                extracted_text: &reference.text,
            })
            .collect(),
        relationships: vec![relationship(DOCUMENT, "DESCRIBES", IMAGE)],
    };
    let packages = bill
        .components
        .iter()
        .zip(&ids)
        .map(|(component, id)| package(bill, component, id));
    document.packages.extend(packages);
    document.packages.extend(sources);
    let contains = ids.iter().map(|id| relationship(IMAGE, "CONTAINS", id));
    document.relationships.extend(contains);
    let id = |index: usize| ids.get(index).map(String::as_str).unwrap_or(IMAGE);
    let needs = bill
        .dependencies
        .iter()
        .map(|(from, to)| relationship(id(*from), "DEPENDS_ON", id(*to)));
    document.relationships.extend(needs);
    let made = from
        .iter()
        .map(|(index, source)| relationship(id(*index), "GENERATED_FROM", source));
    document.relationships.extend(made);
    add_files(bill, &ids, &mut document);
    let bytes = |document: &Document<'_>| {
        // Texts, numbers and lists always have a JSON form.
        let mut bytes = serde_json::to_vec(document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    };
    let uuid = uuid(&bytes(&document));
    document.document_namespace = format!("https://spdx.org/spdxdocs/{}-{uuid}", identity::escaped(&document.name));
    bytes(&document)
}

/// Makes an identifier of a document's content.
pub(super) fn uuid(content: &[u8]) -> Uuid {
    let digest = Sha256::of(content);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.0.get(..16).unwrap_or(&[0; 16]));
    Uuid::new_v8(bytes)
}

/// Returns the time of the bill in the form of the specifications: UTC, whole seconds.
pub(super) fn created(bill: &Bill) -> String {
    let seconds = i64::try_from(bill.epoch_seconds).unwrap_or_default();
    date::civil(seconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the version of the list of licences, of which the specification wants two numbers.
fn list_version() -> String {
    let version = spdx::license_version();
    version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

fn relationship(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type: kind,
        related_spdx_element: to.to_owned(),
    }
}

/// Returns an identifier for each component: its name in the letters of identifiers, and a number if others have it too.
fn ids(bill: &Bill) -> Vec<String> {
    let mut used: HashMap<String, usize> = HashMap::new();
    let id = |component: &Component| {
        let id = format!("SPDXRef-Package-{}", identifier(&component.package.name));
        let count = used.entry(id.to_ascii_lowercase()).or_default();
        *count += 1;
        if *count == 1 { id } else { format!("{id}-{count}") }
    };
    bill.components.iter().map(id).collect()
}

fn image(bill: &Bill) -> Package<'_> {
    let mut refs = vec![external(
        "PACKAGE-MANAGER",
        "purl",
        identity::generic_url(&bill.name, &bill.version),
    )];
    if bill.os.cpe.starts_with("cpe:2.3:o:") {
        refs.push(external("SECURITY", "cpe23Type", bill.os.cpe.clone()));
    } else if bill.os.cpe.starts_with("cpe:/o:") {
        refs.push(external("SECURITY", "cpe22Type", bill.os.cpe.clone()));
    }
    Package {
        id: IMAGE.to_owned(),
        name: &bill.name,
        version_info: &bill.version,
        supplier: UNKNOWN.to_owned(),
        download_location: UNKNOWN,
        license_concluded: UNKNOWN,
        license_declared: UNKNOWN,
        copyright_text: UNKNOWN,
        summary: &bill.os.name,
        external_refs: refs,
        primary_package_purpose: Some("OPERATING-SYSTEM"),
        ..Package::default()
    }
}

fn external(category: &'static str, kind: &'static str, locator: String) -> External {
    External {
        reference_category: category,
        reference_type: kind,
        reference_locator: locator,
    }
}

fn package<'a>(bill: &Bill, component: &'a Component, id: &str) -> Package<'a> {
    let own = &component.package;
    let supplier = Supplier::parse(&own.supplier).map(|supplier| supplier.spdx());
    let checksums = component.checksums.iter().map(|(algorithm, value)| Checksum {
        algorithm,
        checksum_value: value,
    });
    let (source_info, comment) = match &component.origin {
        Origin::Repository(words) => (format!("from the repository {words}"), ""),
        Origin::Behind => (String::new(), BEHIND),
        Origin::Stated => (String::new(), STATED),
        Origin::Unknown => (String::new(), ""),
    };
    let mut refs = vec![external("PACKAGE-MANAGER", "purl", identity::package_url(bill, own))];
    refs.push(external("SECURITY", "cpe23Type", identity::cpe(own)));
    Package {
        id: id.to_owned(),
        name: &own.name,
        version_info: &own.version,
        package_file_name: &component.file,
        supplier: supplier.unwrap_or_else(|| UNKNOWN.to_owned()),
        download_location: match identity::is_web_address(&component.download) {
            true => &component.download,
            false => UNKNOWN,
        },
        checksums: checksums.collect(),
        homepage: Some(own.homepage.as_str()).filter(|page| identity::is_web_address(page)),
        source_info,
        license_concluded: UNKNOWN,
        license_declared: component.licence.as_deref().unwrap_or(UNKNOWN),
        license_comments: &component.licence_comment,
        copyright_text: UNKNOWN,
        summary: &own.summary,
        comment,
        external_refs: refs,
        ..Package::default()
    }
}

/// What is said about a package that the lockfile does not have.
pub(super) const BEHIND: &str = "installed by a command or file of the template, not from the packages of the build";
/// What is said about a package that no database has.
pub(super) const STATED: &str = "stated by the template; no package manager has it";

/// Lists the source packages, and which components were made of them, by index.
fn sources(bill: &Bill) -> (Vec<Package<'_>>, Vec<(usize, String)>) {
    let mut packages: BTreeMap<String, Package<'_>> = BTreeMap::new();
    let mut from = Vec::new();
    for (index, component) in bill.components.iter().enumerate() {
        let own = &component.package;
        let Some(url) = identity::source_url(bill, own) else {
            continue;
        };
        let id = format!(
            "SPDXRef-Source-{}-{}",
            identifier(&own.source),
            identifier(&own.source_version)
        );
        from.push((index, id.clone()));
        packages.entry(id.clone()).or_insert_with(|| Package {
            id,
            name: &own.source,
            version_info: &own.source_version,
            supplier: UNKNOWN.to_owned(),
            download_location: UNKNOWN,
            license_concluded: UNKNOWN,
            license_declared: UNKNOWN,
            copyright_text: UNKNOWN,
            external_refs: vec![external("PACKAGE-MANAGER", "purl", url)],
            primary_package_purpose: Some("SOURCE"),
            ..Package::default()
        });
    }
    (packages.into_values().collect(), from)
}

/// Adds the files: those of packages, each below its package, and those that no package has, below the image.
fn add_files<'a>(bill: &'a Bill, ids: &[String], document: &mut Document<'a>) {
    let mut codes: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for file in bill.files.iter().flatten() {
        let digest = Sha256::of(&file.path).to_string();
        let id = format!("SPDXRef-File-{}", digest.get(..24).unwrap_or_default());
        // The image is the first of the document's packages.
        let owner = file.owner.map_or(0, |owner| owner + 1);
        codes.entry(owner).or_default().push(&file.sha1);
        let above = file
            .owner
            .and_then(|owner| ids.get(owner))
            .map_or(IMAGE, String::as_str);
        document.relationships.push(relationship(above, "CONTAINS", &id));
        document.files.push(File {
            id,
            file_name: format!(".{}", file.path),
            checksums: [("SHA1", &file.sha1), ("SHA256", &file.sha256)].map(|(algorithm, value)| Checksum {
                algorithm,
                checksum_value: value,
            }),
            license_concluded: UNKNOWN,
            copyright_text: UNKNOWN,
        });
    }
    for (owner, mut sums) in codes {
        // Section 7.9.
        sums.sort_unstable();
        let code = sha1_smol::Sha1::from(sums.concat()).digest().to_string();
        if let Some(package) = document.packages.get_mut(owner) {
            package.files_analyzed = true;
            package.package_verification_code = Some(Verification {
                package_verification_code_value: code,
            });
        }
    }
}
