//! Builds again from scratch, and names the first difference.

mod tree;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::durable::{PathError, ScratchDir};
use crate::layer::{Below, Layer, LayerStore};
use crate::mount::Engine;
use crate::mount::server::{LayerRequest, Lifetime, SnapshotRequest};
use crate::mount::session::{self, MountRequest, Session, View};
use crate::progress::Progress;
use crate::resolve::lockfile::Lockfile;

use super::report::BuildReport;
use super::{BuildError, BuildRequest, build};

/// Bytes that are compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes that differ, by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte that differs.
    pub start: u64,
    /// Behind the last one before the two are the same again.
    pub end: u64,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {}", self.start, self.end.saturating_sub(1))
    }
}

/// The first difference between two builds of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In the image; `None` if it was not kept.
    pub image: Option<Range>,
    /// The partition that this lies in, by its id in the template.
    pub partition: Option<String>,
    /// The first path of the tree that is not the same, and what about it.
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

/// Builds the image of `report`, which `request` made, once more from scratch, from the same lockfile, in a work directory
/// of its own; gives the first difference, if there is one.
///
/// # Errors
/// As [`build`], and if the results cannot be read.
pub fn check(
    request: &BuildRequest,
    report: &BuildReport,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Option<Difference>, BuildError> {
    progress.note("building again from scratch, to compare");
    let scratch = ScratchDir::create_in(&request.work_dir)?;
    let text = fs::read(&report.lockfile).map_err(PathError::on("read", &report.lockfile))?;
    let again = BuildRequest {
        work_dir: scratch.path().to_owned(),
        from_scratch: true,
        lock: Some(Lockfile::from_json(&text)?),
        dot_file: None,
        ..request.clone()
    };
    let other = build(&again, progress, cancel)?;
    if other.image.sha256 == report.image.sha256 {
        return Ok(None);
    }
    let image = first_range(&report.image.path, &other.image.path)?;
    let plan = super::disk_plan(request, Lockfile::from_json(&text)?.seed())?;
    let partition = plan.partitions.iter().find(|planned| {
        let offset = planned.offset_bytes();
        image.is_some_and(|range| (offset..offset.saturating_add(planned.size_bytes())).contains(&range.start))
    });
    let place = |name| {
        let at = scratch.path().join(name);
        fs::create_dir(&at).map_err(PathError::on("create", &at))?;
        Ok::<_, PathError>(at)
    };
    let (first, second) = (show(request, &place("first")?)?, show(&again, &place("second")?)?);
    let epoch_seconds = report.epoch_seconds;
    let file = tree::first_difference(first.mount_point(), second.mount_point(), epoch_seconds, cancel)?;
    first.close()?;
    second.close()?;
    Ok(Some(Difference {
        image,
        partition: partition.map(|planned| planned.partition.id.clone()),
        file,
    }))
}

/// Mounts the finished tree of `request`'s build.
fn show(request: &BuildRequest, at: &Path) -> Result<Session, BuildError> {
    let (workspace, output) = (request.workspace(), request.image_build());
    let layers = Below::read(&output.below())?.open(&LayerStore::new(workspace.layers()))?;
    let steps = std::iter::once(output.upper())
        .chain(layers.iter().map(Layer::tree))
        .collect();
    let snapshot = SnapshotRequest {
        tarball: workspace.tarball(),
        index: workspace.index(),
        backing_dir: workspace.backing_store(),
        prefetch: Default::default(),
        record_order: false,
    };
    let layers = LayerRequest {
        snapshot: Some(snapshot),
        pool: None,
    };
    let request = MountRequest {
        view: View::Overlay { upper: None, steps },
        engine: Engine::Kernel,
        lifetime: Lifetime::Caller,
        ..MountRequest::view(layers, "")
    };
    Ok(session::mount(&request, at)?)
}

/// The first bytes in which two files differ; `None` if one of them is not there.
fn first_range(a: &Path, b: &Path) -> Result<Option<Range>, PathError> {
    if !a.exists() || !b.exists() {
        return Ok(None);
    }
    let open = |path: &Path| File::open(path).map_err(PathError::on("open", path));
    differing(&open(a)?, &open(b)?).map_err(PathError::on("compare", a))
}

fn differing(a: &File, b: &File) -> io::Result<Option<Range>> {
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let (mut at, mut start) = (0_u64, None);
    loop {
        let (n, m) = (read_at(a, &mut left, at)?, read_at(b, &mut right, at)?);
        let common = n.min(m);
        for (offset, (x, y)) in left[..common].iter().zip(&right[..common]).enumerate() {
            let position = at + offset as u64;
            match (start, x == y) {
                (None, false) => start = Some(position),
                (Some(start), true) => return Ok(Some(Range { start, end: position })),
                _ => {}
            }
        }
        at += common as u64;
        if n != m {
            let end = at + (n.max(m) - common) as u64;
            return Ok(Some(Range {
                start: start.unwrap_or(at),
                end,
            }));
        }
        if common == 0 {
            return Ok(start.map(|start| Range { start, end: at }));
        }
    }
}

/// Fills `buffer` as far as the file goes.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_range_is_found_across_chunks() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        let mut bytes = vec![7; 2 * CHUNK_BYTES + 10];
        let compare = |left: &[u8], right: &[u8]| {
            fs::write(&a, left).unwrap();
            fs::write(&b, right).unwrap();
            first_range(&a, &b).unwrap()
        };
        let same = bytes.clone();
        assert_eq!(compare(&same, &bytes), None);
        bytes[CHUNK_BYTES - 2..CHUNK_BYTES + 3].fill(8);
        let (start, end) = (CHUNK_BYTES as u64 - 2, CHUNK_BYTES as u64 + 3);
        assert_eq!(compare(&same, &bytes), Some(Range { start, end }));
        assert_eq!(compare(&same[..5], &same[..9]), Some(Range { start: 5, end: 9 }));
        assert_eq!(compare(b"xy", b"xz"), Some(Range { start: 1, end: 2 }));
    }
}
