//! How much of what there is.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::inventory::{Provider, providers, tarballs};
use super::measure::{Size, list, look_at, measure};
use super::{Store, StoreError};

/// The whole store.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// The cache directory, with all that is in it.
    pub cache: Total,
    /// The work directory, with all that is in it.
    pub work: Total,
    /// What belongs to whom.
    pub providers: Vec<ProviderStats>,
    /// Indexes and backing stores of tarballs that came from elsewhere, in the work directory; nobody's.
    pub tarballs: Counted,
}

/// One of the two directories.
#[derive(Debug, Clone, Serialize)]
pub struct Total {
    /// Where it is.
    #[serde(serialize_with = "super::lossy")]
    pub directory: PathBuf,
    /// What it takes.
    #[serde(flatten)]
    pub size: Size,
}

/// What belongs to one provider.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderStats {
    /// Provider id.
    pub provider: String,
    /// When a build of it last ran, in seconds since 1970; `null` if nobody knows.
    pub last_used: Option<u64>,
    /// Package files.
    pub packages: Size,
    /// Repository indexes and records about packages.
    pub metadata: Size,
    /// The snapshot and its index.
    pub snapshot: Size,
    /// What was unpacked from it.
    pub backing_store: Size,
    /// Step layers.
    pub layers: Counted,
    /// The uppers of image builds; part of `images`.
    pub uppers: Counted,
    /// Writable layers of `oic mount`, with what belongs to them.
    pub mounts: Size,
    /// Image builds, each with everything in its directory.
    pub images: Vec<ImageStats>,
}

/// A number of trees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// How many there are.
    pub count: u64,
    /// What they take together.
    #[serde(flatten)]
    pub size: Size,
}

/// One image build.
#[derive(Debug, Clone, Serialize)]
pub struct ImageStats {
    /// `systemConfig.name`.
    pub name: String,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// What its directory takes.
    #[serde(flatten)]
    pub size: Size,
}

/// Measures everything, or what belongs to the provider `only`; the totals are always of everything.
///
/// # Errors
/// If a directory cannot be read.
pub fn stats(store: &Store, only: Option<&str>) -> Result<Stats, StoreError> {
    let total = |directory: &PathBuf| -> Result<Total, StoreError> {
        Ok(Total {
            size: measure(directory)?,
            directory: directory.clone(),
        })
    };
    let foreign = tarballs(store)?;
    Ok(Stats {
        tarballs: foreign
            .iter()
            .fold(Counted::default(), |sum, tarball| sum.with(tarball.size)),
        cache: total(&store.cache_dir)?,
        work: total(&store.work_dir)?,
        providers: providers(store, only)?
            .iter()
            .map(provider_stats)
            .collect::<Result<_, _>>()?,
    })
}

fn provider_stats(provider: &Provider) -> Result<ProviderStats, StoreError> {
    let workspace = &provider.workspace;
    let packages = provider
        .packages()?
        .iter()
        .fold(Size::default(), |sum, package| sum.with(package.size));
    let images = provider.images()?;
    let mut uppers = Counted::default();
    for image in images.iter().filter(|image| image.upper != Size::default()) {
        uppers = uppers.with(image.upper);
    }
    let mut layers = Counted::default();
    for path in list(&workspace.layers())? {
        if look_at(&path)?.is_some_and(|metadata| metadata.is_dir()) {
            layers = layers.with(measure(&path)?);
        }
    }
    Ok(ProviderStats {
        provider: provider.id.clone(),
        last_used: provider.last_used().map(seconds),
        packages,
        metadata: measure(&workspace.metadata())?,
        snapshot: measure(&workspace.tarball())?.with(measure(&workspace.index())?),
        backing_store: measure(&workspace.backing_store())?,
        layers,
        uppers,
        mounts: measure(&workspace.mounts())?,
        images: images
            .into_iter()
            .map(|image| ImageStats {
                name: image.name,
                built: seconds(image.built),
                size: image.size,
            })
            .collect(),
    })
}

impl Counted {
    fn with(self, size: Size) -> Self {
        Self {
            count: self.count.saturating_add(1),
            size: self.size.with(size),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
