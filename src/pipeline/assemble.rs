//! What the steps of a build do, and what their keys are made of.

pub mod base;
pub mod bill;
mod canonical;
pub mod dates;
mod fstab;
mod loader;
mod mounted;
pub mod steps;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::configure::{self, ConfigureRequest, Part};
use crate::dpkg;
use crate::image::plan::DiskPlan;
use crate::image::populate;
use crate::install::{InitrdRequest, InstallRequest, Marks, encrypted, inputs, verity};
use crate::layer::{KeyBuilder, Layer};
use crate::model::{DebconfAnswer, Encryption, FileSource, FileSystem, When};
use crate::mount::session::THIS_PROGRAM;
use crate::package::{Checksum, ForeignArch, ResolvedPackage, Sha256};
use crate::pool::POOL_DIRECTORY;
use crate::root::Root;
use crate::secrets;
use crate::workspace::ImageBuild;

use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::packages::Cached;
use crate::pipeline::select::selection::Selection;
use dates::Dates;
use steps::{Filled, Step, Steps};

/// The version of the installation; it counts up when the same packages would become another tree.
const INSTALL_VERSION: u32 = 3;
/// The same for the initrd, and for each part of configuring.
const INITRD_VERSION: u32 = 2;
const ACCOUNTS_VERSION: u32 = 2;
const SETTINGS_VERSION: u32 = 3;

const FSTAB: &str = "/etc/fstab";
/// The step that installs what only some images of the provider have.
const PACKAGES: &str = "packages";
/// The same with answers to the packages' questions: no image without these answers takes its layers.
const ANSWERED: &str = "packages with answers";

/// The same in an image of several architectures: no other image takes its layers.
const FOREIGN: &str = "packages of several architectures";

/// What the steps of one build work with.
pub struct Assembly<'a> {
    /// What the rooms of the build share.
    pub context: &'a Context<'a>,
    /// The directory of the image.
    pub output: &'a ImageBuild,
    /// The packages, and where they come from.
    pub selection: &'a Selection,
    /// The dates that stand for the clock.
    pub dates: Dates,
    /// The layout of the disk.
    pub plan: &'a DiskPlan,
}

/// An installation of packages, which becomes a step.
struct Transaction<'a> {
    /// Name of the step.
    name: &'static str,
    /// The layer above which the result holds `installed`, if that is not the layer below the step.
    ground: Option<Sha256>,
    /// What is installed.
    packages: &'a [ResolvedPackage],
    /// The architectures besides the image's own that dpkg learns before.
    foreign: &'a [ForeignArch],
    /// What is there afterwards.
    installed: &'a [ResolvedPackage],
}

impl Assembly<'_> {
    /// Installs what the base does not bring: what images of the provider have in common, their initrd, the rest.
    pub fn install(&self, steps: &mut Steps<'_>) -> Result<(), BuildError> {
        let (system, others) = self.selection.in_steps();
        let foreign = &*self.context.loaded().template.system.foreign_architectures;
        let whole = |name, packages| Transaction {
            name,
            ground: None,
            packages,
            foreign,
            installed: packages,
        };
        let is_foreign = |package: &ResolvedPackage| foreign.iter().any(|arch| package.architecture == arch.deb());
        let common = Transaction {
            // What all images of the provider have is shared with those of one architecture.
            foreign: if system.iter().any(is_foreign) { foreign } else { &[] },
            ..whole("system", &system)
        };
        self.transaction(steps, &common)?;
        if self.has_initrds() {
            self.initrd(steps)?;
        }
        self.note_unasked(&system, &others);
        if others.is_empty() {
            return Ok(());
        }
        if !self.answers(&others).is_empty() {
            return self.transaction(steps, &whole(ANSWERED, &others));
        }
        if !foreign.is_empty() {
            return self.transaction(steps, &whole(FOREIGN, &others));
        }
        let exact = self.package_key(steps.key(PACKAGES, INSTALL_VERSION), &whole(PACKAGES, &others));
        if steps.find(exact, others.len())? {
            return Ok(());
        }
        let ground = steps.top();
        let Some(chain) = self.best_match(steps, &others)? else {
            return self.transaction(steps, &whole(PACKAGES, &others));
        };
        let (done, missing) = split(&chain, &others);
        steps.reuse(&chain, done)?;
        let rest = Transaction {
            ground: Some(ground),
            packages: &missing,
            ..whole(PACKAGES, &others)
        };
        self.transaction(steps, &rest)
    }

    /// Installs the packages of a transaction from the pool.
    fn transaction(&self, steps: &mut Steps<'_>, transaction: &Transaction<'_>) -> Result<(), BuildError> {
        let Transaction {
            name,
            ground,
            packages,
            foreign,
            installed,
        } = *transaction;
        if packages.is_empty() {
            return Ok(());
        }
        let step = Step {
            name,
            key: self.package_key(steps.key(name, INSTALL_VERSION), transaction),
            ground,
            packages,
            installed: installed.iter().map(|package| package.checksum).collect(),
            epoch_seconds: self.dates.scripts,
        };
        steps.step(&step, |&Filled { root, upper, packages }| {
            let request = InstallRequest {
                root,
                packages,
                pool: &Path::new("/").join(POOL_DIRECTORY),
                pool_source: None,
                temporary: self.output.directory(),
                arch: self.context.loaded().template.target.arch,
                foreign,
                file_systems: &checked(self.plan),
                answers: &self.answers(packages),
                epoch: self.dates.scripts,
                helper: Path::new(THIS_PROGRAM),
            };
            let Context { system, work, .. } = *self.context;
            let mut warnings = system.install(&request, work)?.warnings;
            if [PACKAGES, ANSWERED, FOREIGN].contains(&name) && self.has_initrds() {
                // The initrds of kernels that are not part of the system.
                warnings.extend(self.make_initrds(root)?);
                self.renew_initrds_of_packages(&Root::open(root)?, &Root::open(upper)?)?;
            }
            let allowed = &self.context.loaded().template.system.allow_secrets;
            secrets::reset(&Root::open(root)?.sparing(allowed))?;
            Ok(warnings)
        })
    }

    /// Lists the answers to questions of `packages`.
    fn answers(&self, packages: &[ResolvedPackage]) -> Vec<&DebconfAnswer> {
        let answers = self.context.loaded().template.system.debconf.iter();
        let is_asked = |answer: &&DebconfAnswer| packages.iter().any(|package| package.name == answer.package);
        answers.filter(is_asked).collect()
    }

    /// Notes the answers to questions of packages that are not installed, or belong to the base, which has asked before.
    fn note_unasked(&self, system: &[ResolvedPackage], others: &[ResolvedPackage]) {
        let asked = [self.answers(system), self.answers(others)].concat();
        for answer in &self.context.loaded().template.system.debconf {
            if !asked.contains(&answer) {
                let DebconfAnswer { package, question, .. } = answer;
                self.context.work.progress.note(&format!(
                    "systemConfig.debconf: the answer to {question} has no effect: the build installs no {package} above \
                     the base"
                ));
            }
        }
    }

    fn package_key(&self, key: KeyBuilder, transaction: &Transaction<'_>) -> Sha256 {
        let Transaction { packages, foreign, .. } = *transaction;
        let request = self.context.request;
        let mut key = key
            .with("arch", request.loaded().template.target.arch.deb())
            .with("epoch", self.dates.scripts.to_le_bytes());
        for package in packages {
            key.add("package", package.checksum.as_bytes());
        }
        for arch in foreign {
            key.add("foreign architecture", arch.deb());
        }
        // A key is no secret: the image holds the answers, and only root reads what has the key for a name.
        for answer in self.answers(packages) {
            key.add("answer", answer.line());
        }
        let allowed = &request.loaded().template.system.allow_secrets;
        for path in allowed.iter().filter(|path| secrets::is_known(path)) {
            key.add("allowed secret", path);
        }
        key.finish()
    }

    /// Makes the initrds of the kernels.
    fn initrd(&self, steps: &mut Steps<'_>) -> Result<(), BuildError> {
        let mut key = steps.key("initrd", INITRD_VERSION);
        for module in self.modules() {
            key.add("module", module);
        }
        for file_system in &checked(self.plan) {
            key.add("file system", file_system);
        }
        if let Some(fixed) = &self.plan.fixed {
            key.add(
                if fixed.hash_tree.is_some() {
                    "verified root"
                } else {
                    "fixed root"
                },
                "",
            );
        }
        if self.encryption().is_some() {
            key.add("encrypted", "");
        }
        let step = Step {
            name: "initrd",
            key: key.with("epoch", self.dates.scripts.to_le_bytes()).finish(),
            ground: None,
            packages: &[],
            installed: Vec::new(),
            epoch_seconds: self.dates.scripts,
        };
        steps.step(&step, |filled| self.make_initrds(filled.root))
    }

    /// Says whether the image boots from initrds in its tree. One that is an initrd itself needs none.
    fn has_initrds(&self) -> bool {
        self.context.loaded().template.target.image_type.has_disk()
    }

    fn make_initrds(&self, root: &Path) -> Result<Vec<String>, BuildError> {
        // Packages that come later may bring what the initrd of such a root needs: it is made then.
        if let Some(fixed) = &self.plan.fixed
            && !verity::prepare(&Root::open(root)?, fixed.hash_tree.is_some())?
        {
            return Ok(Vec::new());
        }
        if self.encryption().is_some() && !encrypted::prepare(&Root::open(root)?)? {
            return Ok(Vec::new());
        }
        let request = InitrdRequest {
            root,
            modules: self.modules(),
            file_systems: &checked(self.plan),
            epoch: self.dates.scripts,
            helper: Path::new(THIS_PROGRAM),
        };
        let Context { system, work, .. } = *self.context;
        Ok(system.make_initrds(&request, work)?)
    }

    /// Gives the encryption of the disk, if the template asks for it.
    fn encryption(&self) -> Option<&Encryption> {
        let template = &self.context.loaded().template;
        template
            .system
            .encryption
            .as_ref()
            .filter(|_| template.target.image_type.has_disk())
    }

    fn modules(&self) -> &[String] {
        &self.context.loaded().template.system.kernel.extra_modules
    }

    /// Finds the layers that hold most of `wanted` and nothing else, if the missing packages can be installed later
    /// with the same result.
    fn best_match(&self, steps: &mut Steps<'_>, wanted: &[ResolvedPackage]) -> Result<Option<Vec<Layer>>, BuildError> {
        let wanted_digests: BTreeSet<_> = wanted.iter().map(|package| package.checksum).collect();
        let mut chains = steps.done_above(PACKAGES)?;
        chains.retain(|chain| installed(chain).all(|digest| wanted_digests.contains(&digest)));
        chains.sort_by_key(|chain| std::cmp::Reverse(installed(chain).count()));
        for chain in chains {
            let (_, missing) = split(&chain, wanted);
            if self.are_plain(&missing, &steps.obtain(&missing)?)? && steps.are_sound(&chain)? {
                return Ok(Some(chain));
            }
        }
        Ok(None)
    }

    /// Says whether each of `packages` can be installed later than others with the same result.
    fn are_plain(&self, packages: &[ResolvedPackage], cached: &Cached) -> Result<bool, BuildError> {
        for package in packages {
            self.context.work.cancel.check()?;
            if !self.context.system.is_plain(package, cached.path(package)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Applies the template's settings.
    pub fn configure(&self, steps: &mut Steps<'_>) -> Result<(), BuildError> {
        let fstab = fstab::entries(self.plan, self.encryption());
        let system = self.context.system;
        let (env, policy) = (system.environment(self.dates.image), system.policy());
        let selecting = &self.context.request.selecting;
        let request = ConfigureRequest {
            env: &env,
            policy: policy.as_ref(),
            initrd: None,
            root: Path::new("/"),
            template: &self.context.loaded().template,
            fstab: &fstab,
            sources: &*self.selection.sources,
            epoch: self.dates.image,
            seed: self.selection.lockfile.seed(),
            network: (!selecting.offline).then_some(&selecting.network.proxies),
            package_cache: self.context.workspace.package_cache(),
            helper: Path::new(THIS_PROGRAM),
        };
        let work = self.context.work;
        let mut key = steps.key("accounts", ACCOUNTS_VERSION);
        request.add_inputs(Part::Accounts, &mut key)?;
        let step = Step {
            name: "accounts",
            key: key.finish(),
            ground: None,
            packages: &[],
            installed: Vec::new(),
            epoch_seconds: self.dates.image,
        };
        steps.step(&step, |&Filled { root, .. }| {
            configure::configure(&ConfigureRequest { root, ..request }, Part::Accounts, work)?;
            Ok(Vec::new())
        })?;
        let key = self.settings_key(&request, steps)?;
        steps.upper(key, self.dates.image, |root, tree| {
            self.fetch_files()?;
            let opened = Root::open(root)?;
            self.prepare(&opened)?;
            let initrd = system.initrd_configuration(&opened, &checked(self.plan))?;
            let request = ConfigureRequest {
                root,
                initrd: initrd.as_ref(),
                ..request
            };
            self.write_loader_defaults(&opened, &env)?;
            configure::configure(&request, Part::Settings, work)?;
            self.renew_initrds_of_template(&opened, &configure::fstab_text(&fstab)?)?;
            self.install_loader(&opened, &env)?;
            if self.has_commands(When::Last) {
                configure::configure(&request, Part::Last, work)?;
            }
            self.context
                .timeline
                .inner("bill of materials", || self.write_bill(&opened, tree))
        })
    }

    /// Makes the key of what the upper holds: the settings, and what stands for them in the image.
    fn settings_key(&self, request: &ConfigureRequest<'_>, steps: &Steps<'_>) -> Result<Sha256, BuildError> {
        let mut key = steps.key("settings", SETTINGS_VERSION);
        request.add_inputs(Part::Settings, &mut key)?;
        for name in self.selection.requested_names() {
            key.add("manual", name);
        }
        for arch in &self.context.loaded().template.system.foreign_architectures {
            key.add("foreign architecture", arch.deb());
        }
        self.add_disk(&mut key);
        self.add_bill(&mut key);
        Ok(key.finish())
    }

    /// Makes the mount points and marks the packages of the image, in which everything is installed; checks that a root that
    /// is never written can have its initrd.
    fn prepare(&self, root: &Root) -> Result<(), BuildError> {
        populate::ensure_mount_points(self.plan, root)?;
        dpkg::add_architectures(root, self.context.loader().options.targets())?;
        if let Some(fixed) = &self.plan.fixed {
            verity::check(root, fixed.hash_tree.is_some())?;
        }
        if self.encryption().is_some() {
            encrypted::check(root)?;
        }
        self.mark(root)
    }

    /// Brings the files that the template names by URL into the package cache.
    fn fetch_files(&self) -> Result<(), BuildError> {
        let context = self.context;
        for file in &context.loaded().template.system.additional_files {
            if let FileSource::Fetched(url, sha256) = &file.source {
                cache::obtain_file(context.workspace.package_cache(), url, *sha256, &context.fetcher)?;
            }
        }
        Ok(())
    }

    /// Returns whether a command of the template runs at this time.
    fn has_commands(&self, when: When) -> bool {
        let commands = &self.context.loaded().template.system.commands;
        commands.iter().any(|command| command.when == Some(when))
    }

    /// Makes the initrds again if packages have brought something that goes into them, and no trigger of theirs has made
    /// the initrds again already. `upper` holds what the packages have written.
    fn renew_initrds_of_packages(&self, root: &Root, upper: &Root) -> Result<(), BuildError> {
        let Some(changed) = inputs::brought(upper)? else {
            return Ok(());
        };
        let mut stale = Vec::new();
        for initrd in self.context.system.made_initrds(root)? {
            if !upper.exists(&initrd)? {
                stale.push(initrd);
            }
        }
        self.renew_initrds(root, &stale, &format!("{} has changed", changed.display()))
    }

    /// Makes the initrds again if a file or command of the template has changed something that goes into them, or a command
    /// asks for it. `fstab` is what oic itself has written to `/etc/fstab`.
    fn renew_initrds_of_template(&self, root: &Root, fstab: &str) -> Result<(), BuildError> {
        if !self.has_initrds() {
            return Ok(());
        }
        let why = match inputs::changed(&Root::open(&self.output.upper())?)? {
            Some(changed) => format!("{} has changed", changed.display()),
            None if root.read(FSTAB)?.is_some_and(|text| text != fstab.as_bytes()) => format!("{FSTAB} has changed"),
            None if self.has_commands(When::BeforeInitrd) => "a command asks for it".to_owned(),
            None => return Ok(()),
        };
        let template = &self.context.loaded().template;
        let spared = root.sparing(template.system.destinations());
        let mut stale = self.context.system.made_initrds(&spared)?;
        stale.retain(|initrd| !spared.is_spared(initrd));
        self.renew_initrds(root, &stale, &why)
    }

    /// Makes the initrds `stale` again, for the reason `why`.
    fn renew_initrds(&self, root: &Root, stale: &[PathBuf], why: &str) -> Result<(), BuildError> {
        if stale.is_empty() {
            return Ok(());
        }
        let progress = self.context.work.progress;
        progress.note(&format!("the initrd is made again: {why}"));
        stale.iter().try_for_each(|initrd| root.remove(initrd))?;
        self.make_initrds(root.path()).map(drop)
    }

    /// Tells the image's own package manager which packages the template asked for.
    fn mark(&self, root: &Root) -> Result<(), BuildError> {
        let selection = self.selection;
        let before = selection
            .base
            .packages
            .iter()
            .map(|package| package.name.clone())
            .collect();
        let marks = Marks {
            before: &before,
            packages: &selection.beyond_base(),
            requested: &selection.requested_names(),
            arch: self.context.loaded().template.target.arch,
        };
        Ok(self.context.system.mark(root, &marks)?)
    }
}

/// Lists the types of the file systems that the initrd mounts, and checks before.
fn checked(plan: &DiskPlan) -> Vec<&'static str> {
    let partitions = plan.partitions.iter().map(|planned| &planned.partition);
    let mounted = partitions.filter(|partition| matches!(partition.mount_point.as_deref(), Some("/" | "/usr")));
    let types = mounted.filter_map(|partition| partition.file_system.map(FileSystem::fstab_type));
    types.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Lists the digests of all packages that the topmost layer of `chain` holds above its ground.
fn installed(chain: &[Layer]) -> impl Iterator<Item = Checksum> + '_ {
    chain
        .first()
        .into_iter()
        .flat_map(|layer| layer.manifest.facts.packages.iter().copied())
}

/// Counts the packages of `wanted` that the layers hold, and gives those that they do not hold.
fn split(chain: &[Layer], wanted: &[ResolvedPackage]) -> (usize, Vec<ResolvedPackage>) {
    let there: BTreeSet<_> = installed(chain).collect();
    let missing: Vec<_> = wanted
        .iter()
        .filter(|package| !there.contains(&package.checksum))
        .cloned()
        .collect();
    (wanted.len() - missing.len(), missing)
}
