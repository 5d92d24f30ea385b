//! The steps of a build, each a layer: found done, or done in an upper that is then frozen.
//!
//! What a step writes is made durable and gets its final name in a thread, while the next one runs over it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::cancel::Cancelled;
use crate::durable::{self, FileLock, PathError};
use crate::image::merged::Merged;
use crate::layer::{self, Below, Draft, Facts, KeyBuilder, Layer, LayerError, LayerStore, Manifest};
use crate::mount::kernel::Upper;
use crate::mount::server::PoolRequest;
use crate::overlay::{self, directory::DirectoryLayer};
use crate::package::{ResolvedPackage, Sha256};
use crate::provider::PackageSystem;
use crate::snapshot::Snapshot;
use crate::workspace::ImageBuild;

use super::compose::{self, Mounted};
use super::packages::{Cached, Selection};
use super::report::LayerUse;
use super::serve::LayerStats;
use super::{BuildError, Context, base, stanza};

/// A step that may have been done before.
pub(super) struct Step<'a> {
    /// Its name, in reports and keys.
    pub name: &'static str,
    /// Digest of all that goes in.
    pub key: Sha256,
    /// The key below a step that is done in several layers, if it is not the parent.
    pub ground: Option<Sha256>,
    /// What it installs, from the package pool.
    pub packages: &'a [ResolvedPackage],
    /// All packages that are installed above the ground after it.
    pub installed: Vec<Sha256>,
}

/// The layers so far, and what they cost.
pub(super) struct Steps<'a> {
    context: &'a Context<'a>,
    output: &'a ImageBuild,
    selection: &'a Selection,
    cached: &'a Cached,
    store: LayerStore,
    base: Sha256,
    /// Opened before anybody can put another one in its place.
    snapshot: Arc<Snapshot>,
    /// The topmost first.
    stack: Vec<Placed>,
    uses: Vec<LayerUse>,
    warnings: Vec<String>,
    stats: LayerStats,
    /// Finished, and the topmost, but not published yet.
    unsealed: Option<Unsealed>,
    sealing: Option<Sealing<Published>>,
    /// The image's own upper, if this build made it.
    own: Option<Facts>,
    /// Layers of which it was told that they cannot be used.
    told: BTreeSet<Sha256>,
    /// Layers that somebody else had published first; they lie below the others all the same.
    kept: Vec<Draft>,
}

/// A layer's key and where it lies at the moment; the image's own upper has no key.
struct Placed {
    key: Option<Sha256>,
    tree: PathBuf,
}

struct Unsealed {
    draft: Draft,
    facts: Facts,
    lock: FileLock,
}

/// A layer that was published, or the draft of one that somebody else had published first.
type Published = Result<Layer, Draft>;

/// A thread that makes a layer durable; joined when dropped.
struct Sealing<T>(Option<JoinHandle<Result<T, LayerError>>>);

impl<T: Send + 'static> Sealing<T> {
    fn start(work: impl FnOnce() -> Result<T, LayerError> + Send + 'static) -> Self {
        Self(Some(std::thread::spawn(work)))
    }

    fn join(mut self) -> Result<T, LayerError> {
        match self.0.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            // Only this function and `drop` take it.
            None => Err(LayerError::Cancelled(Cancelled)),
        }
    }
}

impl<T> Drop for Sealing<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // The build has failed already; a layer that was published all the same is sound.
            drop(thread.join());
        }
    }
}

impl<'a> Steps<'a> {
    /// No layers above the base whose key is `base`. What killed builds left is removed.
    pub fn new(
        context: &'a Context<'a>,
        output: &'a ImageBuild,
        selection: &'a Selection,
        cached: &'a Cached,
        base: Sha256,
    ) -> Result<Self, BuildError> {
        let store = LayerStore::new(context.workspace.layers());
        store.sweep()?;
        Ok(Self {
            context,
            output,
            selection,
            cached,
            store,
            base,
            snapshot: Arc::new(Snapshot::open(&base::paths(context))?),
            stack: Vec::new(),
            uses: Vec::new(),
            warnings: Vec::new(),
            stats: LayerStats::default(),
            unsealed: None,
            sealing: None,
            own: None,
            told: BTreeSet::new(),
            kept: Vec::new(),
        })
    }

    /// The key of the topmost layer, or of the base.
    pub fn top(&self) -> Sha256 {
        self.keys().first().copied().unwrap_or(self.base)
    }

    fn keys(&self) -> Vec<Sha256> {
        self.stack.iter().filter_map(|placed| placed.key).collect()
    }

    fn place(&mut self, key: Option<Sha256>, tree: PathBuf) {
        self.stack.insert(0, Placed { key, tree });
    }

    /// Begins the key of a step above the topmost layer.
    pub fn key(&self, name: &str, version: u32) -> KeyBuilder {
        KeyBuilder::new(name, version, self.top())
    }

    /// Puts the layer of `step` on top: the one that is there, or one that `work` fills through the mount that it is
    /// given, from the packages with their stanzas. What `work` returns is told to the user each time that the layer is used.
    pub fn step(
        &mut self,
        step: &Step<'_>,
        work: impl FnOnce(&Path, &[ResolvedPackage]) -> Result<Vec<String>, BuildError>,
    ) -> Result<(), BuildError> {
        let context = self.context;
        let lock = self.store.lock(step.key, context.cancel, || {
            context
                .progress
                .note(&format!("waiting for another build that does the same ({})", step.name));
        })?;
        if self.find(step.key, step.packages.len())? {
            return Ok(());
        }
        let draft = self.store.draft()?;
        let packages = match context.request.loaded.provider.package_system {
            PackageSystem::Deb => stanza::complete(context, step.packages, self.cached)?,
            PackageSystem::Rpm => step.packages.to_vec(),
        };
        let pool = (!packages.is_empty()).then(|| compose::pool(context, self.selection, &packages));
        let mounted = self.mount(Some((draft.tree(), draft.work())), pool)?;
        let timeline = &context.timeline;
        let warnings = timeline.inner(step.name, || self.run(mounted, |root| work(root, &packages)))?;
        let facts = Facts {
            key: step.key,
            step: step.name.to_owned(),
            parent: self.top(),
            ground: step.ground.unwrap_or_else(|| self.top()),
            packages: step.installed.clone(),
            warnings,
        };
        self.warnings.extend(facts.warnings.iter().cloned());
        self.place(Some(step.key), draft.tree());
        self.unsealed = Some(Unsealed { draft, facts, lock });
        self.uses.push(LayerUse {
            step: step.name.to_owned(),
            reused: false,
            packages: step.packages.len(),
            size_bytes: 0,
        });
        Ok(())
    }

    /// Puts the layer `key` on top, if it is there; it stands for so many packages.
    pub fn find(&mut self, key: Sha256, packages: usize) -> Result<bool, BuildError> {
        if self.context.request.from_scratch {
            return Ok(false);
        }
        let Some(layer) = self.sound(key)? else {
            return Ok(false);
        };
        self.settle()?;
        self.put(&layer, packages);
        Ok(true)
    }

    /// The layer `key`, if it is there and as it was left; one that is not is told of once.
    fn sound(&mut self, key: Sha256) -> Result<Option<Layer>, BuildError> {
        match self.store.find(key) {
            Ok(found) => Ok(found),
            Err(error @ LayerError::Unusable { .. }) => {
                if self.told.insert(key) {
                    tracing::warn!("{error}; it is made again");
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Packages in the cache.
    pub fn cached(&self) -> &'a Cached {
        self.cached
    }

    /// Puts layers on top that are known to be sound, the topmost first, instead of doing a step.
    pub fn reuse(&mut self, layers: &[Layer], packages: usize) -> Result<(), BuildError> {
        self.settle()?;
        for (position, layer) in layers.iter().enumerate().rev() {
            self.put(layer, if position == 0 { packages } else { 0 });
        }
        Ok(())
    }

    /// The layers of this provider in which `name` was done upon the topmost layer, each with those that it lies on down to
    /// that one, the topmost first.
    pub fn done_above(&self, name: &str) -> Result<Vec<Vec<Layer>>, BuildError> {
        if self.context.request.from_scratch {
            return Ok(Vec::new());
        }
        let ground = self.top();
        let all = self.store.list()?;
        let of_step = |layer: &&Layer| layer.manifest.facts.step == name && layer.manifest.facts.ground == ground;
        let chain = |top: &Layer| -> Option<Vec<Layer>> {
            let mut chain = vec![top.clone()];
            while let Some(last) = chain.last().filter(|last| last.manifest.facts.parent != ground) {
                let parent = last.manifest.facts.parent;
                chain.push(all.iter().find(|layer| layer.manifest.facts.key == parent)?.clone());
            }
            Some(chain)
        };
        Ok(all.iter().filter(of_step).filter_map(chain).collect())
    }

    /// Whether each of `layers` is still as it was left.
    pub fn are_sound(&mut self, layers: &[Layer]) -> Result<bool, BuildError> {
        for layer in layers {
            if self.sound(layer.manifest.facts.key)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn put(&mut self, layer: &Layer, packages: usize) {
        let Manifest { facts, scan, .. } = &layer.manifest;
        self.warnings.extend(facts.warnings.iter().cloned());
        self.place(Some(facts.key), layer.tree());
        self.uses.push(LayerUse {
            step: facts.step.clone(),
            reused: true,
            packages,
            size_bytes: scan.size_bytes,
        });
    }

    /// The last step writes the image's own upper: the one of the build before serves, if it has the same key.
    pub fn upper(&mut self, key: Sha256, work: impl FnOnce(&Path) -> Result<(), BuildError>) -> Result<(), BuildError> {
        let (upper, previous) = (self.output.upper(), self.output.previous());
        let mut used = LayerUse {
            step: "settings".to_owned(),
            reused: false,
            packages: 0,
            size_bytes: 0,
        };
        if !self.context.request.from_scratch
            && let Some(manifest) = sound_upper(&previous, key)
        {
            self.settle()?;
            std::fs::rename(previous.upper(), &upper).map_err(PathError::on("take over", previous.upper()))?;
            manifest.write(&self.output.upper_manifest())?;
            used.reused = true;
            used.size_bytes = manifest.scan.size_bytes;
        } else {
            let mounted = self.mount(Some((upper.clone(), self.output.work())), None)?;
            let timeline = &self.context.timeline;
            timeline.inner(&used.step, || self.run(mounted, |root| work(root).map(|()| Vec::new())))?;
            durable::remove_tree(&self.output.work())?;
            let facts = Facts {
                key,
                step: used.step.clone(),
                parent: self.top(),
                ground: self.top(),
                packages: Vec::new(),
                warnings: Vec::new(),
            };
            used.size_bytes = layer::glance(&upper)?.size_bytes;
            self.own = Some(facts);
        }
        self.uses.push(used);
        self.place(None, upper);
        Ok(())
    }

    /// Everything merged, read-only, once each layer is complete.
    pub fn freeze(mut self) -> Result<Done, BuildError> {
        self.settle()?;
        let own = self.own.take().map(|facts| self.seal_upper(facts));
        Below {
            base: self.base,
            layers: self.keys(),
        }
        .write(&self.output.below())?;
        let mut layers: Vec<Arc<dyn overlay::layer::Layer>> = Vec::new();
        for placed in &self.stack {
            layers.push(Arc::new(DirectoryLayer::open(&placed.tree)?));
        }
        layers.push(Arc::clone(&self.snapshot) as Arc<dyn overlay::layer::Layer>);
        Ok(Done {
            merged: Merged::new(layers)?,
            base: self.snapshot,
            stats: self.stats,
            uses: self.uses,
            warnings: self.warnings,
            own,
            _kept: self.kept,
        })
    }

    /// Makes the image's upper durable while the image is written.
    fn seal_upper(&self, facts: Facts) -> Sealing<()> {
        let (cancel, timeline) = (self.context.cancel.clone(), self.context.timeline.clone());
        let (upper, manifest) = (self.output.upper(), self.output.upper_manifest());
        Sealing::start(move || {
            let seal = || {
                layer::seal(&upper, facts, &cancel)?
                    .write(&manifest)
                    .map_err(LayerError::from)
            };
            timeline.inner("sync and digest settings", seal)
        })
    }

    /// Mounts all layers, with a new upper if it is given with its work directory.
    fn mount(&mut self, upper: Option<(PathBuf, PathBuf)>, pool: Option<PoolRequest>) -> Result<Mounted, BuildError> {
        // Whatever is renamed is renamed before or after, never while its name is used.
        self.finish_sealing()?;
        let upper = upper.map(|(directory, work)| Upper {
            directory,
            work,
            base: self.top().to_string(),
            volatile: true,
        });
        let trees = self.stack.iter().map(|placed| placed.tree.clone()).collect();
        let mounted = compose::mount(self.context, self.output, upper, trees, pool)?;
        self.start_sealing();
        Ok(mounted)
    }

    fn run(
        &mut self,
        mut mounted: Mounted,
        work: impl FnOnce(&Path) -> Result<Vec<String>, BuildError>,
    ) -> Result<Vec<String>, BuildError> {
        let warnings = work(mounted.root())?;
        self.stats = self.stats.with(&mounted.stats()?);
        mounted.close()?;
        Ok(warnings)
    }

    fn start_sealing(&mut self) {
        let Some(Unsealed { draft, facts, lock }) = self.unsealed.take() else {
            return;
        };
        let (cancel, timeline) = (self.context.cancel.clone(), self.context.timeline.clone());
        self.sealing = Some(Sealing::start(move || {
            let _lock = lock;
            let stage = format!("sync and digest {}", facts.step);
            timeline.inner(&stage, || draft.publish(facts, &cancel))
        }));
    }

    fn finish_sealing(&mut self) -> Result<(), BuildError> {
        let Some(sealing) = self.sealing.take() else {
            return Ok(());
        };
        match sealing.join()? {
            Err(draft) => self.kept.push(draft),
            Ok(layer) => {
                let key = layer.manifest.facts.key;
                if let Some(placed) = self.stack.iter_mut().find(|placed| placed.key == Some(key)) {
                    placed.tree = layer.tree();
                }
                let made = self
                    .uses
                    .iter_mut()
                    .rev()
                    .find(|used| used.step == layer.manifest.facts.step);
                if let Some(used) = made {
                    used.size_bytes = layer.manifest.scan.size_bytes;
                }
            }
        }
        Ok(())
    }

    /// Every layer is complete and has its final name.
    fn settle(&mut self) -> Result<(), BuildError> {
        self.finish_sealing()?;
        self.start_sealing();
        self.finish_sealing()
    }
}

/// What the steps have made.
pub(super) struct Done {
    pub merged: Merged,
    pub base: Arc<Snapshot>,
    pub stats: LayerStats,
    pub uses: Vec<LayerUse>,
    pub warnings: Vec<String>,
    own: Option<Sealing<()>>,
    _kept: Vec<Draft>,
}

impl Done {
    /// Waits until all layers are durable.
    pub fn close(self) -> Result<(), BuildError> {
        Ok(self.own.map_or(Ok(()), Sealing::join)?)
    }
}

/// The upper of an earlier build, if it is what `key` stands for and as it was left.
fn sound_upper(previous: &ImageBuild, key: Sha256) -> Option<Manifest> {
    let manifest = Manifest::read(&previous.upper_manifest()).ok()?;
    if manifest.facts.key != key || layer::glance(&previous.upper()).ok()? != manifest.scan {
        return None;
    }
    durable::remove_tree(&previous.upper_manifest()).ok()?;
    Some(manifest)
}
