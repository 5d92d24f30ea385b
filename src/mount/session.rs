//! A mount with everything that belongs to it: what `oic build` and `oic mount` use.
//!
//! With [`Engine::Kernel`] a writable view is the kernel's overlayfs over the FUSE mount. The FUSE mount itself is
//! made in a temporary mount namespace and is never visible: the overlay alone keeps it. So
//! there is one mount to see and to unmount, nothing to find or clean up beside it, and
//! when it is unmounted, by whomever and however, the kernel lets go of the lower file
//! system and the server ends. No pid file, no registry.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::api::Target;
use super::kernel::{self, OverlaySpec, Upper};
use super::lower::LowerOptions;
use super::server::{self, LayerRequest, Lifetime, MergeRequest, ServeRequest, Server, Stats, Step};
use super::{Attached, Detached, Engine, MountError, Restrictions, fuse, namespace, table};
use crate::cancel::Cancel;
use crate::durable::PathError;

/// This very program, also after its file was replaced by an update.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// How often a session in the foreground looks around.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// One layer, read-only.
    Layer(String),
    /// A directory for each layer, read-only.
    Layers,
    /// All layers merged.
    Overlay {
        /// Where changes go; without it the view is read-only.
        upper: Option<Upper>,
        /// Directories (frozen uppers) between it and the layers, the topmost first.
        steps: Vec<PathBuf>,
    },
}

/// A mount to be made.
#[derive(Debug, Clone)]
pub struct MountRequest {
    /// The program that knows [`super::server::CHILD_COMMAND`]; normally [`THIS_PROGRAM`].
    pub program: PathBuf,
    /// The layers to open.
    pub layers: LayerRequest,
    /// What to show of them.
    pub view: View,
    /// Who merges, if [`View::Overlay`] is to be shown.
    pub engine: Engine,
    /// Restrictions of the mount.
    pub restrictions: Restrictions,
    /// Let other users in too. An overlay lets in whom the permissions of its files let in.
    pub allow_other: bool,
    /// Threads that answer the kernel.
    pub threads: usize,
    /// Whether the mount may outlive this process.
    pub lifetime: Lifetime,
    /// Where the server's messages go (appended). Without it, where ours go, or
    /// nowhere if it may outlive us.
    pub log: Option<PathBuf>,
    /// A directory that the server removes when the mount is gone: what a scratch upper lies in.
    pub scratch: Option<PathBuf>,
}

impl MountRequest {
    /// For looking at one layer: in the background, read-only, `nosuid`, `nodev`, for the caller's user alone.
    pub fn view(layers: LayerRequest, name: impl Into<String>) -> Self {
        Self {
            program: THIS_PROGRAM.into(),
            layers,
            view: View::Layer(name.into()),
            engine: Engine::default(),
            restrictions: Restrictions::VIEW,
            allow_other: false,
            threads: LowerOptions::default().threads,
            lifetime: Lifetime::Mount,
            log: None,
            scratch: None,
        }
    }

    /// For a build: all layers merged under `upper`, for all users, gone with the caller.
    pub fn build(layers: LayerRequest, upper: Upper) -> Self {
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
pub struct Session {
    // In this order: without the mount, the server ends by itself.
    mount: Attached,
    server: Server,
}

/// Mounts what `request` says at `mount_point`, an existing directory. Every process that can see
/// the caller's mount namespace sees it; a build first calls [`namespace::enter_private`].
///
/// # Errors
/// [`MountError`], among them [`MountError::Server`] if the upper is in use; nothing stays mounted.
pub fn mount(request: &MountRequest, mount_point: &Path) -> Result<Session, MountError> {
    let target = Target::open(mount_point)?;
    let merge_here = match (&request.view, request.engine) {
        (View::Overlay { upper, steps }, Engine::Fuse) => Some(MergeRequest {
            upper: upper.clone(),
            steps: steps.iter().cloned().map(Step).collect(),
        }),
        _ => None,
    };
    let options = LowerOptions {
        root: match &request.view {
            View::Layer(name) => Some(name.clone()),
            View::Layers | View::Overlay { .. } => None,
        },
        threads: request.threads,
        // Below the kernel's overlay, it asks on behalf of everyone.
        allow_other: request.allow_other || (merge_here.is_none() && matches!(request.view, View::Overlay { .. })),
        ..LowerOptions::default()
    };
    let is_writable = merge_here.as_ref().is_some_and(|merge| merge.upper.is_some());
    let restrictions = Restrictions {
        read_only: request.restrictions.read_only || !is_writable,
        ..request.restrictions
    };
    let is_merged_here = merge_here.is_some();
    let unserved = match &request.view {
        // The kernel's overlayfs is for root alone.
        View::Overlay { .. } if !is_merged_here => fuse::create(restrictions, options.allow_other)?,
        _ => fuse::create_at(target.path(), restrictions, options.allow_other)?,
    };
    let serve = ServeRequest {
        layers: request.layers.clone(),
        options,
        merged: merge_here,
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
    let mut server = Server::start(&request.program, unserved.device, &serve, log)?;
    let mount = match &request.view {
        View::Layer(_) | View::Layers => unserved.mount.attach_to(target)?,
        View::Overlay { .. } if is_merged_here => unserved.mount.attach_to(target)?,
        View::Overlay { upper, steps } => {
            let spec = |lower| OverlaySpec {
                lower,
                upper: upper.clone(),
                restrictions: request.restrictions,
            };
            merge(unserved.mount, server.layers(), steps, &spec, target)?
        }
    };
    server.mounted(&mount)?;
    Ok(Session { mount, server })
}

/// Mounts the overlay that `spec` makes of its lower directories: `steps`, then the `layers` of `lower`.
fn merge(
    lower: Detached,
    layers: &[String],
    steps: &[PathBuf],
    spec: &(dyn Fn(Vec<PathBuf>) -> OverlaySpec + Sync),
    target: Target,
) -> Result<Attached, MountError> {
    let at = target.path().to_owned();
    namespace::with_temporary(
        move || {
            let lower = lower.attach(&at)?;
            let layers = layers.iter().map(|name| lower.mount_point().join(name));
            let spec = spec(steps.iter().cloned().chain(layers).collect());
            if let (Some(upper), Some(top)) = (&spec.upper, spec.lower.first()) {
                upper.prepare(top)?;
            }
            kernel::create(&spec)
        },
        move |overlay| overlay.attach_to(target),
    )
}

impl Session {
    /// Where it is mounted (canonical).
    pub fn mount_point(&self) -> &Path {
        self.mount.mount_point()
    }

    /// What the server has done so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn stats(&mut self) -> Result<Stats, MountError> {
        self.server.stats()
    }

    /// The server's process id.
    pub fn server_pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Returns when somebody has unmounted it, its server has ended, or `cancel` is set (which unmounts nothing).
    ///
    /// # Errors
    /// If the server cannot be watched.
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
    /// [`MountError::Busy`] if somebody uses the mount; it is then detached.
    pub fn close(self) -> Result<(), MountError> {
        self.mount.unmount()
    }

    /// Leaves mount and server alone; needs [`Lifetime::Mount`].
    pub fn detach(self) {
        self.mount.keep();
        self.server.detach();
    }
}

/// Unmounts what oic has mounted at `mount_point`; its server then ends by itself.
///
/// # Errors
/// [`MountError::NotMounted`] if there is no mount of ours; [`MountError::Busy`] unless `lazy`.
pub fn unmount(mount_point: &Path, lazy: bool) -> Result<(), MountError> {
    let path = canonical(mount_point)?;
    match table::mount_at(&path)? {
        Some(mount) if mount.is_ours() => table::unmount(&path, lazy),
        _ => Err(MountError::NotMounted(path)),
    }
}

/// What the server of the mount at `mount_point` has done so far.
///
/// # Errors
/// [`MountError::NotMounted`] if there is no mount of ours; [`MountError::Server`] if its server does not answer.
pub fn stats(mount_point: &Path) -> Result<Stats, MountError> {
    let path = canonical(mount_point)?;
    match table::mount_at(&path)? {
        Some(mount) if mount.is_ours() => server::ask(&mount),
        _ => Err(MountError::NotMounted(path)),
    }
}

/// The canonical name of a mount point, without looking at what is mounted there, which may be dead.
fn canonical(mount_point: &Path) -> Result<PathBuf, MountError> {
    let on = || PathError::on("find", mount_point);
    let absolute = std::path::absolute(mount_point).map_err(on())?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Ok(absolute);
    };
    Ok(parent.canonicalize().map_err(on())?.join(name))
}
