//! What the steps of a build do, and what their keys are made of.

use std::collections::BTreeSet;
use std::path::Path;

use crate::configure::{self, ConfigureRequest, Part};
use crate::image::plan::DiskPlan;
use crate::image::populate;
use crate::install::{self, InitrdRequest, InstallRequest};
use crate::layer::{KeyBuilder, Layer};
use crate::mount::session::THIS_PROGRAM;
use crate::package::{ResolvedPackage, Sha256};
use crate::pool::POOL_DIRECTORY;
use crate::provider::PackageSystem;
use crate::root::Root;
use crate::workspace::ImageBuild;

use super::dates::Dates;
use super::packages::Selection;
use super::steps::{Step, Steps};
use super::{BuildError, Context, compose, plain};

/// Counts up when the same packages would become another tree.
const INSTALL_VERSION: u32 = 1;
/// The same for the initrd, and for each part of configuring.
const INITRD_VERSION: u32 = 1;
const ACCOUNTS_VERSION: u32 = 1;
const SETTINGS_VERSION: u32 = 1;

/// What the steps of one build are about.
pub(super) struct Assembly<'a> {
    pub context: &'a Context<'a>,
    pub output: &'a ImageBuild,
    pub selection: &'a Selection,
    pub dates: Dates,
    pub plan: &'a DiskPlan,
}

impl Assembly<'_> {
    /// Installs what the base does not bring: what images of the provider have in common, their initrd, the rest.
    pub fn install(&self, steps: &mut Steps<'_>) -> Result<(), BuildError> {
        let (system, others) = self.selection.in_steps();
        self.transaction(steps, "system", None, &system, &system)?;
        self.initrd(steps)?;
        if others.is_empty() {
            return Ok(());
        }
        let exact = self.package_key(steps.key("packages", INSTALL_VERSION), &others);
        if steps.find(exact, others.len())? {
            return Ok(());
        }
        let ground = steps.top();
        let Some(chain) = self.best_match(steps, &others)? else {
            return self.transaction(steps, "packages", None, &others, &others);
        };
        let (done, missing) = split(&chain, &others);
        steps.reuse(&chain, done)?;
        self.transaction(steps, "packages", Some(ground), &missing, &others)
    }

    /// Installs `packages`, after which `installed` are there above `ground`.
    fn transaction(
        &self,
        steps: &mut Steps<'_>,
        name: &'static str,
        ground: Option<Sha256>,
        packages: &[ResolvedPackage],
        installed: &[ResolvedPackage],
    ) -> Result<(), BuildError> {
        if packages.is_empty() {
            return Ok(());
        }
        let step = Step {
            name,
            key: self.package_key(steps.key(name, INSTALL_VERSION), packages),
            ground,
            packages,
            installed: installed.iter().map(|package| package.sha256).collect(),
        };
        steps.step(&step, |root, packages| {
            let request = InstallRequest {
                system: self.system(),
                root,
                packages,
                pool: &Path::new("/").join(POOL_DIRECTORY),
                pool_source: None,
                temporary: self.output.directory(),
                arch: self.context.request.loaded.template.target.arch,
                epoch: self.dates.scripts,
                helper: Path::new(THIS_PROGRAM),
            };
            let mut warnings = install::install(&request, self.context.progress, self.context.cancel)?.warnings;
            if name == "packages" {
                // Of kernels that are not part of the system.
                warnings.extend(self.make_initrds(root)?);
            }
            Ok(warnings)
        })
    }

    fn package_key(&self, key: KeyBuilder, packages: &[ResolvedPackage]) -> Sha256 {
        let request = self.context.request;
        let mut key = key
            .with("arch", request.loaded.template.target.arch.deb())
            .with("epoch", self.dates.scripts.to_le_bytes());
        for package in packages {
            key.add("package", package.sha256.0);
        }
        key.finish()
    }

    /// Makes the initrds of the kernels.
    fn initrd(&self, steps: &mut Steps<'_>) -> Result<(), BuildError> {
        let mut key = steps.key("initrd", INITRD_VERSION);
        for module in self.modules() {
            key.add("module", module);
        }
        let step = Step {
            name: "initrd",
            key: key.with("epoch", self.dates.scripts.to_le_bytes()).finish(),
            ground: None,
            packages: &[],
            installed: Vec::new(),
        };
        steps.step(&step, |root, _| self.make_initrds(root))
    }

    fn make_initrds(&self, root: &Path) -> Result<Vec<String>, BuildError> {
        let request = InitrdRequest {
            system: self.system(),
            root,
            modules: self.modules(),
            epoch: self.dates.scripts,
            helper: Path::new(THIS_PROGRAM),
        };
        Ok(install::make_initrds(
            &request,
            self.context.progress,
            self.context.cancel,
        )?)
    }

    fn system(&self) -> PackageSystem {
        self.context.request.loaded.provider.package_system
    }

    fn modules(&self) -> &[String] {
        &self.context.request.loaded.template.system.kernel.extra_modules
    }

    /// The layers in which most of `wanted` is installed already, and nothing else, if what is missing can come later with
    /// the same result.
    fn best_match(&self, steps: &mut Steps<'_>, wanted: &[ResolvedPackage]) -> Result<Option<Vec<Layer>>, BuildError> {
        if self.system() == PackageSystem::Rpm {
            // Any package may bring a file trigger, and scriptlets may ask rpm's database.
            return Ok(None);
        }
        let wanted_digests: BTreeSet<_> = wanted.iter().map(|package| package.sha256).collect();
        let mut chains = steps.done_above("packages")?;
        chains.retain(|chain| installed(chain).all(|digest| wanted_digests.contains(&digest)));
        chains.sort_by_key(|chain| std::cmp::Reverse(installed(chain).count()));
        for chain in chains {
            let (_, missing) = split(&chain, wanted);
            if plain::are_plain(self.context, &missing, steps.cached())? && steps.are_sound(&chain)? {
                return Ok(Some(chain));
            }
        }
        Ok(None)
    }

    /// Applies the template's settings.
    pub fn configure(&self, steps: &mut Steps<'_>) -> Result<(), BuildError> {
        let fstab = compose::fstab(self.plan);
        let request = ConfigureRequest {
            system: self.system(),
            root: Path::new("/"),
            template: &self.context.request.loaded.template,
            fstab: &fstab,
            sources: &self.selection.apt_sources,
            dnf_repositories: &self.selection.dnf_repositories,
            epoch: self.dates.image,
            seed: self.selection.lockfile.seed(),
            network: false,
            helper: Path::new(THIS_PROGRAM),
        };
        let (progress, cancel) = (self.context.progress, self.context.cancel);
        let mut key = steps.key("accounts", ACCOUNTS_VERSION);
        request.add_inputs(Part::Accounts, &mut key)?;
        let step = Step {
            name: "accounts",
            key: key.finish(),
            ground: None,
            packages: &[],
            installed: Vec::new(),
        };
        steps.step(&step, |root, _| {
            configure::configure(&ConfigureRequest { root, ..request }, Part::Accounts, progress, cancel)?;
            Ok(Vec::new())
        })?;
        let mut key = steps.key("settings", SETTINGS_VERSION);
        request.add_inputs(Part::Settings, &mut key)?;
        self.selection
            .requested_names()
            .iter()
            .for_each(|name| key.add("manual", name));
        for partition in &self.plan.partitions {
            key.add("mount point", format!("{:?}", partition.partition.mount_point));
        }
        steps.upper(key.finish(), |root| {
            let opened = Root::open(root)?;
            populate::ensure_mount_points(self.plan, &opened)?;
            self.mark(&opened)?;
            configure::configure(&ConfigureRequest { root, ..request }, Part::Settings, progress, cancel)?;
            Ok(())
        })
    }

    /// Tells the image's own apt which packages nobody asked for.
    fn mark(&self, root: &Root) -> Result<(), BuildError> {
        if self.system() == PackageSystem::Rpm {
            return Ok(());
        }
        let selection = self.selection;
        let before = selection
            .base
            .packages
            .iter()
            .map(|package| package.name.clone())
            .collect();
        let arch = self.context.request.loaded.template.target.arch;
        let packages = selection.beyond_base();
        install::mark_automatic(root, &before, &packages, &selection.requested_names(), arch)?;
        Ok(())
    }
}

/// Digests of all packages that the topmost of `chain` has above its ground.
fn installed(chain: &[Layer]) -> impl Iterator<Item = Sha256> + '_ {
    chain
        .first()
        .into_iter()
        .flat_map(|layer| layer.manifest.facts.packages.iter().copied())
}

/// How many of `wanted` the layers have, and those that they have not.
fn split(chain: &[Layer], wanted: &[ResolvedPackage]) -> (usize, Vec<ResolvedPackage>) {
    let there: BTreeSet<_> = installed(chain).collect();
    let missing: Vec<_> = wanted
        .iter()
        .filter(|package| !there.contains(&package.sha256))
        .cloned()
        .collect();
    (wanted.len() - missing.len(), missing)
}
