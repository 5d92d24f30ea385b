//! The whole system of an image: its file systems, put together as its own fstab(5) says, and where that is silent by the
//! types of the partitions (UAPI.2, "Discoverable Partitions").

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image::{Image, Volume};
use super::walk;
use crate::overlay::layer::{Attributes, Entry, Errno, FileKind, Layer, LayerError, LayerResult, NodeId, Summary};

/// The bits of a node's id that are the file system's own; its number stands above them.
const NODE_BITS: u32 = 50;
/// The most file systems of a system.
const VOLUMES_MAX: usize = 250;

/// The types of partitions with the root, of all architectures that oic builds for.
const ROOT_TYPES: [&str; 3] = [
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "b921b045-1df0-41c3-af44-4c6f280d3fae",
    "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
];
/// The types of other partitions, and the directories where they are expected: the first one that exists.
const OTHER_TYPES: [(&str, &[&str]); 5] = [
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", &["boot"]),
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", &["boot/efi", "efi", "boot"]),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", &["home"]),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", &["srv"]),
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", &["var"]),
];

/// A file system, and where it is mounted.
#[derive(Debug)]
struct Mount {
    layer: Arc<dyn Layer>,
    /// The number of its partition.
    number: u32,
    path: PathBuf,
}

/// A system, put together.
#[derive(Debug)]
pub struct System {
    mounts: Vec<Mount>,
    /// By the directory that it covers: the number of the file system there.
    covered: HashMap<NodeId, usize>,
}

/// The reason why there is no system.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// No partition looks like the root of a system.
    #[error("no partition of the image holds the root of a system; it has {}", .0.join(", "))]
    NoRoot(Vec<String>),
    /// No partition has this name or number.
    #[error("the image has no partition {name:?}; it has {}", .volumes.join(", "))]
    NoPartition {
        /// The name.
        name: String,
        /// The partitions that it has.
        volumes: Vec<String>,
    },
    /// The partition holds no file system that oic reads.
    #[error("partition {0} holds no file system that oic reads")]
    Unreadable(String),
    /// A partition is damaged.
    #[error("partition {number}: {message}")]
    Damaged {
        /// Its number.
        number: u32,
        /// The damage.
        message: String,
    },
    /// A file system cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Opens the tree of `image`: that of the partition that `name` means, or the whole system.
///
/// # Errors
/// [`SystemError`].
pub fn open(image: &Image, name: Option<&str>) -> Result<Arc<dyn Layer>, SystemError> {
    match name {
        Some(name) => partition(image, name),
        None => Ok(Arc::new(System::of(image)?)),
    }
}

fn descriptions(image: &Image) -> Vec<String> {
    match image.volumes.is_empty() {
        true => vec!["none".to_owned()],
        false => image.volumes.iter().map(Volume::description).collect(),
    }
}

fn partition(image: &Image, name: &str) -> Result<Arc<dyn Layer>, SystemError> {
    let missing = || SystemError::NoPartition {
        name: name.to_owned(),
        volumes: descriptions(image),
    };
    let volume = image.volume(name).ok_or_else(missing)?;
    layer_of(volume)?.ok_or_else(|| SystemError::Unreadable(volume.description()))
}

fn layer_of(volume: &Volume) -> Result<Option<Arc<dyn Layer>>, SystemError> {
    match &volume.contents {
        Ok(contents) => Ok(contents.file_system.as_ref().map(|found| found.layer())),
        Err(error) => Err(SystemError::Damaged {
            number: volume.number,
            message: error.to_string(),
        }),
    }
}

impl System {
    /// Puts the system of `image` together.
    ///
    /// # Errors
    /// [`SystemError::NoRoot`]; [`SystemError::Damaged`] if its root is.
    pub fn of(image: &Image) -> Result<Self, SystemError> {
        let root = root(image)?;
        let layer = layer_of(root)?.ok_or_else(|| SystemError::NoRoot(descriptions(image)))?;
        let mut system = Self {
            mounts: vec![Mount {
                layer: Arc::clone(&layer),
                number: root.number,
                path: "/".into(),
            }],
            covered: HashMap::new(),
        };
        let fstab = walk::read(&*layer, Path::new("/etc/fstab")).unwrap_or_else(|error| {
            tracing::warn!("the image's fstab is not read: {error}");
            None
        });
        let mut wanted = listed(image, &fstab.unwrap_or_default());
        wanted.sort_by_key(|(path, _)| path.components().count());
        for (path, volume) in wanted {
            system.add(&path, volume);
        }
        system.discover(image);
        Ok(system)
    }

    /// Returns the partitions that are part of the system, each with its mount point.
    pub fn mounts(&self) -> impl Iterator<Item = (u32, &Path)> {
        self.mounts.iter().map(|mount| (mount.number, mount.path.as_path()))
    }

    /// Mounts `volume` at `path`, if both can be used; a log line says why not.
    fn add(&mut self, path: &Path, volume: &Volume) {
        let number = volume.number;
        let layer = match layer_of(volume) {
            Ok(Some(layer)) => layer,
            Ok(None) => return,
            Err(error) => return tracing::warn!("{} stays empty: {error}", path.display()),
        };
        let at = walk::find(self, path, true).and_then(|node| Ok((node, self.attributes(node)?.kind)));
        match at {
            Ok((node, FileKind::Directory)) if self.mounts.len() < VOLUMES_MAX && node != self.root() => {
                self.covered.insert(node, self.mounts.len());
                let path = path.to_owned();
                self.mounts.push(Mount { layer, number, path });
            }
            Ok(_) => tracing::warn!("partition {number} is not shown: {} is no directory", path.display()),
            Err(error) => tracing::warn!("partition {number} is not shown: {error}"),
        }
    }

    /// Adds the partitions that fstab does not name, by their types.
    fn discover(&mut self, image: &Image) {
        for volume in &image.volumes {
            let type_uuid = volume.partition.as_ref().and_then(|partition| partition.type_uuid());
            let known = |known: &&(&str, &[&str])| type_uuid.is_some_and(|uuid| uuid.to_string() == known.0);
            let Some((_, places)) = OTHER_TYPES.iter().find(known) else {
                continue;
            };
            if self.mounts.iter().any(|mount| mount.number == volume.number) {
                continue;
            }
            let is_free = |place: &&&str| {
                let path = Path::new("/").join(place);
                let exists = walk::find(self, &path, true).is_ok();
                exists && !self.mounts.iter().any(|mount| mount.path == path)
            };
            if let Some(place) = places.iter().find(is_free) {
                self.add(&Path::new("/").join(place), volume);
            }
        }
    }

    /// Returns the file system of a node, with its number, and the node within it.
    fn inner(&self, node: NodeId) -> LayerResult<(usize, &Arc<dyn Layer>, NodeId)> {
        let number = (node.0 >> NODE_BITS) as usize;
        let mount = self.mounts.get(number).ok_or(Errno::STALE)?;
        Ok((number, &mount.layer, NodeId(node.0 & ((1 << NODE_BITS) - 1))))
    }

    /// Returns the id of `node` of file system `number`: the root of what is mounted there, if something is.
    fn outer(&self, number: usize, node: NodeId) -> LayerResult<NodeId> {
        if node.0 >> NODE_BITS != 0 {
            return Err(LayerError::new(Errno::OVERFLOW, "the file system is too large"));
        }
        let node = NodeId((number as u64) << NODE_BITS | node.0);
        match self.covered.get(&node) {
            Some(above) => {
                let root = self.mounts.get(*above).ok_or(Errno::STALE)?.layer.root();
                Ok(NodeId((*above as u64) << NODE_BITS | root.0))
            }
            None => Ok(node),
        }
    }
}

/// Finds the partition with the root: by its type, or else the first one that holds a system.
fn root(image: &Image) -> Result<&Volume, SystemError> {
    let is_root_type = |volume: &&Volume| {
        let uuid = volume.partition.as_ref().and_then(|partition| partition.type_uuid());
        uuid.is_some_and(|uuid| ROOT_TYPES.contains(&uuid.to_string().as_str()))
    };
    let is_system = |volume: &&Volume| {
        let layer = layer_of(volume).ok().flatten();
        let has = |path: &str| {
            layer
                .as_ref()
                .is_some_and(|layer| walk::find(&**layer, Path::new(path), true).is_ok())
        };
        has("/etc/fstab") || has("/etc/os-release") || has("/usr/lib/os-release")
    };
    let typed = image.volumes.iter().find(is_root_type);
    // Without a table the file system is shown, whatever it holds.
    let only = image.volumes.first().filter(|volume| volume.number == 0);
    let found = typed.or_else(|| image.volumes.iter().find(is_system)).or(only);
    found.ok_or_else(|| SystemError::NoRoot(descriptions(image)))
}

/// Returns the partitions that a text in the form of fstab(5) names, and their mount points.
fn listed<'a>(image: &'a Image, fstab: &[u8]) -> Vec<(PathBuf, &'a Volume)> {
    let text = String::from_utf8_lossy(fstab);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (source, target) = (words.next()?, words.next()?.replace("\\040", " "));
        let volume = image.volumes.iter().find(|volume| is_source(volume, source))?;
        (target.starts_with('/') && target != "/").then(|| (PathBuf::from(target), volume))
    };
    lines.filter_map(entry).collect()
}

/// Returns whether the source of a line of fstab(5) means `volume`.
fn is_source(volume: &Volume, source: &str) -> bool {
    let source = source.replace('"', "");
    let dev = source
        .strip_prefix("/dev/disk/by-")
        .and_then(|rest| rest.split_once('/'));
    let Some((tag, value)) = source.split_once('=').or(dev) else {
        return false;
    };
    let (partition, contents) = (volume.partition.as_ref(), volume.contents.as_ref().ok());
    let is = |own: Option<String>| own.is_some_and(|own| !own.is_empty() && own.eq_ignore_ascii_case(value));
    match tag.to_ascii_lowercase().as_str() {
        "uuid" => is(contents.map(|contents| contents.uuid.clone())),
        "label" => contents.is_some_and(|contents| contents.label == value && !value.is_empty()),
        "partuuid" => is(partition.map(|partition| partition.part_uuid())),
        "partlabel" => partition.is_some_and(|partition| partition.name() == value && !value.is_empty()),
        _ => false,
    }
}

impl Layer for System {
    fn root(&self) -> NodeId {
        // The first file system has the number 0, so its ids are its own.
        self.mounts.first().map(|mount| mount.layer.root()).unwrap_or_default()
    }

    fn summary(&self) -> Summary {
        Summary {
            has_xattrs: self.mounts.iter().any(|mount| mount.layer.summary().has_xattrs),
            ..Summary::default()
        }
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        let (number, layer, node) = self.inner(directory)?;
        layer
            .lookup(node, name)?
            .map(|found| self.outer(number, found))
            .transpose()
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        let (_, layer, node) = self.inner(node)?;
        layer.attributes(node)
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let (number, layer, node) = self.inner(directory)?;
        let mut failed = None;
        layer.entries(node, after, &mut |entry| match self.outer(number, entry.node) {
            Ok(node) => visit(Entry { node, ..entry }),
            Err(error) => {
                failed = Some(error);
                false
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn read_link(&self, node: NodeId) -> LayerResult<Vec<u8>> {
        let (_, layer, node) = self.inner(node)?;
        layer.read_link(node)
    }

    fn xattr(&self, node: NodeId, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        let (_, layer, node) = self.inner(node)?;
        layer.xattr(node, name)
    }

    fn xattr_names(&self, node: NodeId) -> LayerResult<Vec<OsString>> {
        let (_, layer, node) = self.inner(node)?;
        layer.xattr_names(node)
    }

    fn next_data(&self, node: NodeId, offset: u64) -> LayerResult<u64> {
        let (_, layer, node) = self.inner(node)?;
        layer.next_data(node, offset)
    }

    fn is_ready(&self, node: NodeId, offset: u64, length: usize) -> bool {
        let inner = self.inner(node);
        inner.map_or(true, |(_, layer, node)| layer.is_ready(node, offset, length))
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let (_, layer, node) = self.inner(node)?;
        layer.read_at(node, offset, buffer)
    }
}
