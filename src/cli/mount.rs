//! `oic mount` and `oic umount`.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::{ArgGroup, Args, ValueEnum, ValueHint};

use crate::cancel::Cancel;
use crate::layers::{BaseRequest, LayerRequest, Prefetch};
use crate::mount::server::Lifetime;
use crate::mount::session::{self, Left, MountRequest, Session, THIS_PROGRAM};
use crate::mount::{self, Label, MountError, Restrictions, ServeOptions, dead, table};
use crate::package::Sha256;
use crate::snapshot::{SnapshotPaths, foreign};
use crate::store::sweep;
use crate::template::Loaded;
use crate::workspace::Workspace;

use super::environment::Environment;
use super::error::{CommandError, print_line, tell};
use super::interrupt::Interrupt;
use super::templates::ValueArgs;
use super::{Format, GlobalOptions, templates};

mod disk;
mod list;
mod stats;
mod subject;
mod tree;

use subject::Subject;

/// The engine that merges the layers of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The fastest one that suits.
    Auto,
    /// The kernel's overlayfs over the lazy layers.
    Kernel,
    /// Our own copy-on-write, one FUSE mount.
    Fuse,
}

impl Engine {
    /// Chooses the engine of a mount that all users see, or the caller alone. The kernel's was measured to be the
    /// faster one wherever it works; but it is for root alone, and closes the root directory to keep others out.
    pub(super) fn choose(self, is_for_all: bool) -> mount::Engine {
        match self {
            Self::Auto if is_root() && is_for_all => mount::Engine::Kernel,
            Self::Kernel => mount::Engine::Kernel,
            Self::Auto | Self::Fuse => mount::Engine::Fuse,
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Show a provider's base, a template's tree, a tarball or a disk image, read-only or with a writable layer
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("shown").args(["stats", "list"]))]
#[command(after_help = "\
Examples:
  oic mount debian-debian13-x86_64             the base, at {work_dir}/debian-debian13-x86_64/chrootenv
  oic mount my-template.yml /mnt               the base, and the packages of the last build in /mnt/cdrom/cache-repo
  oic mount my-template.yml /mnt --image edge  the finished tree of the last build of systemConfig 'edge'
  oic mount my-template.yml /mnt --upper try   writable; changes are kept in {work_dir}/{provider}/mounts/try
  oic mount my-template.yml /mnt --tmp-upper   writable; changes are gone after oic umount
  oic mount old.tar.gz /mnt                    any .tar, .tar.gz or .tar.zst; its index is kept in old.tar.gz.oic
  oic mount image.raw /mnt                     the system in a disk image, as its own fstab puts it together; read-only
  oic mount image.raw /mnt --partition 1       one partition of it
  oic mount /mnt --stats                       what was read and unpacked through this mount
  oic mount --list                             what is mounted, and what it shows

The base unpacks itself file by file when something reads it. End with: oic umount")]
pub struct MountArgs {
    /// Provider id ({os}-{dist}-{arch}), template file, the name of a template that oic brings, a tarball or a disk image
    #[arg(required_unless_present = "list")]
    subject: Option<OsString>,
    /// Existing directory to mount at [default: the provider's chrootenv, or {tarball}.oic/chrootenv]
    #[arg(value_hint = ValueHint::DirPath)]
    mount_point: Option<PathBuf>,
    /// Show this partition of a disk image: its number, name, label or UUID [default: the whole system]
    #[arg(long, value_name = "N|NAME", conflicts_with_all = ["image", "upper", "tmp_upper", "prefetch"])]
    partition: Option<String>,
    /// Show the finished tree of the last build of this systemConfig
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Writable: keep changes under this name, for the next mount with it
    #[arg(long, value_name = "NAME", conflicts_with = "tmp_upper")]
    upper: Option<String>,
    /// Writable: changes are gone when it is unmounted
    #[arg(long)]
    tmp_upper: bool,
    /// The engine that merges the layers: by default the kernel's for root with --allow-other, else our own
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
    /// Let other users see it too, as far as the permissions of its files allow
    #[arg(long)]
    allow_other: bool,
    /// Stay until it is unmounted; SIGTERM and SIGINT unmount it (for systemd)
    #[arg(long)]
    foreground: bool,
    /// Print the counters of a mount that exists (a provider's, or the one at this path)
    #[arg(long, conflicts_with_all = ["mount_point", "image", "upper", "tmp_upper", "prefetch", "foreground"])]
    stats: bool,
    /// List what oic has mounted: where, what, by which engine, and whether its server still lives
    #[arg(long, conflicts_with_all = ["subject", "image", "upper", "tmp_upper", "prefetch", "foreground"])]
    list: bool,
    /// How the counters or the list are printed
    #[arg(long, value_enum, default_value = "text", requires = "shown")]
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

/// Mounts; returns when the tree is readable, or with `--foreground` when it is unmounted.
pub fn mount(global: &GlobalOptions, args: &MountArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let Some(argument) = args.subject.as_deref().filter(|_| !args.list) else {
        return list::print(args.format);
    };
    if args.stats {
        let at = existing_mount(&environment, argument)?;
        return stats::print(&session::stats::<LayerRequest>(&at)?, args.format);
    }
    clear_dead()?;
    let cancel = interrupt.cancel();
    if let Some(disk) = disk::subject(args, Path::new(argument))? {
        return disk::mount(&environment, args, disk, &cancel);
    }
    let subject = Subject::of(&environment, argument)?;
    sweep::temporary(&environment.temp_dir());
    let in_use = subject.claim(&cancel)?;
    subject.prepare(&cancel)?;
    let at = match &args.mount_point {
        Some(path) => path.clone(),
        None => make_directory(subject.mount_point.clone())?,
    };
    let session = make(&environment, args, &subject, (&at, &cancel))?;
    drop(in_use);
    keep(args, session, &at, &cancel)
}

/// Leaves a mount to itself, or stays with it, as `args` say.
fn keep(args: &MountArgs, session: Session<LayerRequest>, at: &Path, cancel: &Cancel) -> Result<(), CommandError> {
    // Without the session, the mount is gone.
    cancel.check()?;
    if args.foreground {
        return stay(session, at, cancel);
    }
    session.detach();
    print_line(&at.display().to_string())
}

/// Unmounts what killed servers have left, with a line for each; returns the mount points.
///
/// # Errors
/// If the mount table cannot be read.
pub(super) fn clear_dead() -> Result<Vec<PathBuf>, CommandError> {
    let mut cleared = Vec::new();
    for dead in dead::clear()? {
        let at = dead.mount.mount_point;
        match dead.stays {
            None => {
                tell(&format_args!(
                    "note: unmounted {}: its server had been killed",
                    at.display()
                ));
                cleared.push(at);
            }
            Some(error) => tell(&format_args!(
                "note: the server of {} was killed, but {error}",
                at.display()
            )),
        }
    }
    Ok(cleared)
}

/// Puts the layers together as `args` says, and mounts them at a place, unless the flag is set meanwhile.
fn make(
    environment: &Environment,
    args: &MountArgs,
    subject: &Subject,
    (at, cancel): (&Path, &Cancel),
) -> Result<Session<LayerRequest>, CommandError> {
    let image = image(args, subject)?;
    let pool = match &subject.provider {
        Some((workspace, Some(loaded))) => tree::pool(environment, args, (workspace, loaded), cancel)?,
        _ => None,
    };
    let upper = upper(args, subject, image.as_ref(), cancel)?;
    cancel.check()?;
    let own_store = tree::own_store(environment, &subject.snapshot.backing_dir)?;
    let own_store_path = own_store.as_ref().map(|directory| directory.path().to_owned());
    let request = MountRequest {
        program: THIS_PROGRAM.into(),
        label: Label::new(&subject.name, args.image.as_deref()),
        view: tree::view(upper.as_ref(), image, pool.is_some()),
        engine: args.overlay.choose(args.allow_other),
        layers: LayerRequest {
            base: Some(base(args, subject, own_store_path.as_deref())),
            pool,
            disk: None,
        },
        restrictions: Restrictions {
            read_only: upper.is_none(),
            ..Restrictions::VIEW
        },
        allow_other: args.allow_other,
        threads: ServeOptions::default().threads,
        lifetime: if args.foreground {
            Lifetime::Caller
        } else {
            Lifetime::Mount
        },
        log: None,
        scratch: own_store_path.or_else(|| upper.as_ref().and_then(tree::WritableLayer::scratch_path)),
    };
    let session = session::mount(&request, at).map_err(|error| unmounted(error, upper.is_some()))?;
    // From here on the server removes them.
    if let Some(upper) = upper {
        upper.hand_over();
    }
    if let Some(directory) = own_store {
        let _ = directory.keep();
    }
    Ok(session)
}

/// Finds the finished tree that `--image` names.
fn image(args: &MountArgs, subject: &Subject) -> Result<Option<tree::Image>, CommandError> {
    match (&args.image, &subject.provider) {
        (Some(name), Some((workspace, _))) => tree::finished_image(workspace, name).map(Some),
        (Some(_), None) => Err(CommandError::usage(
            "--image needs a provider or a template, not a tarball",
        )),
        (None, _) => Ok(None),
    }
}

/// Makes the writable layer that the arguments ask for.
fn upper(
    args: &MountArgs,
    subject: &Subject,
    image: Option<&tree::Image>,
    cancel: &Cancel,
) -> Result<Option<tree::WritableLayer>, CommandError> {
    if !is_root() && (args.upper.is_some() || args.tmp_upper) {
        let refused = CommandError::failed("a writable layer needs root: it keeps the owners of files");
        return Err(refused.hint(Some("leave out --upper and --tmp-upper to look only")));
    }
    match &args.upper {
        Some(name) => tree::named_upper(subject, name, image).map(Some),
        None if args.tmp_upper => tree::scratch_upper(subject, image, cancel).map(Some),
        None => Ok(None),
    }
}

/// Describes the base to serve; `own_store` takes the place of a store that the user may not write.
fn base(args: &MountArgs, subject: &Subject, own_store: Option<&Path>) -> BaseRequest {
    BaseRequest {
        paths: SnapshotPaths {
            backing_dir: own_store.unwrap_or(&subject.snapshot.backing_dir).to_owned(),
            ..subject.snapshot.clone()
        },
        prefetch: if args.prefetch {
            Prefetch::All
        } else {
            Prefetch::Sequential
        },
        record_order: false,
    }
}

/// Makes the error of a mount that failed; over a named upper it says what to do with another base.
fn unmounted(error: MountError, has_upper: bool) -> CommandError {
    match &error {
        MountError::ForeignUpper(path) if has_upper => {
            let hint = format!(
                "the base or the image was made anew since; take another name, or delete {} to start afresh",
                path.parent().unwrap_or(path).display()
            );
            CommandError::failed(error).hint(Some(hint))
        }
        _ => error.into(),
    }
}

/// Keeps `session` until it is unmounted or a signal asks for it.
fn stay(mut session: Session<LayerRequest>, at: &Path, cancel: &Cancel) -> Result<(), CommandError> {
    print_line(&at.display().to_string())?;
    tell_service_manager("READY=1");
    let watched = session.wait(cancel).map_err(CommandError::from);
    tell_service_manager("STOPPING=1");
    // Unmounts, lazily if it is still in use.
    drop(session);
    watched
}

/// Notifies the service manager as sd_notify(3) does; does nothing without one.
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
    let cleared = clear_dead()?;
    let at = existing_mount(&environment, &args.target)?;
    let left = match cleared.contains(&session::place(&at)?) {
        true => Left::default(),
        false => session::unmount(&at, args.lazy)?,
    };
    // What it had covered may be dead, too.
    clear_dead()?;
    say_left(&at, &left)
}

/// Tells what is still there after the mount at `at` went.
fn say_left(at: &Path, left: &Left) -> Result<(), CommandError> {
    let at = session::place(at)?;
    if let Some(mount) = table::mount_at(&at)? {
        let source = mount.source.display();
        tell(&format_args!(
            "note: another mount is still at {}: {source}",
            at.display()
        ));
    }
    let Some(server) = left.server else { return Ok(()) };
    for holder in &left.elsewhere {
        tell(&format_args!(
            "note: it is still mounted in the mount namespace of {holder}"
        ));
    }
    tell(&format_args!(
        "note: its server (pid {server}) still runs, until nothing uses the mount any more"
    ));
    Ok(())
}

/// Finds the mount point that `argument` names: a path, or by default that of a tarball or a provider.
fn existing_mount(environment: &Environment, argument: &OsStr) -> Result<PathBuf, CommandError> {
    if foreign::is_tarball(Path::new(argument)) || disk::is_image(Path::new(argument)) {
        return subject::default_mount_point(environment, Path::new(argument));
    }
    Ok(match is_provider(environment, argument)? {
        Some(provider) => Workspace::new(&environment.cache_dir(), &environment.work_dir(), &provider).chrootenv(),
        None => PathBuf::from(argument),
    })
}

/// Gives `argument` if it is the id of a known provider and not a path that exists.
fn is_provider(environment: &Environment, argument: &OsStr) -> Result<Option<String>, CommandError> {
    let found = templates::provider(environment, argument)?;
    Ok(found.map(|(_, provider)| provider.id()))
}

/// Finds the provider that `argument` names, itself or through a template, and that template.
fn named(environment: &Environment, argument: &OsStr) -> Result<(String, Option<Loaded>), CommandError> {
    if let Some(provider) = is_provider(environment, argument)? {
        return Ok((provider, None));
    }
    let loaded = templates::load(environment, argument, &ValueArgs::default())?;
    Ok((loaded.provider.id(), Some(loaded)))
}

/// Finds the provider that `argument` names, itself or through a template.
pub(super) fn provider_id(environment: &Environment, argument: &OsStr) -> Result<String, CommandError> {
    Ok(named(environment, argument)?.0)
}

/// Lists the layers of the last build of the systemConfig `name`, the topmost first, and its base.
pub(super) fn finished_layers(workspace: &Workspace, name: &str) -> Result<(Vec<PathBuf>, Sha256), CommandError> {
    let image = tree::finished_image(workspace, name)?;
    Ok((image.layers, image.base))
}

fn make_directory(path: PathBuf) -> Result<PathBuf, CommandError> {
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(CommandError::failed(format!(
            "cannot create {}: {error}",
            path.display()
        ))),
        _ => Ok(path),
    }
}
