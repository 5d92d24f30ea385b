//! A mount with everything that belongs to it, as `oic build` and `oic mount` use it.
//!
//! With [`Engine::Kernel`] a writable view is the kernel's overlayfs over the FUSE mount. The FUSE mount itself is
//! made in a temporary mount namespace and is never visible: the overlay alone keeps it. So there is one mount to see
//! and to unmount, and nothing to find or clean up beside it. However it is unmounted, the kernel then releases the
//! lower file system and the server ends. No pid file, no registry.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::adapter::ServeOptions;
use super::api::Target;
use super::holders::Holder;
use super::kernel::{self, OverlaySpec, Room, Upper};
use super::server::{self, Lifetime, MergeRequest, ServeRequest, ServerId, ServerProcess, Shown, Stats, Step, Tenant};
use super::table::Mount;
use super::{Attached, Detached, Engine, Label, MountError, Restrictions, fuse, namespace, pins, table};
use crate::cancel::Cancel;
use crate::durable::PathError;

/// This very program, also after its file was replaced by an update.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// The longest wait for a server to end after the unmounting: it may write and remove much, on a slow disk.
const END_TIME: Duration = Duration::from_secs(120);

/// The same after a lazy unmounting: a process may use the mount for as long as it likes.
const LAZY_END_TIME: Duration = Duration::from_millis(500);

/// The interval at which a session in the foreground checks its mount and server.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// A view of the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// One layer, read-only.
    Layer(String),
    /// A directory for each layer, read-only.
    Layers,
    /// All layers merged.
    Overlay {
        /// The upper for changes; without it the view is read-only.
        upper: Option<Upper>,
        /// Directories (frozen uppers) between it and the layers, the topmost first.
        steps: Vec<PathBuf>,
    },
}

/// A mount to be made.
#[derive(Debug, Clone)]
pub struct MountRequest<T> {
    /// The program that knows [`super::server::CHILD_COMMAND`]; normally [`THIS_PROGRAM`].
    pub program: PathBuf,
    /// The name of what is shown.
    pub label: Label,
    /// The layers to open.
    pub layers: T,
    /// The view of them.
    pub view: View,
    /// The engine that merges, if [`View::Overlay`] is to be shown.
    pub engine: Engine,
    /// Restrictions of the mount.
    pub restrictions: Restrictions,
    /// Whether to let other users in too, as far as the permissions of the files allow. Without it, what
    /// [`Engine::Kernel`] merges has a root directory of mode 0700.
    pub allow_other: bool,
    /// Threads that answer the kernel.
    pub threads: usize,
    /// Whether the mount may outlive this process.
    pub lifetime: Lifetime,
    /// The file to which the server's messages are appended. Without it they go to our own standard error, or nowhere
    /// if the mount may outlive us.
    pub log: Option<PathBuf>,
    /// A directory that the server removes when the mount is gone: that of a temporary upper.
    pub scratch: Option<PathBuf>,
}

impl<T: Tenant> MountRequest<T> {
    /// Returns a request for a view of one layer: in the background, read-only, `nosuid`, `nodev`, for the caller's
    /// user alone.
    pub fn view(layers: T, name: impl Into<String>) -> Self {
        Self {
            program: THIS_PROGRAM.into(),
            label: Label::default(),
            layers,
            view: View::Layer(name.into()),
            engine: Engine::default(),
            restrictions: Restrictions::VIEW,
            allow_other: false,
            threads: ServeOptions::default().threads,
            lifetime: Lifetime::Mount,
            log: None,
            scratch: None,
        }
    }

    /// Returns a request for a build: all layers merged under `upper`, for all users, gone with the caller.
    pub fn build(layers: T, upper: Upper) -> Self {
        Self {
            view: View::Overlay {
                upper: Some(upper),
                steps: Vec::new(),
            },
            restrictions: Restrictions::BUILD,
            allow_other: true,
            lifetime: Lifetime::Caller,
            ..Self::view(layers, "")
        }
    }
}

/// A mount and its server. Dropped, both end; see also [`Session::detach`].
#[derive(Debug)]
pub struct Session<T: Tenant> {
    // In this order: without the mount, the server ends by itself.
    mount: Attached,
    server: ServerProcess<T>,
}

/// Makes the mount of `request` at `mount_point`, an existing directory. Every process that can see the caller's
/// mount namespace sees it; a build first calls [`namespace::enter_private`].
///
/// # Errors
/// [`MountError`], among them [`MountError::Server`] if the upper is in use; nothing stays mounted.
pub fn mount<T: Tenant>(request: &MountRequest<T>, mount_point: &Path) -> Result<Session<T>, MountError> {
    let target = Target::open(mount_point)?;
    let is_overlay = matches!(request.view, View::Overlay { .. });
    // The kernel's overlayfs is for root alone, and asks on behalf of everyone.
    let is_below_kernel = is_overlay && request.engine == Engine::Kernel;
    let shown = shown(&request.view, request.engine);
    let options = ServeOptions {
        threads: request.threads,
        allow_other: request.allow_other || is_below_kernel,
        ..ServeOptions::default()
    };
    let is_writable = matches!(&shown, Shown::Merged(merge) if merge.upper.is_some());
    let restrictions = Restrictions {
        read_only: request.restrictions.read_only || !is_writable,
        ..request.restrictions
    };
    let unserved = if is_below_kernel {
        fuse::create(restrictions, options.allow_other, &request.label)?
    } else {
        fuse::create_at(target.path(), restrictions, options.allow_other, &request.label)?
    };
    let serve = ServeRequest {
        layers: request.layers.clone(),
        shown,
        options,
        lifetime: request.lifetime,
        lock: match &request.view {
            View::Overlay { upper: Some(upper), .. } => Some(upper.lock_file()),
            _ => None,
        },
        scratch: request.scratch.clone(),
    };
    let log = match (&request.log, request.lifetime) {
        (Some(path), _) => Some(path.as_path()),
        (None, Lifetime::Mount) => Some(Path::new("/dev/null")),
        (None, Lifetime::Caller) => None,
    };
    let title = format!("{} at {}", request.label, target.path().display());
    let mut server = ServerProcess::start(&request.program, unserved.device, title.trim_start(), &serve, log)?;
    let mount = match is_below_kernel {
        true => overlay(request, unserved.mount, server.layers(), target)?,
        false => unserved.mount.attach_to(target)?,
    };
    server.mounted(&mount)?;
    Ok(Session { mount, server })
}

/// Returns the view that the server has to show so that `view` can be made of it.
fn shown(view: &View, engine: Engine) -> Shown {
    match (view, engine) {
        (View::Layer(name), _) => Shown::Layer(name.clone()),
        (View::Overlay { upper, steps }, Engine::Fuse) => Shown::Merged(MergeRequest {
            upper: upper.clone(),
            steps: steps.iter().cloned().map(Step).collect(),
        }),
        (View::Layers, _) | (View::Overlay { .. }, Engine::Kernel) => Shown::Layers,
    }
}

/// Mounts the kernel's overlay that `request` describes at `target`. `lower` has a directory for each of `layers`.
fn overlay<T>(
    request: &MountRequest<T>,
    lower: Detached,
    layers: &[String],
    target: Target,
) -> Result<Attached, MountError> {
    let View::Overlay { upper, steps } = &request.view else {
        return lower.attach_to(target);
    };
    let (restrictions, label, is_private) = (request.restrictions, &request.label, !request.allow_other);
    let at = target.path().to_owned();
    let create = move || {
        let room = match is_private && upper.is_none() {
            true => Some(Room::mount(&at)?),
            false => None,
        };
        let lower = lower.attach(room.as_ref().map_or(at.as_path(), Room::place))?;
        let below = layers.iter().map(|name| lower.mount_point().join(name));
        let closed = room.as_ref().map(|room| room.layer().to_owned());
        let spec = OverlaySpec {
            lower: closed.into_iter().chain(steps.iter().cloned()).chain(below).collect(),
            upper: upper.clone(),
            restrictions,
        };
        if let (Some(upper), Some(top)) = (&spec.upper, spec.lower.first()) {
            upper.prepare(top)?;
            if is_private {
                upper.close()?;
            }
        }
        kernel::create(&spec, label)
    };
    namespace::with_temporary(create, move |overlay| overlay.attach_to(target))
}

impl<T: Tenant> Session<T> {
    /// Returns the mount point (canonical).
    pub fn mount_point(&self) -> &Path {
        self.mount.mount_point()
    }

    /// Returns the server's statistics so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn stats(&mut self) -> Result<Stats<T::Stats>, MountError> {
        self.server.stats()
    }

    /// Returns the server's process id.
    pub fn server_pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Returns when it has been unmounted, its server has ended, or `cancel` is set (which unmounts nothing).
    ///
    /// # Errors
    /// If the server's state cannot be read.
    pub fn wait(&mut self, cancel: &Cancel) -> Result<(), MountError> {
        while !cancel.is_cancelled() {
            if self
                .server
                .has_ended()
                .map_err(PathError::on("watch the server of", self.mount.mount_point()))?
            {
                break;
            }
            std::thread::sleep(WATCH_INTERVAL);
        }
        Ok(())
    }

    /// Unmounts and waits for the server to end, at most two seconds.
    ///
    /// # Errors
    /// [`MountError::Busy`] if the mount is in use; it is then detached.
    pub fn close(self) -> Result<(), MountError> {
        self.mount.unmount()
    }

    /// Leaves mount and server running; needs [`Lifetime::Mount`].
    pub fn detach(self) {
        self.mount.keep();
        self.server.detach();
    }
}

/// What an unmounting leaves.
#[derive(Debug, Default)]
pub struct Left {
    /// The server, if it has not ended: a process uses what was detached, or it still writes.
    pub server: Option<u32>,
    /// The processes in whose mount namespaces the file system is still mounted.
    pub elsewhere: Vec<Holder>,
}

/// Unmounts the mount of oic at `mount_point`, and waits until its server has ended: then a writable layer is free
/// again. The wait is short with `lazy`, and ends where the file system is mounted in another namespace.
///
/// # Errors
/// [`MountError::NotMounted`] if oic has mounted nothing there; [`MountError::Busy`] unless `lazy`.
pub fn unmount(mount_point: &Path, lazy: bool) -> Result<Left, MountError> {
    let path = place(mount_point)?;
    let Some(mount) = table::mount_at(&path)?.filter(Mount::is_ours) else {
        return Err(MountError::NotMounted(path));
    };
    let server = ServerId::of(&mount);
    table::unmount(&path, lazy)?;
    let limit = if lazy { LAZY_END_TIME } else { END_TIME };
    let mut left = Left::default();
    if let Some(server) = server
        && !server.ends(limit, || {
            left.elsewhere = pins::elsewhere(mount.device);
            left.elsewhere.is_empty()
        })
    {
        left.server = Some(server.pid());
    }
    Ok(left)
}

/// Asks the server of the mount at `mount_point` for its statistics so far.
///
/// # Errors
/// [`MountError::NotMounted`] if oic has mounted nothing there; [`MountError::Server`] if its server does not answer,
/// or serves no `T`.
pub fn stats<T: Tenant>(mount_point: &Path) -> Result<Stats<T::Stats>, MountError> {
    let path = place(mount_point)?;
    match table::mount_at(&path)? {
        Some(mount) if mount.is_ours() => server::ask(&mount),
        _ => Err(MountError::NotMounted(path)),
    }
}

/// Returns the canonical name of a mount point, without touching the file system mounted there, which may be dead.
///
/// # Errors
/// If the directory that it lies in cannot be found.
pub fn place(mount_point: &Path) -> Result<PathBuf, MountError> {
    let on = || PathError::on("find", mount_point);
    let absolute = std::path::absolute(mount_point).map_err(on())?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Ok(absolute);
    };
    Ok(parent.canonicalize().map_err(on())?.join(name))
}
