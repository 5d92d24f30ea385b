//! What a build tells at its end: for people as a table, for machines as JSON.

use std::path::PathBuf;
use std::time::{Duration, Instant};

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
    /// How long each stage took, in order.
    pub stages: Vec<StageTime>,
    /// What happened to the packages.
    pub packages: PackageCounts,
    /// How much of the base was needed.
    pub base: BaseUse,
    /// The image.
    pub image: ImageFile,
    /// Other forms of it.
    pub artifacts: Vec<PathBuf>,
    /// The lockfile.
    pub lockfile: PathBuf,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The time of one stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageTime {
    /// The stage's name.
    pub stage: &'static str,
    /// Wall-clock seconds.
    pub seconds: f64,
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

/// The image file.
#[derive(Debug, Clone, Serialize)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its apparent size in bytes.
    pub size_bytes: u64,
    /// What it takes on disk, in bytes: the bytes written.
    pub data_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// Measures stages one after the other.
#[derive(Debug)]
pub struct Stopwatch {
    begun: Instant,
    stages: Vec<StageTime>,
}

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            stages: Vec::new(),
        }
    }

    /// The time since the last lap belongs to `stage`.
    pub fn lap(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.push(stage, now.duration_since(self.begun));
        self.begun = now;
    }

    /// All laps.
    pub fn finish(self) -> Vec<StageTime> {
        self.stages
    }

    fn push(&mut self, stage: &'static str, duration: Duration) {
        tracing::info!(stage, seconds = duration.as_secs_f64(), "stage done");
        self.stages.push(StageTime {
            stage,
            seconds: duration.as_secs_f64(),
        });
    }
}
