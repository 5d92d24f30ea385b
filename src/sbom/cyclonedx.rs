//! A bill as CycloneDX 1.6 in JSON (ECMA-424).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::identity::{self, Supplier};
use super::{Bill, Component, Origin, spdx};

/// The reference to the image itself.
const IMAGE: &str = "image";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    serial_number: String,
    version: u32,
    metadata: Value,
    components: Vec<Value>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

/// Returns the document, with a line end.
pub(super) fn document(bill: &Bill) -> Vec<u8> {
    let urls = references(bill);
    let mut document = Document {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: String::new(),
        version: 1,
        metadata: metadata(bill),
        components: Vec::new(),
        dependencies: Vec::new(),
    };
    let mut files: BTreeMap<Option<usize>, Vec<Value>> = BTreeMap::new();
    for file in bill.files.iter().flatten() {
        files.entry(file.owner).or_default().push(json!({
            "type": "file",
            "name": file.path,
            "hashes": [{"alg": "SHA-1", "content": file.sha1}, {"alg": "SHA-256", "content": file.sha256}],
        }));
    }
    for (index, (component, reference)) in bill.components.iter().zip(&urls).enumerate() {
        let mut value = described(bill, component, reference);
        if let Some(files) = files.remove(&Some(index)) {
            value["components"] = files.into();
        }
        document.components.push(value);
    }
    document.components.extend(files.into_values().flatten());
    document.dependencies.push(Dependency {
        reference: IMAGE.to_owned(),
        depends_on: urls.clone(),
    });
    let mut needs: Vec<Vec<String>> = vec![Vec::new(); urls.len()];
    for (from, to) in &bill.dependencies {
        if let (Some(list), Some(needed)) = (needs.get_mut(*from), urls.get(*to)) {
            list.push(needed.clone());
        }
    }
    let needs = urls.into_iter().zip(needs);
    document
        .dependencies
        .extend(needs.map(|(reference, depends_on)| Dependency { reference, depends_on }));
    let bytes = |document: &Document| {
        // Texts, numbers and lists always have a JSON form.
        let mut bytes = serde_json::to_vec(document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    };
    document.serial_number = spdx::uuid(&bytes(&document)).urn().to_string();
    bytes(&document)
}

/// Returns the reference to each component: its package URL, with a number if others have it too.
fn references(bill: &Bill) -> Vec<String> {
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    let reference = |component: &Component| {
        let url = identity::package_url(bill, &component.package);
        let count = used.entry(url.clone()).or_default();
        *count += 1;
        if *count == 1 { url } else { format!("{url}#{count}") }
    };
    bill.components.iter().map(reference).collect()
}

fn metadata(bill: &Bill) -> Value {
    let mut image = json!({
        "type": "operating-system",
        "bom-ref": IMAGE,
        "name": bill.name,
    });
    if !bill.version.is_empty() {
        image["version"] = bill.version.as_str().into();
    }
    if !bill.os.name.is_empty() {
        image["description"] = bill.os.name.as_str().into();
    }
    if bill.os.cpe.starts_with("cpe:") {
        image["cpe"] = bill.os.cpe.as_str().into();
    }
    json!({
        "timestamp": spdx::created(bill),
        "tools": {"components": [{"type": "application", "name": "oic-sbom", "version": super::VERSION.to_string()}]},
        "component": image,
    })
}

fn described(bill: &Bill, component: &Component, reference: &str) -> Value {
    let own = &component.package;
    let mut value = json!({
        "type": "library",
        "bom-ref": reference,
        "name": own.name,
    });
    let mut set = |key: &str, text: &str| {
        if !text.is_empty() {
            value[key] = text.into();
        }
    };
    set("version", &own.version);
    set("description", &own.summary);
    set("purl", &identity::package_url(bill, own));
    set("cpe", &identity::cpe(own));
    if let Some(supplier) = Supplier::parse(&own.supplier) {
        value["supplier"] = match &supplier.mail {
            Some(mail) => json!({"name": supplier.name, "contact": [{"email": mail}]}),
            None => json!({"name": supplier.name}),
        };
    }
    if let Some(licence) = &component.licence {
        value["licenses"] = json!([{"expression": licence, "acknowledgement": "declared"}]);
    }
    if !component.checksums.is_empty() {
        let hash = |(algorithm, content): &(String, String)| json!({"alg": hyphenated(algorithm), "content": content});
        value["hashes"] = component.checksums.iter().map(hash).collect();
    }
    let mut references = Vec::new();
    for (kind, url) in [("website", &own.homepage), ("distribution", &component.download)] {
        if identity::is_web_address(url) {
            references.push(json!({"type": kind, "url": url}));
        }
    }
    if !references.is_empty() {
        value["externalReferences"] = references.into();
    }
    if let Some(url) = identity::source_url(bill, own) {
        let source = json!({"type": "library", "name": own.source, "version": own.source_version, "purl": url});
        value["pedigree"] = json!({"ancestors": [source]});
    }
    let properties = properties(component);
    if !properties.is_empty() {
        value["properties"] = properties.into();
    }
    value
}

/// Returns the name of an algorithm in CycloneDX: `SHA-256` for `SHA256`.
fn hyphenated(algorithm: &str) -> String {
    match algorithm.strip_prefix("SHA").filter(|rest| !rest.starts_with('-')) {
        Some(rest) => format!("SHA-{rest}"),
        None => algorithm.to_owned(),
    }
}

fn properties(component: &Component) -> Vec<Value> {
    let (kind, words) = match &component.origin {
        Origin::Repository(words) => ("repository", words.as_str()),
        Origin::Behind => ("command", spdx::BEHIND),
        Origin::Stated => ("template", spdx::STATED),
        Origin::Unknown => ("", ""),
    };
    let all = [
        ("oic:origin", kind),
        ("oic:origin:detail", words),
        ("oic:file", &component.file),
        ("oic:licence:comment", &component.licence_comment),
    ];
    let given = all.into_iter().filter(|(_, value)| !value.is_empty());
    given
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}
