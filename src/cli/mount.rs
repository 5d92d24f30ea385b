//! `oic mount` and `oic umount`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::mount::server::{LayerRequest, Lifetime, Prefetch, SnapshotRequest};
use crate::mount::session::{self, MountRequest, THIS_PROGRAM, View};
use crate::mount::{MountError, Restrictions};
use crate::pipeline::serve;
use crate::workspace::Workspace;

use super::environment::Environment;
use super::error::{CommandError, print_line};
use super::{GlobalOptions, templates};

/// Threads that answer the kernel.
const SERVER_THREADS: usize = 2;

/// Show a provider's base, read-only
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic mount debian-debian13-x86_64             at {work_dir}/debian-debian13-x86_64/chrootenv
  oic mount my-template.yml /mnt               the base of the template's provider
  oic mount my-template.yml /mnt --image edge  the finished tree of the last build of systemConfig 'edge'

The base unpacks itself file by file when something reads it. End with: oic umount")]
pub struct MountArgs {
    /// Provider id ({os}-{dist}-{arch}), template file, or the name of a template that oic brings
    provider: OsString,
    /// Existing directory to mount at [default: the provider's chrootenv]
    #[arg(value_hint = ValueHint::DirPath)]
    mount_point: Option<PathBuf>,
    /// Show the finished tree of the last build of this systemConfig
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Unpack everything in the background, what a build needed first
    #[arg(long)]
    prefetch: bool,
    /// Let other users see it too
    #[arg(long)]
    allow_other: bool,
}

/// Unmount what `oic mount` has mounted
#[derive(Debug, Args)]
pub struct UmountArgs {
    /// Mount point, or provider id
    #[arg(value_hint = ValueHint::DirPath)]
    target: OsString,
    /// Detach it now, even if it is in use
    #[arg(long)]
    lazy: bool,
}

/// Mounts in the background; returns when it is readable.
pub fn mount(global: &GlobalOptions, args: &MountArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let provider = provider_id(&args.provider)?;
    let workspace = Workspace::new(&environment.cache_dir(), &environment.work_dir(), &provider);
    let (tarball, index) = (workspace.tarball(), workspace.index());
    if !tarball.exists() {
        let missing = CommandError::failed(format!(
            "there is no base of {provider} yet: {} is missing",
            tarball.display()
        ));
        return Err(missing.hint(Some("oic build makes it; --work-dir says where to look")));
    }
    let at = match &args.mount_point {
        Some(path) => path.clone(),
        None => make_directory(workspace.chrootenv())?,
    };
    let view = match &args.image {
        None => View::Layer(serve::BASE.to_owned()),
        Some(name) => View::Overlay {
            upper: None,
            steps: vec![finished_upper(&workspace, name)?],
        },
    };
    let request = MountRequest {
        program: THIS_PROGRAM.into(),
        layers: LayerRequest {
            snapshot: Some(SnapshotRequest {
                tarball,
                index,
                backing_dir: workspace.backing_store(),
                prefetch: if args.prefetch {
                    Prefetch::All
                } else {
                    Prefetch::Sequential
                },
                record_order: false,
            }),
            pool: None,
        },
        view,
        restrictions: Restrictions::VIEW,
        allow_other: args.allow_other,
        threads: SERVER_THREADS,
        lifetime: Lifetime::Mount,
        log: None,
    };
    session::mount(&request, &at).map_err(|error| failed(&error))?.detach();
    print_line(&at.display().to_string())
}

/// Unmounts.
pub fn umount(global: &GlobalOptions, args: &UmountArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let at = match is_provider(&args.target)? {
        Some(provider) => Workspace::new(&environment.cache_dir(), &environment.work_dir(), &provider).chrootenv(),
        None => PathBuf::from(&args.target),
    };
    session::unmount(&at, args.lazy).map_err(|error| failed(&error))
}

fn failed(error: &MountError) -> CommandError {
    CommandError::failed(error).hint(error.hint())
}

/// `argument` if it is the id of a known provider and not a path that exists.
fn is_provider(argument: &OsStr) -> Result<Option<String>, CommandError> {
    let Some(text) = argument.to_str().filter(|_| !Path::new(argument).exists()) else {
        return Ok(None);
    };
    Ok(templates::providers()?
        .by_id(text)
        .ok()
        .map(crate::provider::Provider::id))
}

/// The provider that `argument` names, itself or through a template.
fn provider_id(argument: &OsStr) -> Result<String, CommandError> {
    match is_provider(argument)? {
        Some(provider) => Ok(provider),
        None => Ok(templates::load(argument)?.provider.id()),
    }
}

fn finished_upper(workspace: &Workspace, name: &str) -> Result<PathBuf, CommandError> {
    let build = workspace.image_build(name);
    // One component, so that it stays below the provider's directory.
    let is_plain = Path::new(name).file_name() == Some(OsStr::new(name));
    if is_plain && build.upper().is_dir() {
        return Ok(build.upper());
    }
    let missing = CommandError::failed(format!(
        "there is no finished build of {name:?}: {} is missing",
        build.upper().display()
    ));
    Err(missing.hint(Some("the name is systemConfig.name of the template")))
}

fn make_directory(path: PathBuf) -> Result<PathBuf, CommandError> {
    match fs::create_dir(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(CommandError::failed(format!(
            "cannot create {}: {error}",
            path.display()
        ))),
        _ => Ok(path),
    }
}
