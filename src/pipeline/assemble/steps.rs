//! The steps of a build, each a layer: an earlier build's, or an upper that this build fills and then freezes.
//!
//! A thread makes durable what a step wrote and gives it its final name, while the next step runs over it.

mod sealing;
mod secrets;
mod upper;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::remove_traces;
use crate::durable::FileLock;
use crate::image::merged::Merged;
use crate::image::sealed::SealedLayer;
use crate::layer::{
    self, Below, Draft, Facts, KeyBuilder, Layer, LayerError, LayerStore, Manifest, Secret, Sums, Times,
};
use crate::layers::{LayerStats, PoolRequest};
use crate::manifest::ManifestLayer;
use crate::mount::kernel::Upper;
use crate::overlay::{self, directory::DirectoryLayer};
use crate::package::{Checksum, ResolvedPackage, Sha256};
use crate::root::Root;
use crate::snapshot::Snapshot;
use crate::workspace::ImageBuild;

use sealing::Sealing;

use super::mounted::{self, Mounted};
use super::{base, canonical};
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::full;
use crate::pipeline::packages::{Cached, Packages};
use crate::pipeline::report::LayerUse;
use crate::pipeline::select::selection::Selection;

/// A step that may have been done before.
pub struct Step<'a> {
    /// Its name, in reports and keys.
    pub name: &'static str,
    /// Digest of all that the step depends on.
    pub key: Sha256,
    /// The key below a step that takes several layers, if it is not the parent.
    pub ground: Option<Sha256>,
    /// The packages that it installs, from the package pool.
    pub packages: &'a [ResolvedPackage],
    /// All packages that are installed above the ground after it.
    pub installed: Vec<Checksum>,
    /// The time that its programs take for the present one, in seconds since 1970.
    pub epoch_seconds: u64,
}

/// What a step works with.
pub struct Filled<'a> {
    /// The mounted image.
    pub root: &'a Path,
    /// The directory that receives what the step writes.
    pub upper: &'a Path,
    /// The packages, with their stanzas.
    pub packages: &'a [ResolvedPackage],
}

/// The layers so far, and what they cost.
pub struct Steps<'a> {
    context: &'a Context<'a>,
    output: &'a ImageBuild,
    selection: &'a Selection,
    packages: &'a Packages<'a>,
    store: LayerStore,
    base: Sha256,
    /// The base; opened before another build can replace it.
    snapshot: Arc<Snapshot>,
    /// The topmost first.
    stack: Vec<Placed>,
    uses: Vec<LayerUse>,
    warnings: Vec<String>,
    secrets: Vec<Secret>,
    stats: LayerStats,
    /// The topmost layer, if it is finished but not published yet.
    unsealed: Option<Unsealed>,
    sealing: Option<Sealing<Published>>,
    /// The image's own upper, if this build made it.
    own: Option<Facts>,
    /// Unusable layers that the user has already been warned about.
    told: BTreeSet<Sha256>,
    /// Drafts of layers that another build had published first; they lie below the others all the same.
    kept: Vec<Draft>,
}

/// A layer's key and where the layer lies at the moment; the image's own upper has no key.
struct Placed {
    key: Option<Sha256>,
    tree: PathBuf,
}

struct Unsealed {
    draft: Draft,
    facts: Facts,
    lock: FileLock,
}

/// A layer that was published, or the draft of one that another build had published first.
type Published = Result<Layer, Draft>;

impl<'a> Steps<'a> {
    /// Begins with the base whose key is `base`, and removes what killed builds left.
    pub fn new(
        context: &'a Context<'a>,
        output: &'a ImageBuild,
        selection: &'a Selection,
        packages: &'a Packages<'a>,
        base: Sha256,
    ) -> Result<Self, BuildError> {
        let store = LayerStore::new(context.workspace.layers());
        store.sweep()?;
        Ok(Self {
            context,
            output,
            selection,
            packages,
            store,
            base,
            snapshot: Arc::new(Snapshot::open(&base::paths(context))?),
            stack: Vec::new(),
            uses: Vec::new(),
            warnings: Vec::new(),
            secrets: Vec::new(),
            stats: LayerStats::default(),
            unsealed: None,
            sealing: None,
            own: None,
            told: BTreeSet::new(),
            kept: Vec::new(),
        })
    }

    /// Gives the key of the topmost layer, or of the base.
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

    /// Puts the layer of `step` on top: the existing one, or one that `work` fills through a mount. The warnings that
    /// `work` returns are shown again whenever the layer is reused.
    pub fn step(
        &mut self,
        step: &Step<'_>,
        work: impl FnOnce(&Filled<'_>) -> Result<Vec<String>, BuildError>,
    ) -> Result<(), BuildError> {
        let context = self.context;
        let lock = self.store.lock(step.key, context.work.cancel, || {
            context
                .work
                .progress
                .note(&format!("waiting for another build that does the same ({})", step.name));
        })?;
        if self.find(step.key, step.packages.len())? {
            return Ok(());
        }
        let draft = self.store.draft()?;
        let (warnings, secrets) = self.fill(&draft, step, work)?;
        // The next step would wait for the layer below, too; until then that may get another name.
        self.finish_sealing()?;
        canonical::make(&draft.tree(), &Merged::new(self.layers_below()?)?)?;
        let facts = Facts {
            key: step.key,
            step: step.name.to_owned(),
            parent: self.top(),
            ground: step.ground.unwrap_or_else(|| self.top()),
            packages: step.installed.clone(),
            warnings,
            secrets,
        };
        self.note(&facts);
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

    /// Fills `draft` by `work`, through a mount. Returns the warnings of `work`, and the private keys and identities that
    /// packages drew.
    fn fill(
        &mut self,
        draft: &Draft,
        step: &Step<'_>,
        work: impl FnOnce(&Filled<'_>) -> Result<Vec<String>, BuildError>,
    ) -> Result<(Vec<String>, Vec<Secret>), BuildError> {
        let (context, tree) = (self.context, draft.tree());
        let cached = self.obtain(step.packages)?;
        let packages = cached.complete(context, step.packages)?;
        let pool = (!packages.is_empty()).then(|| mounted::pool(context, self.selection, &packages));
        let mounted = self.mount(Some((tree.clone(), draft.work())), pool)?;
        let times = Times::begin(step.epoch_seconds);
        let found = context.timeline.inner(step.name, || {
            self.run(mounted, |root| {
                let warnings = work(&Filled {
                    root,
                    upper: &tree,
                    packages: &packages,
                })?;
                remove_traces(&Root::open(root)?)?;
                if packages.is_empty() {
                    return Ok((warnings, Vec::new()));
                }
                let contents = cached.contents(context, step.packages)?;
                let secrets = secrets::find(&Root::open(&tree)?, root, Some(&contents))?;
                Ok((warnings, secrets))
            })
        })?;
        // Before the next step can see them.
        times.settle(&tree)?;
        Ok(found)
    }

    /// Puts the layer `key`, which holds `packages` packages, on top; `false` if it cannot be used.
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

    /// Finds the layer `key`; warns once if it exists but was changed.
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

    /// Brings `packages` into the cache, and gives all that are there.
    pub fn obtain(&self, packages: &[ResolvedPackage]) -> Result<Cached, BuildError> {
        self.packages.obtain(packages)
    }

    /// Puts layers that are known to be sound on top, the topmost first, instead of doing a step.
    pub fn reuse(&mut self, layers: &[Layer], packages: usize) -> Result<(), BuildError> {
        self.settle()?;
        for (position, layer) in layers.iter().enumerate().rev() {
            self.put(layer, if position == 0 { packages } else { 0 });
        }
        Ok(())
    }

    /// Lists the layers of this provider in which the step `name` was done upon the topmost layer. Each comes with the
    /// layers below it, down to that one, the topmost first.
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

    /// Says whether each of `layers` is unchanged.
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
        self.context.reused.note(facts.key);
        self.note(facts);
        self.place(Some(facts.key), layer.tree());
        self.uses.push(LayerUse {
            step: facts.step.clone(),
            reused: true,
            packages,
            size_bytes: scan.size_bytes,
        });
    }

    /// Remembers what the user should know about a layer.
    fn note(&mut self, facts: &Facts) {
        self.warnings.extend(facts.warnings.iter().cloned());
        self.secrets.extend(facts.secrets.iter().cloned());
    }

    /// Merges all layers, read-only, once each of them is complete.
    pub fn freeze(mut self) -> Result<Done, BuildError> {
        self.settle()?;
        let layers = self.sealed_layers()?;
        let own = self.own.take().map(|facts| self.seal_upper(facts));
        Below {
            base: self.base,
            layers: self.keys(),
        }
        .write(&self.output.below())?;
        let layers_told = self.told_layers();
        let merged = Merged::new(layers)?;
        let told = self.told_secrets(&merged)?;
        self.warnings.extend(told);
        Ok(Done {
            merged,
            base: self.snapshot,
            stats: self.stats,
            uses: self.uses,
            layers: layers_told,
            warnings: self.warnings,
            own,
            _kept: self.kept,
        })
    }

    /// Lists the layers with their keys, the topmost first. Each was placed when its use was noted.
    fn told_layers(&self) -> Vec<ManifestLayer> {
        let placed = self.stack.iter().zip(self.uses.iter().rev());
        let base = ManifestLayer {
            step: "base".to_owned(),
            key: Some(self.base),
        };
        let told = placed.map(|(placed, used)| ManifestLayer {
            step: used.step.clone(),
            key: placed.key,
        });
        told.chain([base]).collect()
    }

    /// Opens the layers so far, the topmost first.
    fn layers_below(&self) -> Result<Vec<Arc<dyn overlay::layer::Layer>>, BuildError> {
        let mut layers: Vec<Arc<dyn overlay::layer::Layer>> = Vec::new();
        for Placed { tree, .. } in &self.stack {
            layers.push(Arc::new(DirectoryLayer::open(tree)?));
        }
        layers.push(Arc::clone(&self.snapshot) as Arc<dyn overlay::layer::Layer>);
        Ok(layers)
    }

    /// Merges `upper`, which is being filled, with the layers below it, for reading.
    fn read_with(&mut self, upper: &Path) -> Result<Merged, BuildError> {
        // A layer is renamed before or after this, never while its name is used.
        self.finish_sealing()?;
        let mut layers = self.layers_below()?;
        layers.insert(0, Arc::new(DirectoryLayer::open(upper)?));
        Ok(Merged::new(layers)?)
    }

    /// Opens all layers, the topmost first; what is read from a sealed one is verified.
    fn sealed_layers(&self) -> Result<Vec<Arc<dyn overlay::layer::Layer>>, BuildError> {
        let mut layers: Vec<Arc<dyn overlay::layer::Layer>> = Vec::new();
        for Placed { key, tree } in &self.stack {
            let sums = match key {
                Some(_) => layer::sums_of(tree),
                None => self.output.upper_sums(),
            };
            if key.is_none() && self.own.is_some() {
                // This build wrote it just now, and seals it while the image is written.
                layers.push(Arc::new(DirectoryLayer::open(tree)?));
                continue;
            }
            let sums = Sums::read(&sums).map_err(|error| LayerError::Sums {
                directory: tree.clone(),
                error,
            })?;
            layers.push(Arc::new(SealedLayer::open(tree, sums)?));
        }
        layers.push(Arc::clone(&self.snapshot) as Arc<dyn overlay::layer::Layer>);
        Ok(layers)
    }

    /// Mounts all layers, with a new upper and its work directory unless `upper` is `None`.
    fn mount(&mut self, upper: Option<(PathBuf, PathBuf)>, pool: Option<PoolRequest>) -> Result<Mounted, BuildError> {
        // A layer is renamed before or after this, never while its name is used.
        self.finish_sealing()?;
        let upper = upper.map(|(directory, work)| Upper {
            directory,
            work,
            base: self.top().to_string(),
            volatile: true,
        });
        let trees = self.stack.iter().map(|placed| placed.tree.clone()).collect();
        let mounted = mounted::mount(self.context, self.output, upper, trees, pool)?;
        self.start_sealing();
        Ok(mounted)
    }

    fn run<T>(
        &mut self,
        mut mounted: Mounted,
        work: impl FnOnce(&Path) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        // The draft still takes its place, and the mount knows where it lies.
        let full = |error| full::explain(error, &[&self.context.workspace.chrootbuild(), self.output.directory()]);
        let result = work(mounted.root()).map_err(full)?;
        self.stats = self.stats.with(&mounted.stats()?);
        mounted.close()?;
        Ok(result)
    }

    fn start_sealing(&mut self) {
        let Some(Unsealed { draft, facts, lock }) = self.unsealed.take() else {
            return;
        };
        let (cancel, timeline) = (self.context.work.cancel.clone(), self.context.timeline.clone());
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

    /// Waits until every layer is complete and has its final name.
    fn settle(&mut self) -> Result<(), BuildError> {
        self.finish_sealing()?;
        self.start_sealing();
        self.finish_sealing()
    }
}

/// The result of the steps.
pub struct Done {
    /// All layers, merged.
    pub merged: Merged,
    /// The base.
    pub base: Arc<Snapshot>,
    /// What was read from the base.
    pub stats: LayerStats,
    /// The layers, and how each came to be.
    pub uses: Vec<LayerUse>,
    /// The layers with their keys, the topmost first.
    pub layers: Vec<ManifestLayer>,
    /// What the user should know.
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
