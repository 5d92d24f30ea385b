//! Opens the layers that a mount server is asked for, and tells what was taken from them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::cache::{How, PackageCache};
use crate::cancel::Cancel;
use crate::fetch::{FetchOptions, Fetcher};
use crate::mount::MountError;
use crate::mount::server::{LayerRequest, OpenFailure, OpenedLayers, PoolRequest, Prefetch, SnapshotRequest};
use crate::mount::session::Session;
use crate::overlay::layer::{Errno, Layer, LayerError, Timestamp};
use crate::package::ResolvedPackage;
use crate::pool::{PackageSource, PoolLayer};
use crate::progress::Silent;
use crate::snapshot::{MemberId, ReadAhead, Snapshot, SnapshotPaths, SnapshotStats};

/// The name of the base among a mount's layers.
pub const BASE: &str = "base";
/// The name of the package pool among a mount's layers.
pub const POOL: &str = "pool";

/// What was taken from the layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerStats {
    /// Regular files in the base.
    pub files_total: u64,
    /// Regular files of which something was read.
    pub files_touched: u64,
    /// Bytes of all files.
    pub content_bytes_total: u64,
    /// Bytes that were inflated.
    pub bytes_inflated: u64,
    /// Parts that the base is packed in.
    pub members_total: u64,
    /// Parts that were inflated.
    pub members_inflated: u64,
    /// Parts that had been inflated before.
    pub members_reused: u64,
    /// Parts that were ready before they were needed.
    pub members_ahead: u64,
    /// Bytes that are kept in memory because the backing store cannot be written.
    pub bytes_kept: u64,
    /// Packages in the pool.
    pub packages_total: u64,
    /// Times that a package was opened.
    pub packages_opened: u64,
    /// Packages that were fetched for that.
    pub packages_fetched: u64,
}

impl LayerStats {
    /// Asks the server of `session`.
    ///
    /// # Errors
    /// If it has ended.
    pub fn of(session: &mut Session) -> Result<Self, MountError> {
        Ok(serde_json::from_value(session.stats()?.layers).unwrap_or_default())
    }

    /// This and what a later mount of the same base took.
    #[must_use]
    pub fn with(self, later: &Self) -> Self {
        Self {
            // Both have mostly read the same files.
            files_touched: self.files_touched.max(later.files_touched),
            bytes_inflated: self.bytes_inflated.saturating_add(later.bytes_inflated),
            members_inflated: self.members_inflated.saturating_add(later.members_inflated),
            members_ahead: self.members_ahead.saturating_add(later.members_ahead),
            packages_opened: self.packages_opened.saturating_add(later.packages_opened),
            packages_fetched: self.packages_fetched.saturating_add(later.packages_fetched),
            ..*later
        }
    }
}

/// Opens what `request` names, the topmost layer first. Runs in the server process.
///
/// # Errors
/// In words, with a next step where there is one.
pub fn open_layers(request: &LayerRequest) -> Result<OpenedLayers, OpenFailure> {
    let mut layers: Vec<(String, Arc<dyn Layer>)> = Vec::new();
    let mut base = None;
    let mut packages = None;
    let mut finish: Box<dyn FnOnce() + Send> = Box::new(|| ());
    // The base is the topmost, so that the merged root has its owner and mode.
    if let Some(request) = &request.snapshot {
        let snapshot = Arc::new(open_snapshot(request)?);
        base = Some(Arc::clone(&snapshot));
        finish = read_ahead(request, &snapshot);
        layers.push((BASE.to_owned(), snapshot));
    }
    if let Some(pool) = &request.pool {
        let counters = Arc::new(PackageCounters {
            total: pool.packages.len() as u64,
            ..PackageCounters::default()
        });
        layers.push((POOL.to_owned(), Arc::new(open_pool(pool, &counters)?)));
        packages = Some(counters);
    }
    let stats = move || {
        let mut stats = base
            .as_ref()
            .map_or_else(LayerStats::default, |base| base.stats().into());
        if let Some(packages) = &packages {
            stats.packages_total = packages.total;
            stats.packages_opened = packages.opened.load(Ordering::Relaxed);
            stats.packages_fetched = packages.fetched.load(Ordering::Relaxed);
        }
        serde_json::to_value(stats).unwrap_or_default()
    };
    Ok(OpenedLayers {
        layers,
        stats: Box::new(stats),
        finish,
    })
}

impl From<SnapshotStats> for LayerStats {
    fn from(stats: SnapshotStats) -> Self {
        Self {
            files_total: stats.files_total,
            files_touched: stats.files_touched,
            content_bytes_total: stats.content_bytes_total,
            bytes_inflated: stats.bytes_inflated,
            members_total: stats.members_total,
            members_inflated: stats.members_inflated,
            members_reused: stats.members_reused,
            members_ahead: stats.members_ahead,
            bytes_kept: stats.bytes_kept,
            ..Self::default()
        }
    }
}

/// Starts reading ahead; gives what ends it.
fn read_ahead(request: &SnapshotRequest, snapshot: &Arc<Snapshot>) -> Box<dyn FnOnce() + Send> {
    let recorded = || snapshot.saved_first_use();
    let order: Vec<MemberId> = match request.prefetch {
        Prefetch::Sequential => Vec::new(),
        Prefetch::Recorded => recorded(),
        Prefetch::All => recorded().into_iter().chain(snapshot.all_members()).collect(),
    };
    let ahead = ReadAhead::start(snapshot, order);
    let (snapshot, record) = (Arc::clone(snapshot), request.record_order);
    Box::new(move || {
        drop(ahead);
        if record && let Err(error) = snapshot.save_first_use() {
            tracing::warn!("{error}; the next build does not know what to read ahead");
        }
    })
}

fn failure(error: impl Display, hint: Option<String>) -> OpenFailure {
    OpenFailure {
        message: error.to_string(),
        hint,
    }
}

fn open_snapshot(request: &SnapshotRequest) -> Result<Snapshot, OpenFailure> {
    let paths = SnapshotPaths {
        tarball: request.tarball.clone(),
        index: request.index.clone(),
        backing_dir: request.backing_dir.clone(),
    };
    Snapshot::open(&paths).map_err(|error| failure(&error, error.hint()))
}

fn open_pool(request: &PoolRequest, counters: &Arc<PackageCounters>) -> Result<PoolLayer, OpenFailure> {
    let cache = PackageCache::open(&request.cache_dir, &request.provider_id);
    let cache = cache.map_err(|error| failure(&error, error.hint()))?;
    let options = FetchOptions {
        offline: request.offline,
        proxies: request.proxies.clone(),
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(options, Cancel::default()).map_err(|error| failure(&error, error.hint()))?;
    let source = CachedPackages {
        cache,
        fetcher,
        counters: Arc::clone(counters),
        base_urls: request.base_urls.clone(),
    };
    let packages: Vec<_> = request.packages.iter().cloned().map(ResolvedPackage::from).collect();
    PoolLayer::new(&packages, Timestamp::default(), Arc::new(source)).map_err(|error| failure(error, None))
}

#[derive(Debug, Default)]
struct PackageCounters {
    total: u64,
    opened: AtomicU64,
    fetched: AtomicU64,
}

/// Packages from the cache, downloaded into it when they are first opened.
#[derive(Debug)]
struct CachedPackages {
    cache: PackageCache,
    fetcher: Fetcher,
    counters: Arc<PackageCounters>,
    base_urls: BTreeMap<String, String>,
}

impl PackageSource for CachedPackages {
    fn open(&self, package: &ResolvedPackage) -> Result<File, LayerError> {
        let base = self.base_urls.get(&package.repository).map_or("", String::as_str);
        let url = format!("{base}/{}", package.path);
        match self.cache.obtain(package, &url, &self.fetcher, &Silent) {
            Ok(obtained) => {
                self.counters.opened.fetch_add(1, Ordering::Relaxed);
                if obtained.how != How::Reused {
                    self.counters.fetched.fetch_add(1, Ordering::Relaxed);
                }
                Ok(obtained.file)
            }
            Err(error) => Err(LayerError::new(Errno::IO, error.to_string())),
        }
    }
}
