//! Statistics of the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::inventory::{Provider, providers, tarballs};
use super::measure::{Scale, Size, measure};
use super::places::{Column, Kind, Room, each_room, entries, of_kind, tops};
use super::{Store, StoreError};

/// The statistics of the whole store.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// The cache directory, with all its contents.
    pub cache: Total,
    /// The work directory, with all its contents.
    pub work: Total,
    /// The statistics of each provider.
    pub providers: Vec<ProviderStats>,
    /// Indexes and backing stores of foreign tarballs in the work directory; they belong to no provider.
    pub tarballs: Counted,
}

/// One of the two directories.
#[derive(Debug, Clone, Serialize)]
pub struct Total {
    /// Its path.
    #[serde(serialize_with = "super::lossy")]
    pub directory: PathBuf,
    /// Its size.
    #[serde(flatten)]
    pub size: Size,
}

/// The statistics of one provider.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderStats {
    /// Provider id.
    pub provider: String,
    /// The time of its last build, in seconds since 1970; `null` if it is unknown.
    pub last_used: Option<u64>,
    /// Package files.
    pub packages: Size,
    /// Repository indexes and records about packages.
    pub metadata: Size,
    /// The snapshot and its index.
    pub snapshot: Size,
    /// The members unpacked from it.
    pub backing_store: Size,
    /// Step layers.
    pub layers: Counted,
    /// The uppers of image builds; part of `images`.
    pub uppers: Counted,
    /// The raw images of builds that do not deliver them; part of `images`.
    pub states: Counted,
    /// Writable layers of `oic mount`, with the files that belong to them.
    pub mounts: Size,
    /// Image builds, each with everything in its directory.
    pub images: Vec<ImageStats>,
    /// What killed processes left, and what running ones work on.
    pub leftovers: Size,
    /// Files that oic has not made.
    pub strange: Size,
}

/// A number of trees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Their number.
    pub count: u64,
    /// Their size together.
    #[serde(flatten)]
    pub size: Size,
}

/// One image build.
#[derive(Debug, Clone, Serialize)]
pub struct ImageStats {
    /// `systemConfig.name`.
    pub name: String,
    /// The time of the build, in seconds since 1970.
    pub built: u64,
    /// The size of its directory.
    #[serde(flatten)]
    pub size: Size,
}

/// Measures all providers, or only the provider `only`; the totals always cover the whole store.
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
    let mut columns = BTreeMap::new();
    for (room, path) in tops(workspace) {
        add_up(room, path, &mut columns)?;
    }
    let column = |column| columns.get(&column).copied().unwrap_or_default();
    let images = provider.images()?;
    let (uppers, states) = (
        images.iter().map(|image| image.upper),
        images.iter().map(|image| image.state),
    );
    let (uppers, states) = (Counted::existing(uppers), Counted::existing(states));
    let layers = of_kind(Room::Layers, &workspace.layers(), Kind::Layer)?.len() as u64;
    Ok(ProviderStats {
        provider: provider.id.clone(),
        last_used: provider.last_used().map(seconds),
        packages: column(Column::Packages),
        metadata: column(Column::Metadata),
        snapshot: column(Column::Snapshot),
        backing_store: column(Column::BackingStore),
        layers: Counted {
            count: layers,
            size: column(Column::Layers),
        },
        uppers,
        states,
        mounts: column(Column::Mounts),
        leftovers: column(Column::Leftovers),
        strange: column(Column::Strange),
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

/// Adds what is below the directory `path`, which is a `room`, to the columns of the table of places.
fn add_up(room: Room, path: &Path, columns: &mut BTreeMap<Column, Size>) -> Result<(), StoreError> {
    let Ok(path) = path.canonicalize() else { return Ok(()) };
    let mut scale = Scale::new()?;
    each_room(room, &path, &mut |room, path| {
        for place in entries(room, path)? {
            let size = match place.room()? {
                Some(_) => scale.weigh_directory(&place.path)?,
                None => scale.weigh(place.path.clone())?,
            };
            let sum = columns.entry(place.column()).or_default();
            *sum = sum.with(size);
        }
        Ok(())
    })
}

impl Counted {
    /// Counts the trees with `sizes` that exist.
    fn existing(sizes: impl Iterator<Item = Size>) -> Self {
        sizes
            .filter(|size| *size != Size::default())
            .fold(Self::default(), Self::with)
    }

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
