//! Builds again from scratch, and names the first difference.

mod range;
mod tree;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::durable::{self, PathError, ScratchDir};
use crate::layer::{Below, Layer, LayerStore};
use crate::layers::{BaseRequest, LayerRequest};
use crate::mount::Engine;
use crate::mount::server::Lifetime;
use crate::mount::session::{self, MountRequest, Session, View};
use crate::resolve::lockfile::Lockfile;
use crate::snapshot::SnapshotPaths;

use crate::pipeline::build::disk_plan;
use crate::pipeline::error::BuildError;
use crate::pipeline::medium::build;
use crate::pipeline::report::BuildReport;
use crate::pipeline::request::{BuildRequest, Selecting};
use crate::work::Work;
pub use range::Range;
use range::first_range;

/// The first difference between two builds of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The bytes of the image; `None` if it was not kept.
    pub image: Option<Range>,
    /// The partition that these bytes lie in, by its id in the template.
    pub partition: Option<String>,
    /// The first path of the tree that differs, and how it differs.
    pub file: Option<(PathBuf, String)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a build from scratch gives another image")?;
        if let Some(range) = self.image {
            write!(f, "\n  first difference: {range} of the image")?;
            match &self.partition {
                Some(id) => write!(f, ", in the partition {id:?}")?,
                None => f.write_str(", in no partition")?,
            }
        }
        match &self.file {
            Some((path, what)) => write!(f, "\n  first file that differs: {}: {what}", path.display()),
            None => f.write_str("\n  no file differs in anything that an image holds"),
        }
    }
}

/// Builds the image of `report`, which `request` made, once more from scratch, from the same lockfile, in a work
/// directory of its own. Gives the first difference, or `None`.
///
/// # Errors
/// As [`build`], and if the results cannot be read.
pub fn check(request: &BuildRequest, report: &BuildReport, work: Work<'_>) -> Result<Option<Difference>, BuildError> {
    work.progress.note("building again from scratch, to compare");
    let scratch = ScratchDir::create_in(&request.selecting.work_dir)?;
    let text = fs::read(&report.lockfile).map_err(PathError::on("read", &report.lockfile))?;
    let again = BuildRequest {
        selecting: Selecting {
            work_dir: scratch.path().to_owned(),
            ..request.selecting.clone()
        },
        from_scratch: true,
        lock: Some(Lockfile::from_json(&text)?),
        dot_file: None,
        owner: None,
        ..request.clone()
    };
    let other = build(&again, work)?;
    if other.image.digest == report.image.digest {
        return Ok(None);
    }
    let image = first_range(&report.image.path, &other.image.path)?;
    let plan = disk_plan(request, Lockfile::from_json(&text)?.seed())?;
    let partition = plan.partitions.iter().find(|planned| {
        let offset = planned.offset_bytes();
        image.is_some_and(|range| (offset..offset.saturating_add(planned.size_bytes())).contains(&range.start))
    });
    let place = |name| {
        let at = scratch.path().join(name);
        durable::private_directory(&at)?;
        Ok::<_, PathError>(at)
    };
    let (first, second) = (show(request, &place("first")?)?, show(&again, &place("second")?)?);
    let epoch_seconds = report.epoch_seconds;
    let file = tree::first_difference(first.mount_point(), second.mount_point(), epoch_seconds, work.cancel)?;
    first.close()?;
    second.close()?;
    Ok(Some(Difference {
        image,
        partition: partition.map(|planned| planned.partition.id.clone()),
        file,
    }))
}

/// Mounts the finished tree of `request`'s build at `at`.
fn show(request: &BuildRequest, at: &Path) -> Result<Session<LayerRequest>, BuildError> {
    let (workspace, output) = (request.workspace(), request.image_build());
    let layers = Below::read(&output.below())?.open(&LayerStore::new(workspace.layers()))?;
    let steps = std::iter::once(output.upper())
        .chain(layers.iter().map(Layer::tree))
        .collect();
    let layers = LayerRequest {
        base: Some(BaseRequest::at(SnapshotPaths::of(&workspace))),
        pool: None,
        disk: None,
    };
    let request = MountRequest {
        view: View::Overlay { upper: None, steps },
        engine: Engine::Kernel,
        lifetime: Lifetime::Caller,
        ..MountRequest::view(layers, "")
    };
    Ok(session::mount(&request, at)?)
}
