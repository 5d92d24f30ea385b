//! Removal of the least recently used items.
//!
//! An image stays, unless the policy says otherwise; a raw image that only the next build needs does not. The packages in the lockfile of an existing image stay, and so do the step layers and the base below its upper, or
//! below a writable layer of `oic mount`. A provider with a running build is skipped as a whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::cancel::Cancel;
use crate::durable::{self, PathError};
use crate::layer::{Below, LayerStore};
use crate::package::Sha256;
use crate::resolve::lockfile::Lockfile;
use crate::resolve::memo::Memo;
use crate::workspace::{LAYERS, Workspace};

use super::clean::remove;
use super::inventory::{Image, Provider, age, providers, tarballs};
use super::measure::{Size, list, measure};
pub use super::places::Kind;
use super::places::has_writable_layer;
use super::sweep;
use super::usage::{Removal, check_unused};
use super::{Store, StoreError};

/// The limits of a collection.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The most bytes on disk that packages, bases and, if `images` is set, images may take.
    pub max_bytes: Option<u64>,
    /// The time without use after which items are removed.
    pub unused_for: Option<Duration>,
    /// Whether images may be removed, too, by the time of their build; otherwise they stay, with the items that they
    /// need.
    pub images: bool,
    /// Whether nothing is removed, and the result says what would be.
    pub dry_run: bool,
    /// The present time, for ages.
    pub now: SystemTime,
}

/// An item that is removed as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// Provider id; `null` for a foreign tarball.
    pub provider: Option<String>,
    /// Its kind.
    pub kind: Kind,
    /// Its path.
    #[serde(serialize_with = "super::lossy")]
    pub path: PathBuf,
    /// The time of its last use, in seconds since 1970.
    pub last_used: u64,
    /// Its size.
    #[serde(flatten)]
    pub size: Size,
}

/// The items that were removed, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Collected {
    /// The items in the order of removal: the least recently used first.
    pub removed: Vec<Item>,
    /// Bytes on disk of all removable and protected items before the collection.
    pub bytes_before: u64,
    /// Bytes on disk of all removable and protected items after it.
    pub bytes_after: u64,
    /// Bytes on disk of images and the items that they need, which stay under any limits.
    pub protected_bytes: u64,
    /// Providers that were skipped, with the reasons.
    pub skipped: Vec<Skipped>,
}

/// A provider that was skipped.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    /// Its id.
    pub provider: String,
    /// The reason.
    pub reason: String,
}

/// Removes the items that `policy` allows, of all providers or of `only`, and returns what was removed. When `cancel` is
/// set, it stops before the next item.
///
/// # Errors
/// [`StoreError::Cancelled`], or if an item cannot be read or removed.
pub fn collect(store: &Store, policy: &Policy, only: Option<&str>, cancel: &Cancel) -> Result<Collected, StoreError> {
    let mut collected = Collected::default();
    let (mut candidates, mut locks) = (Vec::new(), Vec::new());
    for provider in providers(store, only)? {
        cancel.check()?;
        let lock = match claim(&provider, policy) {
            Ok(lock) => lock,
            Err(StoreError::InUse { by, .. }) => {
                collected.skip(&provider.id, format!("it is in use by {by}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        if !policy.dry_run {
            lock.iter().for_each(Removal::sweep);
        }
        locks.extend(lock);
        let found = Found::of(&provider, policy, &mut collected)?;
        collected.bytes_before = collected.bytes_before.saturating_add(found.bytes);
        candidates.extend(found.candidates);
    }
    if only.is_none() {
        if !policy.dry_run {
            sweep::tarballs(&store.work_dir);
        }
        let found = Found::of_tarballs(store)?;
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
        cancel.check()?;
        collected.consider(item, policy)?;
    }
    Ok(collected)
}

/// Takes the locks of the provider; `None` in a dry run that may not lock.
fn claim(provider: &Provider, policy: &Policy) -> Result<Option<Removal>, StoreError> {
    match Removal::claim(provider) {
        Ok(lock) => Ok(Some(lock)),
        // A dry run also works on a store of another user.
        Err(StoreError::Path(_)) if policy.dry_run => Ok(None),
        Err(error) => Err(error),
    }
}

impl Collected {
    /// Removes `item` if it is too old, or if what is kept is still too large.
    fn consider(&mut self, item: Item, policy: &Policy) -> Result<(), StoreError> {
        let too_much = policy.max_bytes.is_some_and(|max| self.bytes_after > max);
        let last_used = SystemTime::UNIX_EPOCH + Duration::from_secs(item.last_used);
        let too_old = policy.is_old(last_used);
        if !too_much && !too_old {
            return Ok(());
        }
        if !policy.dry_run {
            let (path, days) = (item.path.display(), age(policy.now, last_used).as_secs() / 86_400);
            tracing::info!(%path, days, too_much, too_old, "removing what was not used for so many days");
            match item.remove() {
                // An image in use is an error here: its packages may already have been removed.
                Err(StoreError::InUse { by, .. }) if item.may_be_used() => {
                    self.skip(item.owner(), format!("{} is in use by {by}", item.path.display()));
                    return Ok(());
                }
                Err(StoreError::Mounted { at }) if item.may_be_used() => {
                    self.skip(item.owner(), format!("{} is mounted", at.display()));
                    return Ok(());
                }
                result => result?,
            }
        }
        self.bytes_after = self.bytes_after.saturating_sub(item.size.disk_bytes);
        self.removed.push(item);
        Ok(())
    }

    fn skip(&mut self, provider: &str, reason: String) {
        self.skipped.push(Skipped {
            provider: provider.to_owned(),
            reason,
        });
    }
}

impl Policy {
    /// Says whether what was used last at `last_used` has not been used for too long.
    fn is_old(&self, last_used: SystemTime) -> bool {
        self.unused_for.is_some_and(|limit| age(self.now, last_used) >= limit)
    }
}

/// What there is of one provider.
#[derive(Default)]
struct Found {
    bytes: u64,
    candidates: Vec<Item>,
}

impl Found {
    fn of(provider: &Provider, policy: &Policy, collected: &mut Collected) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let images = provider.images()?;
        let staying = found.images(provider, &images, policy);
        let needed = match needed_by(&staying) {
            Ok(needed) => Some(needed),
            Err(reason) => {
                collected.skip(&provider.id, format!("its packages stay: {reason}"));
                None
            }
        };
        for package in provider.packages()? {
            let may_go = needed.as_ref().is_some_and(|needed| !needed.contains(&package.name()));
            let item = Item::of(provider, Kind::Package, package.path, package.last_used, package.size);
            found.add(item, may_go);
        }
        for (path, last_used) in Memo::new(provider.workspace.resolutions()).list()? {
            let size = measure(&path)?;
            found.add(Item::of(provider, Kind::Resolution, path, last_used, size), true);
        }
        if provider.workspace.tarball().exists() {
            found.base(provider, &staying)?;
        }
        Ok(found)
    }

    /// Counts an item, and makes it a candidate if it may go.
    fn add(&mut self, item: Item, may_go: bool) {
        self.bytes = self.bytes.saturating_add(item.size.disk_bytes);
        if may_go {
            self.candidates.push(item);
        }
    }

    /// Adds the states of images, and the images if `policy` lets images go; returns those that stay in any case.
    fn images<'a>(&mut self, provider: &Provider, images: &'a [Image], policy: &Policy) -> Vec<&'a Image> {
        let mut staying = Vec::new();
        for image in images {
            let directory = image.build.directory();
            let is_unused = check_unused(&provider.id, directory).is_ok();
            let goes = policy.images && policy.is_old(image.built) && is_unused;
            if !goes {
                staying.push(image);
            }
            if image.state != Size::default() {
                let path = image.build.image_state();
                let item = Item::of(provider, Kind::State, path, image.built, image.state);
                self.add(item, is_unused);
            }
            if policy.images {
                let size = image.size.without(image.state);
                let item = Item::of(provider, Kind::Image, directory.to_owned(), image.built, size);
                self.add(item, goes);
            }
        }
        staying
    }

    /// Adds the base and the step layers; those that an image of `staying` or a mount lies on stay.
    fn base(&mut self, provider: &Provider, staying: &[&Image]) -> Result<(), StoreError> {
        let workspace = &provider.workspace;
        let last_used = provider.last_used().unwrap_or(SystemTime::UNIX_EPOCH);
        let is_mounted = has_mounts(workspace)?;
        let has_upper = staying.iter().any(|image| image.build.upper().exists()) || is_mounted;
        let layers = measure(&workspace.layers())?;
        let size = measure(&workspace.chrootbuild())?.without(layers);
        let item = Item::of(provider, Kind::Base, workspace.chrootbuild(), last_used, size);
        self.add(item, !has_upper);
        // A writable layer of `oic mount` may lie on an image, and so on any of them.
        let lain_on = if is_mounted { None } else { lain_on(staying) };
        for entry in LayerStore::new(workspace.layers()).entries()? {
            // One with a damaged manifest is of no use to an image either.
            let is_damaged = entry.layer.is_err();
            let may_go = is_damaged || lain_on.as_ref().is_some_and(|keys| !keys.contains(&entry.key));
            let last_used = entry.layer.map_or(SystemTime::UNIX_EPOCH, |layer| layer.last_used());
            let size = measure(&entry.directory)?;
            self.add(
                Item::of(provider, Kind::Layer, entry.directory, last_used, size),
                may_go,
            );
        }
        Ok(())
    }
}

impl Item {
    /// Describes what `provider` keeps at `path`.
    fn of(provider: &Provider, kind: Kind, path: PathBuf, last_used: SystemTime, size: Size) -> Self {
        let since = last_used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            provider: Some(provider.id.clone()),
            kind,
            path,
            last_used: since.as_secs(),
            size,
        }
    }
}

impl Found {
    /// Finds foreign tarballs; one below a writable layer of `oic mount` is not a candidate.
    fn of_tarballs(store: &Store) -> Result<Self, StoreError> {
        let (mut bytes, mut candidates) = (0_u64, Vec::new());
        for tarball in tarballs(store)? {
            bytes = bytes.saturating_add(tarball.size.disk_bytes);
            if !tarball.has_mounts()? {
                let since = tarball.last_used.duration_since(SystemTime::UNIX_EPOCH);
                candidates.push(Item {
                    provider: None,
                    kind: Kind::Tarball,
                    path: tarball.place.directory().to_owned(),
                    last_used: since.unwrap_or_default().as_secs(),
                    size: tarball.size,
                });
            }
        }
        Ok(Self { bytes, candidates })
    }
}

/// Returns the keys of the step layers below the uppers of `images`; `None` if the record of one cannot be read.
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

/// Says whether a writable layer of `oic mount` lies over the base.
fn has_mounts(workspace: &Workspace) -> Result<bool, PathError> {
    has_writable_layer(&workspace.mounts())
}

/// Returns the file names of the packages in the lockfiles of `images`; the error says in words why one cannot be read.
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

/// Removes `path` and leaves the time of its directory, which is that of the image's build.
fn remove_untold(path: &Path) -> Result<(), PathError> {
    let directory = path.parent().unwrap_or(path);
    let keep = || {
        let modified = directory.metadata()?.modified()?;
        Ok((File::open(directory)?, modified))
    };
    let (opened, modified) = keep().map_err(PathError::on("look at", directory))?;
    durable::remove_tree(path)?;
    opened
        .set_modified(modified)
        .map_err(PathError::on("set the time of", directory))
}

impl Item {
    /// Returns its owner, for messages: the provider, or the word `tarball`.
    fn owner(&self) -> &str {
        self.provider.as_deref().unwrap_or("tarball")
    }

    /// Says whether an item of this kind may stay, without loss, if a process uses it.
    fn may_be_used(&self) -> bool {
        matches!(self.kind, Kind::Base | Kind::Layer | Kind::Tarball)
    }

    fn remove(&self) -> Result<(), StoreError> {
        match self.kind {
            Kind::Package | Kind::Resolution => Ok(durable::remove_tree(&self.path)?),
            Kind::State => Ok(remove_untold(&self.path)?),
            Kind::Image | Kind::Tarball => {
                check_unused(self.owner(), &self.path)?;
                Ok(remove(&self.path)?)
            }
            Kind::Layer => {
                check_unused(self.owner(), &self.path)?;
                durable::remove_tree(&self.path.with_extension("lock"))?;
                Ok(remove(&self.path)?)
            }
            Kind::Base => {
                check_unused(self.owner(), &self.path)?;
                // The layers are items of their own, and fit the same base when it is made again.
                for path in list(&self.path)?.iter().filter(|path| !path.ends_with(LAYERS)) {
                    remove(path)?;
                }
                Ok(())
            }
        }
    }
}
