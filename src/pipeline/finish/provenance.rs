//! The provenance of a build: an in-toto statement (v1) with SLSA's predicate (v1.0), beside the image.
//!
//! It has no clock, so the same build states the same. It is not signed here: [`write`] is the one place that hands the
//! statement over.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::durable;
use crate::image::merged::Merged;
use crate::installed::{Manager, Package};
use crate::package::Sha256;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::provider::PackageSystem;
use crate::resolve::lockfile::Lockfile;
use crate::sbom::{self, Bill};
use crate::template::Scope;

/// The end of its name.
const SUFFIX: &str = "provenance.json";
/// What kind of build it was, and who built.
const BUILD_TYPE: &str = "urn:oic:build:v1";
const BUILDER: &str = "urn:oic";

/// What is stated.
#[derive(Debug, Clone, Copy)]
pub struct Stated<'a> {
    /// The packages.
    pub lockfile: &'a Lockfile,
    /// The tree.
    pub merged: &'a Merged,
    /// The delivered files, each with its digest.
    pub files: &'a [(&'a Path, Sha256)],
}

/// Writes the provenance of `stated` into `directory`, and returns its path; `None` if no file with a known digest is
/// delivered.
///
/// # Errors
/// If the tree cannot be read, or the file not be written.
pub fn write(context: &Context<'_>, directory: &Path, stated: Stated<'_>) -> Result<Option<PathBuf>, BuildError> {
    if stated.files.is_empty() {
        return Ok(None);
    }
    let mut text = statement(context, stated)?.to_string();
    text.push('\n');
    let path = directory.join(format!("{}.{SUFFIX}", context.request.output_name()));
    durable::write_file(&path, text)?;
    Ok(Some(path))
}

/// Returns the statement.
fn statement(context: &Context<'_>, stated: Stated<'_>) -> Result<Value, BuildError> {
    let loaded = context.loaded();
    // Without secrets, which no statement may repeat. A loaded template can always be printed.
    let template = loaded.resolved(Scope::Full, false).unwrap_or_default();
    let subject = stated.files.iter().map(|(path, digest)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        json!({"name": name, "digest": {"sha256": digest.to_string()}})
    });
    let target = &loaded.template.target;
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject.collect::<Vec<_>>(),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "image": loaded.template.image.name,
                    "provider": target.provider_id(),
                    "template": {"sha256": Sha256::of(&template).to_string()},
                },
                "internalParameters": {"lockfile": {"sha256": stated.lockfile.digest().to_string()}},
                "resolvedDependencies": dependencies(context, stated)?,
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"oic": env!("CARGO_PKG_VERSION")}},
                "metadata": {"invocationId": stated.lockfile.seed().to_string()},
            },
        },
    }))
}

/// Lists the signed metadata of the repositories, and the packages.
fn dependencies(context: &Context<'_>, stated: Stated<'_>) -> Result<Vec<Value>, BuildError> {
    let manager = match context.loaded().provider.packages.system {
        PackageSystem::Deb => Manager::Dpkg,
        PackageSystem::Rpm => Manager::Rpm,
    };
    let bill = Bill {
        manager,
        os: sbom::os(stated.merged)?,
        ..Bill::default()
    };
    let repositories = stated.lockfile.repositories.iter().map(|repository| {
        let annotations = json!({"id": repository.id, "suite": repository.suite, "date": repository.date});
        json!({"name": repository.id, "digest": {"sha256": repository.digest}, "annotations": annotations})
    });
    let packages = stated.lockfile.packages.iter().map(|package| {
        let own = Package {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            ..Package::default()
        };
        let mut digest = Map::new();
        let name = package.checksum.algorithm().name().to_owned();
        digest.insert(name, package.checksum.to_string().into());
        json!({"uri": sbom::package_url(&bill, &own), "digest": digest})
    });
    Ok(repositories.chain(packages).collect())
}
