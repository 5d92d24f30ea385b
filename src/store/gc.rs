//! Removing what was not used for longest.
//!
//! What a lockfile of an existing image names stays, and so do the step layers and the base below its upper, or below a
//! writable layer of `oic mount`. A
//! provider whose build is running is passed over as a whole.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::durable::{self, PathError};
use crate::layer::{Below, LayerStore};
use crate::package::Sha256;
use crate::resolve::lockfile::Lockfile;
use crate::resolve::memo::Memo;
use crate::workspace::{LAYERS, Workspace};

use super::clean::remove;
use super::inventory::{Image, Provider, age, is_temporary, providers};
use super::measure::{Size, list, measure};
use super::usage::{Removal, check_unused};
use super::{Store, StoreError};

/// What may go.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Remove until packages, bases and, if asked for, images take no more bytes than this.
    pub max_bytes: Option<u64>,
    /// Remove what was not used for at least this long.
    pub unused_for: Option<Duration>,
    /// Images may go, too, by the time of their build; else they stay, and what they need.
    pub images: bool,
    /// Only tell.
    pub dry_run: bool,
    /// The time that ages are counted to.
    pub now: SystemTime,
}

/// Something that goes as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// Provider id.
    pub provider: String,
    /// What it is.
    pub kind: Kind,
    /// Where it lies.
    #[serde(serialize_with = "super::lossy")]
    pub path: PathBuf,
    /// When it was last used, in seconds since 1970.
    pub last_used: u64,
    /// What it takes.
    #[serde(flatten)]
    pub size: Size,
}

/// Kinds of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A package file.
    Package,
    /// What was resolved for some request; it is resolved again when it is needed.
    Resolution,
    /// A step layer that no image lies on.
    Layer,
    /// A snapshot with what was unpacked of it.
    Base,
    /// The directory of an image build.
    Image,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Collected {
    /// In the order of removal: the least recently used first.
    pub removed: Vec<Item>,
    /// Bytes on disk of all that may ever go or is protected, before.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
    /// Bytes that images and what they need take; they stay whatever the limits are.
    pub protected_bytes: u64,
    /// Providers that were passed over, and why.
    pub skipped: Vec<Skipped>,
}

/// A provider that was passed over.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    /// Its id.
    pub provider: String,
    /// Why.
    pub reason: String,
}

/// Removes what `policy` lets go, of all providers or of `only`.
///
/// # Errors
/// If something cannot be read or removed.
pub fn collect(store: &Store, policy: &Policy, only: Option<&str>) -> Result<Collected, StoreError> {
    let mut collected = Collected::default();
    let (mut candidates, mut locks) = (Vec::new(), Vec::new());
    for provider in providers(store, only)? {
        match claim(&provider, policy) {
            Ok(lock) => locks.extend(lock),
            Err(StoreError::InUse { by, .. }) => {
                collected.skip(&provider.id, format!("it is in use by {by}"));
                continue;
            }
            Err(error) => return Err(error),
        }
        if !policy.dry_run {
            durable::sweep_temporaries(&provider.workspace.image_builds())?;
            LayerStore::new(provider.workspace.layers()).sweep()?;
        }
        let found = Found::of(&provider, policy, &mut collected)?;
        collected.bytes_before = collected.bytes_before.saturating_add(found.bytes);
        candidates.extend(found.candidates);
    }
    candidates.sort_by(|a: &Item, b: &Item| (a.last_used, a.kind, &a.path).cmp(&(b.last_used, b.kind, &b.path)));
    let unprotected = candidates
        .iter()
        .fold(0_u64, |sum, item| sum.saturating_add(item.size.disk_bytes));
    collected.protected_bytes = collected.bytes_before.saturating_sub(unprotected);
    collected.bytes_after = collected.bytes_before;
    for item in candidates {
        let too_much = policy.max_bytes.is_some_and(|max| collected.bytes_after > max);
        let last_used = SystemTime::UNIX_EPOCH + Duration::from_secs(item.last_used);
        let too_old = policy
            .unused_for
            .is_some_and(|limit| age(policy.now, last_used) >= limit);
        if !too_much && !too_old {
            continue;
        }
        if !policy.dry_run {
            let (path, days) = (item.path.display(), age(policy.now, last_used).as_secs() / 86_400);
            tracing::info!(%path, days, too_much, too_old, "removing what was not used for so many days");
            match item.remove() {
                // Of an image, this would be news: its packages may be gone already.
                Err(StoreError::InUse { by, .. }) if matches!(item.kind, Kind::Base | Kind::Layer) => {
                    collected.skip(&item.provider, format!("{} is in use by {by}", item.path.display()));
                    continue;
                }
                Err(StoreError::Mounted { at }) if matches!(item.kind, Kind::Base | Kind::Layer) => {
                    collected.skip(&item.provider, format!("{} is mounted", at.display()));
                    continue;
                }
                result => result?,
            }
        }
        collected.bytes_after = collected.bytes_after.saturating_sub(item.size.disk_bytes);
        collected.removed.push(item);
    }
    Ok(collected)
}

/// The locks of the provider; looking needs none.
fn claim(provider: &Provider, policy: &Policy) -> Result<Option<Removal>, StoreError> {
    match Removal::claim(provider) {
        Ok(lock) => Ok(Some(lock)),
        // To look at, a store of somebody else is good enough.
        Err(StoreError::Path(_)) if policy.dry_run => Ok(None),
        Err(error) => Err(error),
    }
}

impl Collected {
    fn skip(&mut self, provider: &str, reason: String) {
        self.skipped.push(Skipped {
            provider: provider.to_owned(),
            reason,
        });
    }
}

/// What there is of one provider.
struct Found {
    bytes: u64,
    candidates: Vec<Item>,
}

impl Found {
    fn of(provider: &Provider, policy: &Policy, collected: &mut Collected) -> Result<Self, StoreError> {
        let (mut bytes, mut candidates) = (0_u64, Vec::new());
        let mut offer = |kind, path, last_used: SystemTime, size: Size, may_go: bool| {
            bytes = bytes.saturating_add(size.disk_bytes);
            let since = last_used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            if may_go {
                candidates.push(Item {
                    provider: provider.id.clone(),
                    kind,
                    path,
                    last_used: since.as_secs(),
                    size,
                });
            }
        };
        let images = provider.images()?;
        let mut staying: Vec<&Image> = Vec::new();
        for image in &images {
            let is_old = policy
                .unused_for
                .is_some_and(|limit| age(policy.now, image.built) >= limit);
            let goes = policy.images && is_old && check_unused(&provider.id, image.build.directory()).is_ok();
            if !goes {
                staying.push(image);
            }
            if policy.images {
                offer(
                    Kind::Image,
                    image.build.directory().to_owned(),
                    image.built,
                    image.size,
                    goes,
                );
            }
        }
        let needed = match needed_by(&staying) {
            Ok(needed) => Some(needed),
            Err(reason) => {
                collected.skip(&provider.id, format!("its packages stay: {reason}"));
                None
            }
        };
        for package in provider.packages()? {
            let may_go = needed.as_ref().is_some_and(|needed| !needed.contains(&package.name()));
            offer(Kind::Package, package.path, package.last_used, package.size, may_go);
        }
        let workspace = &provider.workspace;
        for (path, last_used) in Memo::new(workspace.resolutions()).list()? {
            let size = measure(&path)?;
            offer(Kind::Resolution, path, last_used, size, true);
        }
        if workspace.tarball().exists() {
            let last_used = provider.last_used().unwrap_or(SystemTime::UNIX_EPOCH);
            let has_upper = staying.iter().any(|image| image.build.upper().exists()) || has_mounts(workspace)?;
            let layers = measure(&workspace.layers())?;
            let size = measure(&workspace.chrootbuild())?.without(layers);
            offer(Kind::Base, workspace.chrootbuild(), last_used, size, !has_upper);
            // A writable layer of `oic mount` may lie on an image, and so on any of them.
            let lain_on = match has_mounts(workspace)? {
                true => None,
                false => lain_on(&staying),
            };
            for layer in LayerStore::new(workspace.layers()).list()? {
                let key = layer.manifest.facts.key;
                let may_go = lain_on.as_ref().is_some_and(|keys| !keys.contains(&key));
                let path = layer.directory().to_owned();
                offer(Kind::Layer, path.clone(), layer.last_used(), measure(&path)?, may_go);
            }
        }
        Ok(Self { bytes, candidates })
    }
}

/// Keys of the step layers below the uppers of `images`; `None` if one of them cannot be read.
fn lain_on(images: &[&Image]) -> Option<BTreeSet<Sha256>> {
    let mut keys = BTreeSet::new();
    for image in images.iter().filter(|image| image.build.upper().exists()) {
        match Below::read(&image.build.below()) {
            Ok(below) => keys.extend(below.layers),
            Err(error) => {
                tracing::warn!("all step layers stay: {error}");
                return None;
            }
        }
    }
    Some(keys)
}

/// Whether somebody keeps a writable layer of `oic mount` over the base.
fn has_mounts(workspace: &Workspace) -> Result<bool, PathError> {
    Ok(list(&workspace.mounts())?.iter().any(|path| !is_temporary(path)))
}

/// File names of the packages that the lockfiles of `images` name; in words, why one cannot be read.
fn needed_by(images: &[&Image]) -> Result<BTreeSet<String>, String> {
    let mut needed = BTreeSet::new();
    for image in images {
        for path in image.lockfiles().map_err(|error| error.to_string())? {
            let text = std::fs::read(&path).map_err(PathError::on("read", &path));
            let text = text.map_err(|error| error.to_string())?;
            let lockfile = Lockfile::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            needed.extend(lockfile.packages.iter().map(|package| package.file_name()));
        }
    }
    Ok(needed)
}

impl Item {
    fn remove(&self) -> Result<(), StoreError> {
        match self.kind {
            Kind::Package | Kind::Resolution => Ok(durable::remove_tree(&self.path)?),
            Kind::Image => {
                check_unused(&self.provider, &self.path)?;
                Ok(remove(&self.path)?)
            }
            Kind::Layer => {
                check_unused(&self.provider, &self.path)?;
                durable::remove_tree(&self.path.with_extension("lock"))?;
                Ok(remove(&self.path)?)
            }
            Kind::Base => {
                check_unused(&self.provider, &self.path)?;
                // The layers are items of their own, and good for the same base made again.
                for path in list(&self.path)?.iter().filter(|path| !path.ends_with(LAYERS)) {
                    remove(path)?;
                }
                Ok(())
            }
        }
    }
}
