//! The package pool over the package cache: a package is downloaded into the cache when it is first opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{PoolRequest, failure};
use crate::cache::{How, PackageCache};
use crate::cancel::Cancel;
use crate::fetch::{FetchOptions, Fetcher};
use crate::mount::server::OpenFailure;
use crate::overlay::layer::{Errno, LayerError, Timestamp};
use crate::package::ResolvedPackage;
use crate::pool::{PackageSource, PoolLayer};
use crate::progress::Silent;

/// Opens the pool that `request` names; `counters` counts the packages taken from it.
///
/// # Errors
/// In words, with a next step where there is one.
pub(super) fn open(request: &PoolRequest, counters: &Arc<PackageCounters>) -> Result<PoolLayer, OpenFailure> {
    let cache = PackageCache::open(&request.cache_dir, &request.provider_id);
    let cache = cache.map_err(|error| failure(&error, error.hint()))?;
    let options = FetchOptions {
        offline: request.offline,
        network: request.network.clone(),
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(options, Cancel::default()).map_err(|error| failure(&error, error.hint()))?;
    let source = CachedPackages {
        cache,
        fetcher,
        counters: Arc::clone(counters),
        base_urls: request.base_urls.clone(),
    };
    let pool = PoolLayer::new(&request.packages, Timestamp::default(), Arc::new(source));
    pool.map_err(|error| failure(error, None))
}

/// The number of packages taken from a pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PackageCounts {
    pub(super) total: u64,
    pub(super) opened: u64,
    pub(super) fetched: u64,
}

/// The live counters of a pool.
#[derive(Debug)]
pub(super) struct PackageCounters {
    total: usize,
    opened: AtomicU64,
    fetched: AtomicU64,
}

impl PackageCounters {
    /// Returns counters for a pool of `total` packages.
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            opened: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
        }
    }

    /// Returns the counts as they are now.
    pub(super) fn counts(&self) -> PackageCounts {
        PackageCounts {
            total: self.total as u64,
            opened: self.opened.load(Ordering::Relaxed),
            fetched: self.fetched.load(Ordering::Relaxed),
        }
    }
}

/// A source that takes packages from the cache, and downloads them into it when they are first opened.
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
