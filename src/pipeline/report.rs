//! What a build reports at its end: for people as a table, for machines as JSON.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::image::digest::Digest;
use crate::package::Sha256;

/// Version of the JSON form; changes when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 2;

/// The report of one build.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Provider id.
    pub provider: String,
    /// `systemConfig.name`.
    pub system_config: String,
    /// Upper limit of all times in the image, in seconds since 1970.
    pub epoch_seconds: u64,
    /// How long each stage took, in order.
    pub stages: Vec<StageTime>,
    /// What happened to the packages.
    pub packages: PackageCounts,
    /// How much of the base was needed.
    pub base: BaseUse,
    /// The step layers, the lowest first; the last is the image's own upper.
    pub layers: Vec<LayerUse>,
    /// The image.
    pub image: ImageFile,
    /// Paths of its other forms.
    pub artifacts: Vec<PathBuf>,
    /// Paths of what tells about the image: bills of materials, the manifest, the provenance.
    pub documents: Vec<PathBuf>,
    /// Path of `SHA256SUMS`, the digests of the delivered files, if there are any.
    pub sums: Option<PathBuf>,
    /// The lockfile.
    pub lockfile: PathBuf,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// All packages of the image. The JSON form leaves them out, because the lockfile has them.
    #[serde(skip)]
    pub package_list: Vec<ReportedPackage>,
}

/// The time of one stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageTime {
    /// The stage's name.
    pub stage: String,
    /// When it began, in seconds since the build did.
    pub start_seconds: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Whether it ran during other stages, or is a part of one, so that sums leave it out.
    pub is_inner: bool,
}

/// A package of the image, for people who look at sizes.
#[derive(Debug, Clone)]
pub struct ReportedPackage {
    /// Package name.
    pub name: String,
    /// Full version.
    pub version: String,
    /// Size of the package file in bytes.
    pub size_bytes: u64,
    /// Space that its files take, in bytes.
    pub installed_size_bytes: u64,
}

/// What happened to the packages of the resolution.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PackageCounts {
    /// Number of all packages.
    pub total: usize,
    /// Number of those that nothing needed: the layers that have them were there.
    pub unneeded: usize,
    /// Number of those that were in the cache already, and verified.
    pub reused: usize,
    /// Number of those that were downloaded.
    pub fetched: usize,
    /// Number of those that were in the cache but bad: deleted and downloaded again.
    pub refetched: usize,
    /// Bytes downloaded.
    pub fetched_bytes: u64,
}

/// How much of the base was needed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BaseUse {
    /// Whether an earlier build's base served.
    pub reused: bool,
    /// Number of its packages.
    pub packages: usize,
    /// Number of its files.
    pub files: u64,
    /// Number of files whose contents were read.
    pub files_read: u64,
    /// Bytes of contents in it.
    pub bytes: u64,
    /// Bytes that this build inflated.
    pub inflated_bytes: u64,
    /// Number of parts that it is packed in.
    pub parts: u64,
    /// Number of parts that this build inflated.
    pub parts_inflated: u64,
    /// Number of parts that were inflated already, by this build or another.
    pub parts_reused: u64,
    /// Number of parts that were ready before they were needed.
    pub parts_ahead: u64,
    /// Number of packages that were opened through the pool.
    pub packages_opened: u64,
}

/// A step layer of the image.
#[derive(Debug, Clone, Serialize)]
pub struct LayerUse {
    /// The step.
    pub step: String,
    /// Whether an earlier build, or one at the same time, has done it.
    pub reused: bool,
    /// Number of packages that it holds.
    pub packages: usize,
    /// Bytes of its files.
    pub size_bytes: u64,
}

/// The image file.
#[derive(Debug, Clone, Serialize)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the template asks for it; if not, it is the state from which the next build starts.
    pub is_delivered: bool,
    /// Its apparent size in bytes.
    pub size_bytes: u64,
    /// Space that it takes on disk, in bytes.
    pub data_bytes: u64,
    /// Bytes of it that this build wrote; the rest was there already.
    pub written_bytes: u64,
    /// Its digest, which `docs/image-digest.md` describes.
    pub digest: Digest,
    /// The SHA-256 of the raw image, if it is delivered and the request asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The root hash of its verified root, if it has one, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_hash: Option<String>,
}

/// Measures of stages that come one after the other, and of what runs meanwhile. Clones share them.
#[derive(Debug, Clone)]
pub struct Timeline {
    begun: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    lap: Instant,
    stages: Vec<StageTime>,
}

impl Timeline {
    /// Starts now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let begun = Instant::now();
        let state = State {
            lap: begun,
            stages: Vec::new(),
        };
        Self {
            begun,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Counts the time since the last lap as that of `stage`.
    pub fn lap(&self, stage: &str) {
        let mut state = self.lock();
        let (from, to) = (state.lap, Instant::now());
        state.lap = to;
        self.push(&mut state, stage, (from, to), false);
    }

    /// Does `work`, which is part of a stage or runs beside it, and measures it as `stage`.
    pub fn inner<T>(&self, stage: &str, work: impl FnOnce() -> T) -> T {
        let from = Instant::now();
        let result = work();
        self.push(&mut self.lock(), stage, (from, Instant::now()), true);
        result
    }

    /// Counts the time from `from` until now as that of `stage`, which ran beside other stages.
    pub fn beside(&self, stage: &str, from: Instant) {
        self.push(&mut self.lock(), stage, (from, Instant::now()), true);
    }

    /// Gives all stages, by their beginning; a stage comes before its parts.
    pub fn finish(&self) -> Vec<StageTime> {
        let mut stages = self.lock().stages.clone();
        stages.sort_by(|a, b| {
            (a.start_seconds, a.is_inner)
                .partial_cmp(&(b.start_seconds, b.is_inner))
                .unwrap_or(Ordering::Equal)
        });
        stages
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, state: &mut State, stage: &str, (from, to): (Instant, Instant), is_inner: bool) {
        let seconds = to.duration_since(from).as_secs_f64();
        tracing::info!(stage, seconds, "stage done");
        state.stages.push(StageTime {
            stage: stage.to_owned(),
            start_seconds: from.duration_since(self.begun).as_secs_f64(),
            seconds,
            is_inner,
        });
    }
}
