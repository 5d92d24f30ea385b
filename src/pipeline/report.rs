//! What a build tells at its end: for people as a table, for machines as JSON.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::package::Sha256;

/// Version of the JSON form; changes when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// The report of one build.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Provider id.
    pub provider: String,
    /// `systemConfig.name`.
    pub system_config: String,
    /// No time in the image is later, in seconds since 1970.
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
    /// Other forms of it.
    pub artifacts: Vec<PathBuf>,
    /// The lockfile.
    pub lockfile: PathBuf,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// All packages of the image. They are in the lockfile; so not in the JSON form.
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
    /// It ran during other stages, or is a part of one: not to be added up.
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
    /// All of them.
    pub total: usize,
    /// Already in the cache, and verified.
    pub reused: usize,
    /// Downloaded.
    pub fetched: usize,
    /// In the cache but bad: deleted and downloaded again.
    pub refetched: usize,
    /// Bytes downloaded.
    pub fetched_bytes: u64,
}

/// How much of the base was needed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BaseUse {
    /// Whether an earlier build's base served.
    pub reused: bool,
    /// Packages in it.
    pub packages: usize,
    /// Files in it.
    pub files: u64,
    /// Files whose contents were read.
    pub files_read: u64,
    /// Bytes of contents in it.
    pub bytes: u64,
    /// Bytes that this build inflated.
    pub inflated_bytes: u64,
    /// Parts that it is packed in.
    pub parts: u64,
    /// Parts that this build inflated.
    pub parts_inflated: u64,
    /// Parts that it found inflated, by itself or another.
    pub parts_reused: u64,
    /// Parts that were ready before they were needed.
    pub parts_ahead: u64,
    /// Packages that were opened through the pool.
    pub packages_opened: u64,
}

/// A step layer of the image.
#[derive(Debug, Clone, Serialize)]
pub struct LayerUse {
    /// The step.
    pub step: String,
    /// Whether an earlier build, or one at the same time, has done it.
    pub reused: bool,
    /// Packages that it stands for.
    pub packages: usize,
    /// Bytes of its files.
    pub size_bytes: u64,
}

/// The image file.
#[derive(Debug, Clone, Serialize)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its apparent size in bytes.
    pub size_bytes: u64,
    /// What it takes on disk, in bytes.
    pub data_bytes: u64,
    /// What this build wrote of it, in bytes; the rest was there already.
    pub written_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// Measures stages one after the other, and what runs meanwhile. Clones share it.
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

    /// The time since the last lap belongs to `stage`.
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

    /// All stages, by their beginning; those that others are a part of come first.
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
