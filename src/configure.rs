//! Turns an installed system into the template's image: identity, mounts, users,
//! files, network, the user's commands, and at the end the removal of everything
//! that belongs to the build or to one machine.
//!
//! Invariant: nothing depends on the clock, on the build host or on chance; two
//! runs of the same request write the same bytes. Secrets reach the target's
//! tools through their standard input only.

mod commands;
mod error;
mod files;
mod finish;
mod first_boot;
mod fstab;
#[cfg(fuzzing)]
pub mod fuzzing;
mod groups;
mod growth;
mod home;
mod identity;
mod inputs;
mod interfaces;
mod keys;
pub mod kind;
mod machine;
mod network;
mod ownership;
mod password;
mod presets;
mod repositories;
mod sources;
mod users;

use std::ffi::OsString;
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

pub use error::ConfigureError;
pub use files::copy_file;
pub use fstab::{FstabEntry, text as fstab_text};
pub use password::hash as hash_password;
pub use repositories::DnfRepository;
pub use sources::AptSource;

use crate::durable::PathError;
use crate::fetch::Proxies;
use crate::model::Template;
use crate::package::Sha256;
use crate::progress::Unit;
use crate::root::Root;
use crate::sandbox::{Command, Sandbox, SandboxError, SandboxFile, SandboxSpec};
use crate::work::Work;

/// What [`configure`] needs.
#[derive(Debug, Clone, Copy)]
pub struct ConfigureRequest<'a> {
    /// The image's mounted root directory, with all packages installed.
    pub root: &'a Path,
    /// The environment of its programs.
    pub env: &'a [(OsString, OsString)],
    /// The file that keeps the template's commands from starting services, where a file is needed for that.
    pub policy: Option<&'a SandboxFile>,
    /// The file that makes initrds of the template's commands fit for any machine, where a file is needed for that.
    pub initrd: Option<&'a SandboxFile>,
    /// The settings of the image.
    pub template: &'a Template,
    /// The file systems that the image mounts, in the order of fstab.
    pub fstab: &'a [FstabEntry],
    /// Where the image's own package manager gets packages from.
    pub sources: &'a dyn ImageSources,
    /// `SOURCE_DATE_EPOCH` in seconds.
    pub epoch: u64,
    /// The digest that salts and identifiers are derived from.
    pub seed: Sha256,
    /// The proxies for commands that reach the network; `None` if the build is offline.
    pub network: Option<&'a Proxies>,
    /// The package cache, with the files that were downloaded for the template.
    pub package_cache: &'a Path,
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
}

/// Where an image's own package manager gets packages from. The debug form is complete, because keys of layers use it.
pub trait ImageSources: Debug + Send + Sync {
    /// Writes the files with the sources to the image `root`, whose operating system is `os`.
    ///
    /// # Errors
    /// [`ConfigureError`] if a value does not fit into its file, or a file cannot be written.
    fn write(&self, root: &Root, os: &str) -> Result<(), ConfigureError>;
}

/// A part of configuring, which need not be repeated as long as its own inputs stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Users, groups and passwords: slow, for the image's own tools make each of them.
    Accounts,
    /// Everything else, the template's commands among it.
    Settings,
    /// The commands that come after the initrd. Their inputs are among those of the settings.
    Last,
}

impl Part {
    /// All parts, in order.
    pub const ALL: [Self; 3] = [Self::Accounts, Self::Settings, Self::Last];

    // Files come after users, so that a home directory gets its skeleton first; login
    // programs may be such files. Commands see everything else done.
    fn steps(self) -> &'static [Step] {
        match self {
            Self::Accounts => &[groups::create, users::create],
            Self::Settings => &[
                identity::set_hostname,
                kind::write,
                fstab::write,
                write_sources,
                files::copy_all,
                presets::apply,
                users::set_startup_scripts,
                interfaces::write,
                machine::write,
                network::enable,
                first_boot::write,
                growth::write,
                machine::switch_services,
                commands::run,
                finish::finish,
            ],
            Self::Last => &[commands::run_last, finish::finish],
        }
    }
}

type Step = fn(&Context<'_>) -> Result<(), ConfigureError>;

/// Counts of what was configured.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigureReport {
    /// Number of users that were made or changed.
    pub users: u64,
    /// Number of files that were copied.
    pub files: u64,
    /// Number of commands that were run.
    pub commands: u64,
    /// Time for all of it.
    pub elapsed: Duration,
}

/// What every step works with.
struct Context<'a> {
    /// The image; removing leaves alone what the template means to have.
    root: Root,
    sandbox: Sandbox,
    request: &'a ConfigureRequest<'a>,
    work: Work<'a>,
}

/// Applies `part` of the settings to the image in `request.root`; the parts come in the order of [`Part::ALL`].
///
/// # Errors
/// [`ConfigureError`], which names the user, file or command at fault.
pub fn configure(
    request: &ConfigureRequest<'_>,
    part: Part,
    work: Work<'_>,
) -> Result<ConfigureReport, ConfigureError> {
    let steps = part.steps();
    let started = Instant::now();
    let context = Context {
        root: Root::open(request.root)?.sparing(request.template.system.meant()),
        sandbox: sandbox(request),
        request,
        work,
    };
    let task = work.start("Configure", Unit::Items, Some(steps.len() as u64));
    let result = steps.iter().try_for_each(|step| {
        work.cancel.check()?;
        step(&context)?;
        task.advance(1);
        Ok(())
    });
    let system = &request.template.system;
    result.map(|()| match part {
        Part::Accounts => ConfigureReport {
            users: system.users.len() as u64,
            elapsed: started.elapsed(),
            ..ConfigureReport::default()
        },
        Part::Last => ConfigureReport {
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

/// Makes the sandbox for the target's own administration tools.
fn sandbox(request: &ConfigureRequest<'_>) -> Sandbox {
    let mut spec = SandboxSpec::new(request.root);
    spec.helper = request.helper.to_owned();
    spec.env = request.env.to_vec();
    Sandbox::new(spec)
}

impl Context<'_> {
    /// Writes a file of oic's own, unless the template has a file for the same place.
    fn provide(&self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>, mode: u32) -> Result<(), PathError> {
        match self.root.is_spared(&path) {
            true => Ok(()),
            false => self.root.write(path, contents, mode),
        }
    }

    /// Runs one of the target's tools and drops its output, unless it fails.
    fn tool<A: Into<OsString>>(&self, argv: impl IntoIterator<Item = A>) -> Result<(), SandboxError> {
        self.tool_with_input(argv, "")
    }

    fn tool_with_input<A: Into<OsString>>(
        &self,
        argv: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<(), SandboxError> {
        let command = Command::new(argv).with_stdin(input);
        let mut log = |line: &str| self.work.progress.detail(line);
        self.sandbox.run(&command, &mut log, self.work.cancel).map(drop)
    }
}

fn write_sources(context: &Context<'_>) -> Result<(), ConfigureError> {
    let request = context.request;
    request.sources.write(&context.root, &request.template.target.os)
}

#[cfg(test)]
mod tests;
