//! Turns an installed system into the template's image: identity, mounts, users,
//! files, network, the user's commands, and at the end the removal of everything
//! that belongs to the build or to one machine.
//!
//! Invariant: nothing depends on the clock, on the build host or on chance; two
//! runs of the same request write the same bytes. Secrets reach the target's
//! tools through their standard input only.

mod error;
mod files;
mod finish;
mod fstab;
mod identity;
mod inputs;
mod network;
mod password;
mod repositories;
mod sources;
mod users;

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

pub use error::ConfigureError;
pub use files::copy_file;
pub use fstab::FstabEntry;
pub use repositories::DnfRepository;
pub use sources::AptSource;

use crate::cancel::Cancel;
use crate::install;
use crate::package::Sha256;
use crate::progress::{Progress, Unit};
use crate::provider::PackageSystem;
use crate::root::Root;
use crate::sandbox::{Command, Sandbox, SandboxError, SandboxSpec};
use crate::template::model::Template;

/// What [`configure`] needs.
#[derive(Debug, Clone, Copy)]
pub struct ConfigureRequest<'a> {
    /// The image's mounted root directory, with all packages installed.
    pub root: &'a Path,
    /// How its packages are packed.
    pub system: PackageSystem,
    /// What the image is to be.
    pub template: &'a Template,
    /// The file systems that the image mounts, in the order of fstab.
    pub fstab: &'a [FstabEntry],
    /// Where the image's own apt gets packages from; none writes no file.
    pub sources: &'a [AptSource],
    /// The template's repositories for the image's own dnf.
    pub dnf_repositories: &'a [DnfRepository],
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub epoch: u64,
    /// What salts and identifiers are derived from.
    pub seed: Sha256,
    /// Whether the template's commands reach the host's network.
    pub network: bool,
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
}

/// A part of configuring: what of it need not be done again as long as its own inputs stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Users, groups and passwords: slow, for each is made by the image's own tools.
    Accounts,
    /// Everything else, the template's commands among it.
    Settings,
}

impl Part {
    /// All of them, in order.
    pub const ALL: [Self; 2] = [Self::Accounts, Self::Settings];

    // Files come after users, so that a home directory gets its skeleton first; login
    // programs may be such files. Commands see everything else done.
    fn steps(self) -> &'static [Step] {
        match self {
            Self::Accounts => &[users::create],
            Self::Settings => &[
                identity::set_hostname,
                fstab::write,
                sources::write,
                repositories::write,
                files::copy_all,
                users::set_startup_scripts,
                network::enable,
                run_commands,
                finish::finish,
            ],
        }
    }
}

type Step = fn(&Context<'_>) -> Result<(), ConfigureError>;

/// What was configured.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigureReport {
    /// Users that were made or changed.
    pub users: u64,
    /// Files that were copied.
    pub files: u64,
    /// Commands that were run.
    pub commands: u64,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// What every step works with.
struct Context<'a> {
    root: Root,
    sandbox: Sandbox,
    request: &'a ConfigureRequest<'a>,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

/// Applies `part` of the settings to the image in `request.root`; the parts come in the order of [`Part::ALL`].
///
/// # Errors
/// [`ConfigureError`], which names the user, file or command at fault.
pub fn configure(
    request: &ConfigureRequest<'_>,
    part: Part,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<ConfigureReport, ConfigureError> {
    let steps = part.steps();
    let started = Instant::now();
    let context = Context {
        root: Root::open(request.root)?,
        sandbox: sandbox(request),
        request,
        progress,
        cancel,
    };
    let task = progress.start("Configure", Unit::Items, Some(steps.len() as u64));
    let result = steps.iter().try_for_each(|step| {
        cancel.check()?;
        step(&context)?;
        progress.advance(task, 1);
        Ok(())
    });
    progress.finish(task);
    let system = &request.template.system;
    result.map(|()| match part {
        Part::Accounts => ConfigureReport {
            users: system.users.len() as u64,
            elapsed: started.elapsed(),
            ..ConfigureReport::default()
        },
        Part::Settings => ConfigureReport {
            files: system.additional_files.len() as u64,
            commands: system.commands.len() as u64,
            elapsed: started.elapsed(),
            ..ConfigureReport::default()
        },
    })
}

/// The sandbox for the target's own administration tools.
fn sandbox(request: &ConfigureRequest<'_>) -> Sandbox {
    let mut spec = SandboxSpec::new(request.root);
    spec.helper = request.helper.to_owned();
    spec.env = install::environment(request.system, request.epoch);
    Sandbox::new(spec)
}

impl Context<'_> {
    /// Runs one of the target's tools and drops what it says, unless it fails.
    fn tool<A: Into<OsString>>(&self, argv: impl IntoIterator<Item = A>) -> Result<(), SandboxError> {
        self.tool_with_input(argv, "")
    }

    fn tool_with_input<A: Into<OsString>>(
        &self,
        argv: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<(), SandboxError> {
        let command = Command::new(argv).with_stdin(input);
        let mut log = |line: &str| self.progress.detail(line);
        self.sandbox.run(&command, &mut log, self.cancel).map(drop)
    }
}

/// `configurations[].cmd`: each is one argument of the image's own shell, so the host's
/// shell never sees it.
fn run_commands(context: &Context<'_>) -> Result<(), ConfigureError> {
    let mut spec = context.sandbox.spec().clone();
    spec.network = context.request.network;
    spec.files.extend(install::policy(context.request.system));
    if let Some(hostname) = &context.request.template.system.hostname {
        spec.hostname.clone_from(hostname);
    }
    let sandbox = Sandbox::new(spec);
    for (index, text) in context.request.template.system.commands.iter().enumerate() {
        let command = Command::new(["/bin/bash", "-c", text.as_str()]);
        let mut show = |line: &str| context.progress.note(line);
        sandbox
            .run(&command, &mut show, context.cancel)
            .map_err(|error| match error {
                SandboxError::Cancelled(cancelled) => ConfigureError::Cancelled(cancelled),
                source => ConfigureError::Command {
                    number: index + 1,
                    source: Box::new(source),
                },
            })?;
    }
    Ok(())
}
