//! Damage heals itself. Each copy is verified, so a build fails if the disk has damaged what earlier builds left. Then
//! everything that the build took from earlier ones is checked, what is damaged is removed, and the build runs again,
//! which makes it anew.

use std::collections::BTreeSet;
use std::path::Path;

use crate::durable::FileLock;
use crate::layer::{self, LayerError, LayerStore, Manifest};
use crate::pipeline::assemble::base::{self, BaseState};
use crate::pipeline::context::Context;
use crate::pipeline::damaged::Damaged;
use crate::pipeline::error::BuildError;
use crate::pipeline::report::BuildReport;
use crate::snapshot;
use crate::workspace::ImageBuild;

/// Runs `build`, and runs it again if it found damage and removed it. The report's warnings name that damage. The same
/// thing damaged twice is an error.
pub fn healed(build: impl Fn() -> Result<BuildReport, BuildError>) -> Result<BuildReport, BuildError> {
    let mut healed: Vec<Damaged> = Vec::new();
    loop {
        match build() {
            Err(BuildError::Damaged(found)) if !found.iter().any(|new| is_among(&healed, new)) => healed.extend(found),
            Err(error) => return Err(error),
            Ok(mut report) => {
                let lines = healed.iter().map(|damaged| format!("{damaged}; it was made again"));
                report.warnings.extend(lines);
                return Ok(report);
            }
        }
    }
}

fn is_among(healed: &[Damaged], new: &Damaged) -> bool {
    healed.iter().any(|old| old.path == new.path)
}

/// Finds out why a build has really failed: `error`, or damage of what it took from earlier builds, which is removed
/// here.
///
/// All of that is read, for the error does not say where the damage is: a program in the image that read a wrong byte
/// names its own trouble, if any, and the byte can have come from any layer.
pub fn explain(error: BuildError, context: &Context<'_>, output: &ImageBuild, base: BaseState) -> BuildError {
    if context.work.cancel.is_cancelled() || is_elsewhere(&error) {
        return error;
    }
    let found = layers(context).and_then(|mut found| {
        found.extend(upper(context, output)?);
        if base.reused {
            found.extend(snapshot(context)?);
        }
        Ok(found)
    });
    match found {
        Ok(found) if found.is_empty() => error,
        Ok(found) => {
            tracing::info!(%error, "the build failed because of damage on disk");
            BuildError::Damaged(found)
        }
        Err(other) => {
            tracing::warn!("whether anything on disk is damaged could not be found out: {other}");
            error
        }
    }
}

/// Says whether a failure has its cause in something that no earlier build has left: nothing need be read then.
fn is_elsewhere(error: &BuildError) -> bool {
    matches!(
        error,
        BuildError::Cancelled(_)
            | BuildError::Cache(_)
            | BuildError::Fetch(_)
            | BuildError::Full { .. }
            | BuildError::Gone(_)
            | BuildError::Lock(_)
            | BuildError::NotCached(_)
            | BuildError::PackageFiles(_)
            | BuildError::Plan(_)
            | BuildError::Repo(_)
            | BuildError::Resolve { .. }
    )
}

/// Removes the reused layers that are damaged, and those that lie on them.
fn layers(context: &Context<'_>) -> Result<Vec<Damaged>, BuildError> {
    let store = LayerStore::new(context.workspace.layers());
    let (mut found, mut keys) = (Vec::new(), BTreeSet::new());
    for key in context.reused.keys().iter() {
        let (path, details) = match store.check(*key) {
            Ok(layer) => {
                let looked = layer::damage(&layer.tree(), &layer.manifest, &layer.sums(), context.work.cancel);
                match looked.map_err(LayerError::from)? {
                    Some(damage) => (layer.directory().to_owned(), words(&damage)),
                    None => continue,
                }
            }
            Err(LayerError::Unusable { directory, problem, .. }) => (directory, problem),
            Err(error) => return Err(error.into()),
        };
        keys.insert(*key);
        found.push(Damaged {
            kind: "the step layer",
            path,
            details,
        });
    }
    store.remove(&keys)?;
    Ok(found)
}

/// Says whether the image's own upper is damaged; a build that fails leaves none in any case.
fn upper(context: &Context<'_>, output: &ImageBuild) -> Result<Option<Damaged>, BuildError> {
    let Ok(manifest) = Manifest::read(&output.upper_manifest()) else {
        return Ok(None);
    };
    let looked = layer::damage(&output.upper(), &manifest, &output.upper_sums(), context.work.cancel);
    Ok(looked.map_err(LayerError::from)?.map(|damage| Damaged {
        kind: "the image's own layer",
        path: output.upper(),
        details: words(&damage),
    }))
}

/// Removes what is damaged of the base: what can be made from the rest, or all of it.
fn snapshot(context: &Context<'_>) -> Result<Vec<Damaged>, BuildError> {
    let _lock = FileLock::exclusive_unless(&context.workspace.base_lock(), context.work.cancel, || ())?;
    let paths = base::paths(context);
    if !paths.tarball.exists() {
        return Ok(Vec::new());
    }
    let examined = snapshot::examine(&paths, &|_| (), context.work.cancel)?;
    let mut found = Vec::new();
    for damaged in examined.damaged {
        damaged.remove(&paths)?;
        found.push(Damaged {
            kind: if damaged.is_base() {
                "the base"
            } else {
                "a part of the base"
            },
            details: damaged.files.first().map_or(damaged.problem, |path| named(path)),
            path: damaged.path,
        });
    }
    Ok(found)
}

fn words(damage: &layer::Damage) -> String {
    damage.names().unwrap_or_else(|| damage.problem.clone())
}

fn named(path: &Path) -> String {
    path.display().to_string()
}
