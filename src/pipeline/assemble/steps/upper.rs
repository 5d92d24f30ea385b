//! The last step, `settings`: it writes the image's own upper, or takes over that of the build before.

use std::fs;
use std::path::Path;

use super::sealing::Sealing;
use super::{Steps, secrets};
use crate::durable::{self, PathError};
use crate::image::merged::Merged;
use crate::layer::{self, Facts, Manifest, Times};
use crate::package::Sha256;
use crate::pipeline::error::BuildError;
use crate::pipeline::report::LayerUse;
use crate::root::Root;
use crate::workspace::ImageBuild;

/// The name of the step, in reports.
const NAME: &str = "settings";

impl Steps<'_> {
    /// Does the last step, which writes the image's own upper, or reuses the upper of the build before if that has the
    /// same key. Its programs take `epoch_seconds` (since 1970) for the present time. `work` gets the mounted image, and the
    /// same tree for reading without the mount: a directory is read once, when its first file is looked up.
    pub fn upper(
        &mut self,
        key: Sha256,
        epoch_seconds: u64,
        work: impl FnOnce(&Path, &Merged) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let sound = (!self.context.request.from_scratch)
            .then(|| sound_upper(&self.output.previous(), key))
            .flatten();
        let (reused, size_bytes) = match sound {
            Some(manifest) => (true, self.take_over(&manifest)?),
            None => {
                let secrets = self.write_upper(epoch_seconds, work)?;
                let facts = Facts {
                    key,
                    step: NAME.to_owned(),
                    parent: self.top(),
                    ground: self.top(),
                    packages: Vec::new(),
                    warnings: Vec::new(),
                    secrets,
                };
                self.note(&facts);
                self.own = Some(facts);
                (false, layer::glance(&self.output.upper())?.size_bytes)
            }
        };
        self.uses.push(LayerUse {
            step: NAME.to_owned(),
            reused,
            packages: 0,
            size_bytes,
        });
        self.place(None, self.output.upper());
        Ok(())
    }

    /// Moves the upper of the build before, which `manifest` describes, to its place in this build; returns its size in
    /// bytes.
    fn take_over(&mut self, manifest: &Manifest) -> Result<u64, BuildError> {
        let previous = self.output.previous();
        self.settle()?;
        fs::rename(previous.upper(), self.output.upper()).map_err(PathError::on("take over", previous.upper()))?;
        let sums = self.output.upper_sums();
        fs::rename(previous.upper_sums(), &sums).map_err(PathError::on("take over", &sums))?;
        manifest.write(&self.output.upper_manifest())?;
        self.note(&manifest.facts);
        Ok(manifest.scan.size_bytes)
    }

    /// Fills a new upper by `work`; returns the private keys and identities that this has drawn.
    fn write_upper(
        &mut self,
        epoch_seconds: u64,
        work: impl FnOnce(&Path, &Merged) -> Result<(), BuildError>,
    ) -> Result<Vec<layer::Secret>, BuildError> {
        let (upper, times) = (self.output.upper(), Times::begin(epoch_seconds));
        let mounted = self.mount(Some((upper.clone(), self.output.work())), None)?;
        let tree = self.read_with(&upper)?;
        let files = Root::open(&upper)?.sparing(self.context.loaded().template.system.destinations());
        let timeline = &self.context.timeline;
        let secrets = timeline.inner(NAME, || {
            self.run(mounted, |root| {
                work(root, &tree)?;
                secrets::find(&files, root, None)
            })
        })?;
        times.settle(&upper)?;
        durable::remove_tree(&self.output.work())?;
        Ok(secrets)
    }

    /// Makes the image's upper durable while the image is written.
    pub(super) fn seal_upper(&self, facts: Facts) -> Sealing<()> {
        let (cancel, timeline) = (self.context.work.cancel.clone(), self.context.timeline.clone());
        let output = self.output.clone();
        Sealing::start(move || {
            let seal = || {
                let (manifest, sums) = layer::seal(&output.upper(), facts, &cancel)?;
                sums.write(&output.upper_sums())?;
                Ok(manifest.write(&output.upper_manifest())?)
            };
            timeline.inner("sync and digest settings", seal)
        })
    }
}

/// Gives the manifest of an earlier build's upper, if that has the key `key` and is unchanged.
fn sound_upper(previous: &ImageBuild, key: Sha256) -> Option<Manifest> {
    let manifest = Manifest::read(&previous.upper_manifest()).ok()?;
    if manifest.facts.key != key
        || !previous.upper_sums().exists()
        || layer::glance(&previous.upper()).ok()? != manifest.scan
    {
        return None;
    }
    durable::remove_tree(&previous.upper_manifest()).ok()?;
    Some(manifest)
}
