//! The read-only layers that a mount server opens: base and package pool of an image that is built, or a finished disk
//! image.
//!
//! [`LayerRequest`] is the tenant of `mount`: it crosses to the server process and opens the layers there.

mod packages;
mod stanzas;
mod stats;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::packages::PackageCounters;
pub use self::stats::LayerStats;
use crate::disk::image::Image;
use crate::disk::system;
use crate::fetch::Network;
use crate::hint::Hint;
use crate::mount::server::{OpenFailure, Opened, Tenant};
use crate::overlay::layer::Layer;
use crate::package::ResolvedPackage;
use crate::path_bytes;
use crate::snapshot::{MemberId, ReadAhead, Snapshot, SnapshotPaths};

/// The name of the base among a mount's layers.
pub const BASE: &str = "base";
/// The name of the package pool among a mount's layers.
pub const POOL: &str = "pool";
/// The name of a disk image among a mount's layers.
pub const DISK: &str = "disk";

/// The layers of a mount.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LayerRequest {
    /// The base.
    pub base: Option<BaseRequest>,
    /// The package pool.
    pub pool: Option<PoolRequest>,
    /// A disk image, instead of both.
    #[serde(default)]
    pub disk: Option<DiskRequest>,
}

/// A disk image to read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiskRequest {
    /// The file of the image.
    #[serde(with = "path_bytes")]
    pub image: PathBuf,
    /// The partition to show, by number or name; without it the whole system.
    pub partition: Option<String>,
}

impl DiskRequest {
    /// Opens the tree.
    ///
    /// # Errors
    /// If the image cannot be read, or has no such tree.
    fn open(&self) -> Result<Arc<dyn Layer>, OpenFailure> {
        let image = Image::open(&self.image).map_err(|error| failure(&error, None))?;
        system::open(&image, self.partition.as_deref()).map_err(|error| failure(&error, None))
    }
}

/// A base to unpack lazily.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BaseRequest {
    /// The paths of its files.
    pub paths: SnapshotPaths,
    /// The members to unpack ahead of use, in the background.
    pub prefetch: Prefetch,
    /// Whether to record, when the mount ends, the order in which content was first used.
    pub record_order: bool,
}

impl BaseRequest {
    /// Returns a request for the base at `paths` as it is used without a plan: members are unpacked ahead of
    /// sequential readers only, and nothing is recorded.
    pub fn at(paths: SnapshotPaths) -> Self {
        Self {
            paths,
            prefetch: Prefetch::default(),
            record_order: false,
        }
    }
}

/// The members to unpack before they are read. Ahead of a sequential reader a few members are always unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefetch {
    /// No further members.
    #[default]
    Sequential,
    /// The members that an earlier mount recorded, in its order.
    Recorded,
    /// The recorded members, then all others.
    All,
}

/// A package pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PoolRequest {
    /// The parent of `pkgCache`, as configured.
    #[serde(with = "path_bytes")]
    pub cache_dir: PathBuf,
    /// The provider of the packages.
    pub provider_id: String,
    /// The packages that it lists.
    #[serde(with = "stanzas")]
    pub packages: Vec<ResolvedPackage>,
    /// Base URL by repository id.
    pub base_urls: BTreeMap<String, String>,
    /// Whether to use the cache only.
    pub offline: bool,
    /// Proxies and credentials for fetching.
    pub network: Network,
}

impl Tenant for LayerRequest {
    type Stats = LayerStats;

    fn open(self) -> Result<Opened<LayerStats>, OpenFailure> {
        let mut layers: Vec<(String, Arc<dyn Layer>)> = Vec::new();
        let mut base = None;
        let mut packages = None;
        let mut finish: Box<dyn FnOnce() + Send> = Box::new(|| ());
        // The base is the topmost layer, so that the merged root has its owner and mode.
        if let Some(request) = &self.base {
            let opened = Snapshot::open(&request.paths).map_err(|error| failure(&error, error.hint()))?;
            let snapshot = Arc::new(opened);
            base = Some(Arc::clone(&snapshot));
            finish = read_ahead(request, &snapshot);
            layers.push((BASE.to_owned(), snapshot));
        }
        if let Some(disk) = &self.disk {
            layers.push((DISK.to_owned(), disk.open()?));
        }
        if let Some(pool) = &self.pool {
            let counters = Arc::new(PackageCounters::new(pool.packages.len()));
            layers.push((POOL.to_owned(), Arc::new(packages::open(pool, &counters)?)));
            packages = Some(counters);
        }
        let stats = move || {
            let base = base.as_ref().map(|base| base.stats()).unwrap_or_default();
            let packages = packages.as_ref().map(|packages| packages.counts());
            LayerStats::new(base, packages.unwrap_or_default())
        };
        Ok(Opened {
            layers,
            stats: Box::new(stats),
            finish,
        })
    }
}

/// Starts reading ahead; returns a function that ends it.
fn read_ahead(request: &BaseRequest, snapshot: &Arc<Snapshot>) -> Box<dyn FnOnce() + Send> {
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

/// Returns `error` in the form that crosses the process boundary.
fn failure(error: impl Display, hint: Option<Hint>) -> OpenFailure {
    OpenFailure {
        message: error.to_string(),
        hint,
    }
}
