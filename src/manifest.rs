//! The manifest of an image: every file, and what vouches for it. `{image}-{version}.manifest.json`, which a build writes
//! beside the image and [`verify`] compares with an image later.
//!
//! A package of a signed repository vouches for what it installed, a line of the template for what it asks for. Nothing
//! vouches for what else commands have made; [`Manifest::unvouched`] lists it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::cancel::{Cancel, Cancelled};
use crate::durable;
use crate::installed::visit::{self, Seen};
use crate::overlay::layer::{FileKind, Layer, LayerError, LayerResult};
use crate::package::Sha256;
use crate::parallel;

const FORMAT: &str = "oic-manifest";
const VERSION: u32 = 1;
/// The largest manifest that is read, in bytes; one of 500,000 files has 150 MB.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Attributes that the writer of an image computes from a policy in it.
const COMPUTED: [&str; 1] = ["security.selinux"];

/// A manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The magic word.
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// The name of the image.
    pub image: String,
    /// The provider, such as `debian-debian13-x86_64`.
    pub provider: String,
    /// The upper limit of all times in the image, in seconds since 1970.
    pub epoch_seconds: u64,
    /// The repositories, whose signatures were verified.
    pub repositories: Vec<Vouching>,
    /// The packages, each with its repository.
    pub packages: Vec<VouchingPackage>,
    /// The layers that the image is merged of, the topmost first.
    pub layers: Vec<ManifestLayer>,
    /// The files, sorted by path.
    pub files: Vec<Entry>,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouching {
    /// Its id.
    pub id: String,
    /// Its suite.
    pub suite: String,
    /// The date of its metadata, as written there.
    pub date: String,
    /// The digest of its signed metadata.
    pub digest: String,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VouchingPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// The id of its repository.
    pub repository: String,
    /// The digest of its file: the algorithm, a colon, and hexadecimal digits.
    pub checksum: String,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestLayer {
    /// The step that made it.
    pub step: String,
    /// Its key; the image's own upper has none.
    pub key: Option<Sha256>,
}

/// A file of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its path; bytes that are not UTF-8 are written as `\xNN`, and a backslash as `\\`.
    pub path: String,
    /// Its kind in words.
    pub kind: String,
    /// The lower 12 bits of its mode, in octal.
    pub mode: String,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The size in bytes of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The digest of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The target of a symbolic link, or the numbers of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its extended attributes, values in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// The index of the layer that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// What vouches for it; `null` if nothing does.
    pub by: Option<Voucher>,
}

/// What vouches for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Voucher {
    /// A package that has it in its list of files.
    Package(String),
    /// The scripts of the packages of a step.
    Scripts(String),
    /// A field of the template.
    Template(String),
    /// A part of the build itself, such as the boot loader.
    Build(String),
}

/// Where the bytes of a file come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// The index of its layer.
    pub layer: usize,
    /// Its digest, if it is known without reading it.
    pub digest: Option<Sha256>,
}

/// The reason why a manifest cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is malformed.
    #[error("the manifest is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is JSON of another kind or version.
    #[error("this is no manifest of version {VERSION}")]
    Other,
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Layer {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: LayerError,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A difference between an image and its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// The path, as in the manifest.
    pub path: String,
    /// What is wrong, in words.
    pub what: String,
}

impl Manifest {
    /// Returns an empty one.
    pub fn new() -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            ..Self::default()
        }
    }

    /// Parses the text of a manifest.
    ///
    /// # Errors
    /// [`ManifestError::Malformed`], [`ManifestError::Other`].
    pub fn from_json(text: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(text)?;
        match manifest.format == FORMAT && manifest.version == VERSION {
            true => Ok(manifest),
            false => Err(ManifestError::Other),
        }
    }

    /// Returns its text.
    pub fn to_json(&self) -> Vec<u8> {
        // Texts, numbers and lists always have a JSON form.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Returns the files for which nothing vouches.
    pub fn unvouched(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().filter(|entry| entry.by.is_none())
    }

    /// Returns the digests of files of finished layers, by layer and path: a layer never changes, so they hold for later
    /// manifests.
    pub fn known(&self) -> HashMap<(Sha256, &str), Sha256> {
        let key = |entry: &Entry| self.layers.get(entry.layer?)?.key;
        let known = self
            .files
            .iter()
            .filter_map(|entry| Some(((key(entry)?, entry.path.as_str()), entry.sha256?)));
        known.collect()
    }
}

/// How the entries of a manifest are found.
#[allow(missing_debug_implementations)] // functions have none
pub struct Sources<'a> {
    /// Returns where the bytes of a file come from; `None` if no layer has it. An error is that of a layer.
    pub origin: &'a (dyn Fn(&Path, &Seen) -> LayerResult<Option<Origin>> + Sync),
    /// Returns what vouches for a file of a layer.
    pub voucher: &'a (dyn Fn(&str, Option<usize>) -> Option<Voucher> + Sync),
    /// The number of threads.
    pub threads: usize,
    /// What ends the work early.
    pub cancel: &'a Cancel,
}

/// Lists the files of `layer`, an image or the tree that becomes one.
///
/// # Errors
/// [`ManifestError::Layer`] if something cannot be read; [`ManifestError::Cancelled`].
pub fn entries(layer: &dyn Layer, sources: &Sources<'_>) -> Result<Vec<Entry>, ManifestError> {
    let listing = visit::list(layer, sources.threads);
    if let Some((path, source)) = listing.damaged.into_iter().next() {
        return Err(ManifestError::Layer { path, source });
    }
    parallel::try_map(sources.threads, listing.files, |file| {
        sources.cancel.check()?;
        let origin = (sources.origin)(&file.path, &file).map_err(|source| ManifestError::Layer {
            path: file.path.clone(),
            source,
        })?;
        let known = origin.and_then(|origin| origin.digest);
        let described = describe(layer, &file, known);
        let mut entry = described.map_err(|source| ManifestError::Layer {
            path: file.path.clone(),
            source,
        })?;
        entry.layer = origin.map(|origin| origin.layer);
        entry.by = (sources.voucher)(&entry.path, entry.layer);
        Ok(entry)
    })
}

/// Describes `file`, and reads it unless its digest is `known`.
fn describe(layer: &dyn Layer, file: &Seen, known: Option<Sha256>) -> LayerResult<Entry> {
    let attributes = &file.attributes;
    let is_regular = attributes.kind == FileKind::Regular;
    let sha256 = match (is_regular, known) {
        (false, _) => None,
        (true, Some(digest)) => Some(digest),
        (true, None) => Some(digest(layer, file)?),
    };
    let target = match attributes.kind {
        FileKind::Symlink => Some(shown(&layer.read_link(file.node)?)),
        FileKind::CharDevice | FileKind::BlockDevice => {
            let (major, minor) = attributes.device;
            Some(format!("{major}:{minor}"))
        }
        _ => None,
    };
    let mut xattrs = BTreeMap::new();
    for name in layer.xattr_names(file.node)? {
        let is_computed = COMPUTED.iter().any(|computed| name == OsStr::new(computed));
        let is_own = durable::is_of_image(name.as_bytes()) && !is_computed;
        if let Some(value) = layer.xattr(file.node, &name)?.filter(|_| is_own) {
            xattrs.insert(shown(name.as_bytes()), hex::encode(value));
        }
    }
    Ok(Entry {
        path: shown(file.path.as_os_str().as_bytes()),
        kind: attributes.kind.word().to_owned(),
        mode: format!("{:04o}", attributes.permissions),
        uid: attributes.uid,
        gid: attributes.gid,
        size: is_regular.then_some(attributes.size_bytes),
        sha256,
        target,
        xattrs,
        layer: None,
        by: None,
    })
}

fn digest(layer: &dyn Layer, file: &Seen) -> LayerResult<Sha256> {
    if let Some(digest) = layer.digest(file.node)? {
        return Ok(digest);
    }
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; file.attributes.size_bytes.clamp(1, PIECE_BYTES as u64) as usize];
    visit::read(layer, file.node, &mut buffer, &mut |piece| hasher.update(piece))?;
    Ok(Sha256(hasher.finalize().into()))
}

/// Writes bytes as text that means them alone.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Compares the tree `layer` with `manifest`, and returns all differences, sorted by path. Every file is read.
///
/// # Errors
/// As [`entries`].
pub fn verify(
    layer: &dyn Layer,
    manifest: &Manifest,
    threads: usize,
    cancel: &Cancel,
) -> Result<Vec<Deviation>, ManifestError> {
    let sources = Sources {
        origin: &|_, _| Ok(None),
        voucher: &|_, _| None,
        threads,
        cancel,
    };
    let mut found: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in entries(layer, &sources)? {
        found.insert(entry.path.clone(), entry);
    }
    let mut deviations = Vec::new();
    let mut note = |path: &str, what: String| {
        deviations.push(Deviation {
            path: path.to_owned(),
            what,
        });
    };
    for wanted in &manifest.files {
        match found.remove(&wanted.path) {
            None => note(&wanted.path, "it is missing".to_owned()),
            Some(own) => {
                let differing = differing(&own, wanted);
                if !differing.is_empty() {
                    note(&wanted.path, format!("another {}", differing.join(", ")));
                }
            }
        }
    }
    for path in found.keys() {
        note(path, "the manifest does not have it".to_owned());
    }
    deviations.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(deviations)
}

/// Names the properties in which two entries differ.
fn differing(own: &Entry, wanted: &Entry) -> Vec<&'static str> {
    let all = [
        ("kind", own.kind != wanted.kind),
        ("content", (own.size, own.sha256) != (wanted.size, wanted.sha256)),
        ("target", own.target != wanted.target),
        ("mode", own.mode != wanted.mode),
        ("owner", (own.uid, own.gid) != (wanted.uid, wanted.gid)),
        ("extended attributes", own.xattrs != wanted.xattrs),
    ];
    all.into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::directory::DirectoryLayer;
    use std::fs;

    fn manifest(root: &Path) -> Manifest {
        let layer = DirectoryLayer::open(root).unwrap();
        let cancel = Cancel::default();
        let sources = Sources {
            origin: &|path, _| Ok((path != Path::new("/unknown")).then_some(Origin::default())),
            voucher: &|path, layer| layer.map(|_| Voucher::Package(path.into())),
            threads: 2,
            cancel: &cancel,
        };
        Manifest {
            files: entries(&layer, &sources).unwrap(),
            layers: vec![ManifestLayer {
                step: "base".into(),
                key: Some(Sha256::of("key")),
            }],
            ..Manifest::new()
        }
    }

    #[test]
    fn what_has_changed_since_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (path, text) in [("a", "1"), ("b", "2"), ("gone", "3"), ("unknown", "4")] {
            fs::write(root.join(path), text).unwrap();
        }
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let before = manifest(root);
        assert_eq!(Manifest::from_json(&before.to_json()).unwrap(), before);
        assert_eq!(
            before.unvouched().map(|entry| entry.path.as_str()).collect::<Vec<_>>(),
            ["/unknown"]
        );
        assert_eq!(before.known()[&(Sha256::of("key"), "/a")], Sha256::of("1"));
        let verified = |manifest: &Manifest| {
            let layer = DirectoryLayer::open(root).unwrap();
            let found = verify(&layer, manifest, 2, &Cancel::default()).unwrap();
            found
                .into_iter()
                .map(|one| format!("{} {}", one.path, one.what))
                .collect::<Vec<_>>()
        };
        assert_eq!(verified(&before), Vec::<String>::new());
        fs::write(root.join("a"), "0").unwrap();
        fs::set_permissions(root.join("b"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::remove_file(root.join("gone")).unwrap();
        fs::remove_file(root.join("link")).unwrap();
        std::os::unix::fs::symlink("b", root.join("link")).unwrap();
        fs::write(root.join("new"), "").unwrap();
        assert_eq!(
            verified(&before),
            [
                "/a another content",
                "/b another mode",
                "/gone it is missing",
                "/link another target",
                "/new the manifest does not have it",
            ]
        );
    }

    #[test]
    fn names_mean_their_bytes_alone() {
        assert_eq!(shown(b"/a\\b\xff"), "/a\\\\b\\xff");
        assert!(matches!(Manifest::from_json(b"{}"), Err(ManifestError::Malformed(_))));
        let other = Manifest {
            version: 9,
            ..Manifest::new()
        };
        assert!(matches!(
            Manifest::from_json(&other.to_json()),
            Err(ManifestError::Other)
        ));
    }
}
