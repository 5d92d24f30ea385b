//! `oic mount` and `oic umount`.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::{Args, ValueEnum, ValueHint};

use crate::mount::lower::LowerOptions;
use crate::mount::server::{LayerRequest, Lifetime, Prefetch, SnapshotRequest};
use crate::mount::session::{self, MountRequest, Session, THIS_PROGRAM};
use crate::mount::{self, MountError, Restrictions};
use crate::package::Sha256;
use crate::snapshot::foreign;
use crate::template::Loaded;
use crate::workspace::Workspace;

use super::environment::Environment;
use super::error::{CommandError, print_line};
use super::templates::VariableArgs;
use super::{Format, GlobalOptions, interrupt, templates};

mod stats;
mod subject;
mod tree;

use subject::Subject;

/// How a tree of several layers is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// What is fastest here.
    Auto,
    /// The kernel's overlayfs over the lazy layers.
    Kernel,
    /// Our own copy-on-write, one FUSE mount.
    Fuse,
}

impl From<Engine> for mount::Engine {
    fn from(engine: Engine) -> Self {
        match engine {
            // Measured to be the faster one wherever it works, but it is for root alone.
            Engine::Auto if is_root() => Self::Kernel,
            Engine::Kernel => Self::Kernel,
            Engine::Auto | Engine::Fuse => Self::Fuse,
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Show a provider's base, a template's tree or a tarball, read-only or with a writable layer
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic mount debian-debian13-x86_64             the base, at {work_dir}/debian-debian13-x86_64/chrootenv
  oic mount my-template.yml /mnt               the base, and the packages of the last build in /mnt/cdrom/cache-repo
  oic mount my-template.yml /mnt --image edge  the finished tree of the last build of systemConfig 'edge'
  oic mount my-template.yml /mnt --upper try   writable; changes are kept in {work_dir}/{provider}/mounts/try
  oic mount my-template.yml /mnt --tmp-upper   writable; changes are gone after oic umount
  oic mount old.tar.gz /mnt                    any .tar, .tar.gz or .tar.zst; its index is kept in old.tar.gz.oic
  oic mount /mnt --stats                       what was read and unpacked through this mount

The base unpacks itself file by file when something reads it. End with: oic umount")]
pub struct MountArgs {
    /// Provider id ({os}-{dist}-{arch}), template file, the name of a template that oic brings, or a tarball
    subject: OsString,
    /// Existing directory to mount at [default: the provider's chrootenv, or {tarball}.oic/chrootenv]
    #[arg(value_hint = ValueHint::DirPath)]
    mount_point: Option<PathBuf>,
    /// Show the finished tree of the last build of this systemConfig
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Writable: keep changes under this name, for the next mount with it
    #[arg(long, value_name = "NAME", conflicts_with = "tmp_upper")]
    upper: Option<String>,
    /// Writable: changes are gone when it is unmounted
    #[arg(long)]
    tmp_upper: bool,
    /// What puts the layers together
    #[arg(long, value_enum, default_value = "auto")]
    overlay: Engine,
    /// Unpack everything in the background, what a build needed first
    #[arg(long)]
    prefetch: bool,
    /// Never fetch a package: reading one that is not cached fails
    #[arg(long)]
    offline: bool,
    /// Mirror of the provider's main archive, or NAME=URL for another one (may be repeated)
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// Let other users see it too
    #[arg(long)]
    allow_other: bool,
    /// Stay until it is unmounted; SIGTERM and SIGINT unmount it (for systemd)
    #[arg(long)]
    foreground: bool,
    /// Print the counters of a mount that exists (a provider's, or the one at this path)
    #[arg(long, conflicts_with_all = ["mount_point", "image", "upper", "tmp_upper", "prefetch", "foreground"])]
    stats: bool,
    /// How the counters are printed
    #[arg(long, value_enum, default_value = "text", requires = "stats")]
    format: Format,
}

/// Unmount what `oic mount` has mounted
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic umount debian-debian13-x86_64        what oic mount shows by default
  oic umount /mnt --lazy                   even if a process still uses it")]
pub struct UmountArgs {
    /// Mount point, provider id, or tarball
    #[arg(value_hint = ValueHint::DirPath)]
    target: OsString,
    /// Detach it now, even if it is in use
    #[arg(long)]
    lazy: bool,
}

/// Mounts; returns when it is readable, or with `--foreground` when it is unmounted.
pub fn mount(global: &GlobalOptions, args: &MountArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    if args.stats {
        let at = existing_mount(&environment, &args.subject)?;
        return stats::print(&session::stats(&at).map_err(|error| failed(&error))?, args.format);
    }
    let subject = Subject::of(&environment, &args.subject)?;
    subject.prepare()?;
    let at = match &args.mount_point {
        Some(path) => path.clone(),
        None => make_directory(subject.mount_point.clone())?,
    };
    let session = make(&environment, args, &subject, &at)?;
    if args.foreground {
        return stay(session, &at);
    }
    session.detach();
    print_line(&at.display().to_string())
}

/// Puts the layers together as `args` says, and mounts them.
fn make(environment: &Environment, args: &MountArgs, subject: &Subject, at: &Path) -> Result<Session, CommandError> {
    let image = match (&args.image, &subject.provider) {
        (Some(name), Some((workspace, _))) => Some(tree::finished_image(workspace, name)?),
        (Some(_), None) => {
            return Err(CommandError::usage(
                "--image needs a provider or a template, not a tarball",
            ));
        }
        (None, _) => None,
    };
    let pool = match &subject.provider {
        Some((workspace, Some(loaded))) => tree::pool(environment, args, workspace, loaded)?,
        _ => None,
    };
    if !is_root() && (args.upper.is_some() || args.tmp_upper) {
        let refused = CommandError::failed("a writable layer needs root: it keeps the owners of files");
        return Err(refused.hint(Some("leave out --upper and --tmp-upper to look only")));
    }
    let upper = match (&args.upper, args.tmp_upper) {
        (Some(name), _) => Some(tree::named_upper(subject, name, image.as_ref())?),
        (None, true) => Some(tree::scratch_upper(subject, image.as_ref())?),
        (None, false) => None,
    };
    let own_store = tree::own_store(environment, &subject.snapshot.backing_dir)?;
    let request = MountRequest {
        program: THIS_PROGRAM.into(),
        view: tree::view(upper.as_ref(), image, pool.is_some()),
        engine: args.overlay.into(),
        layers: LayerRequest {
            snapshot: Some(SnapshotRequest {
                tarball: subject.snapshot.tarball.clone(),
                index: subject.snapshot.index.clone(),
                backing_dir: match &own_store {
                    Some(directory) => directory.path().to_owned(),
                    None => subject.snapshot.backing_dir.clone(),
                },
                prefetch: match args.prefetch {
                    true => Prefetch::All,
                    false => Prefetch::Sequential,
                },
                record_order: false,
            }),
            pool,
        },
        restrictions: Restrictions {
            read_only: upper.is_none(),
            ..Restrictions::VIEW
        },
        allow_other: args.allow_other,
        threads: LowerOptions::default().threads,
        lifetime: match args.foreground {
            true => Lifetime::Caller,
            false => Lifetime::Mount,
        },
        log: None,
        scratch: match &own_store {
            Some(directory) => Some(directory.path().to_owned()),
            None => upper.as_ref().and_then(tree::WritableLayer::scratch_path),
        },
    };
    let session = session::mount(&request, at).map_err(|error| match (&error, &upper) {
        (MountError::ForeignUpper(path), Some(_)) => CommandError::failed(&error).hint(Some(format!(
            "the base or the image was made anew since; take another name, or delete {} to start afresh",
            path.parent().unwrap_or(path).display()
        ))),
        _ => failed(&error),
    })?;
    // From here on the server removes them.
    if let Some(upper) = upper {
        upper.hand_over();
    }
    if let Some(directory) = own_store {
        let _ = directory.keep();
    }
    Ok(session)
}

/// Keeps `session` until it is unmounted or a signal asks for it.
fn stay(mut session: Session, at: &Path) -> Result<(), CommandError> {
    let cancel = interrupt::install().map_err(CommandError::failed)?;
    print_line(&at.display().to_string())?;
    tell_service_manager("READY=1");
    let watched = session.wait(&cancel).map_err(|error| failed(&error));
    tell_service_manager("STOPPING=1");
    // Unmounts, lazily if somebody still looks.
    drop(session);
    watched
}

/// sd_notify(3): does nothing unless a service manager waits for it.
fn tell_service_manager(state: &str) {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let send = || -> io::Result<usize> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(error) = send() {
        tracing::warn!("cannot tell the service manager {state}: {error}");
    }
}

/// Unmounts.
pub fn umount(global: &GlobalOptions, args: &UmountArgs) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let at = existing_mount(&environment, &args.target)?;
    session::unmount(&at, args.lazy).map_err(|error| failed(&error))
}

fn failed(error: &MountError) -> CommandError {
    CommandError::failed(error).hint(error.hint())
}

/// The mount point that `argument` names: a path, or by default that of a tarball or a provider.
fn existing_mount(environment: &Environment, argument: &OsStr) -> Result<PathBuf, CommandError> {
    if foreign::is_tarball(Path::new(argument)) {
        return subject::default_mount_point(environment, Path::new(argument));
    }
    Ok(match is_provider(environment, argument)? {
        Some(provider) => Workspace::new(&environment.cache_dir(), &environment.work_dir(), &provider).chrootenv(),
        None => PathBuf::from(argument),
    })
}

/// `argument` if it is the id of a known provider and not a path that exists.
fn is_provider(environment: &Environment, argument: &OsStr) -> Result<Option<String>, CommandError> {
    let Some(text) = argument.to_str().filter(|_| !Path::new(argument).exists()) else {
        return Ok(None);
    };
    Ok(templates::providers(environment)?
        .by_id(text)
        .ok()
        .map(crate::provider::Provider::id))
}

/// The provider that `argument` names, itself or through a template, and that template.
fn named(environment: &Environment, argument: &OsStr) -> Result<(String, Option<Loaded>), CommandError> {
    if let Some(provider) = is_provider(environment, argument)? {
        return Ok((provider, None));
    }
    let loaded = templates::load(environment, argument, &VariableArgs::default())?;
    Ok((loaded.provider.id(), Some(loaded)))
}

/// The provider that `argument` names, itself or through a template.
pub(super) fn provider_id(environment: &Environment, argument: &OsStr) -> Result<String, CommandError> {
    Ok(named(environment, argument)?.0)
}

/// What the last build of the systemConfig `name` put above which base, the topmost layer first.
pub(super) fn finished_layers(workspace: &Workspace, name: &str) -> Result<(Vec<PathBuf>, Sha256), CommandError> {
    let image = tree::finished_image(workspace, name)?;
    Ok((image.layers, image.base))
}

fn make_directory(path: PathBuf) -> Result<PathBuf, CommandError> {
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(CommandError::failed(format!(
            "cannot create {}: {error}",
            path.display()
        ))),
        _ => Ok(path),
    }
}
