//! The layers that `oic mount` puts together, and the place of a writable one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::cancel::Cancel;
use crate::durable::{self, FileLock, FileName, PathError};
use crate::fetch::{FetchOptions, Fetcher};
use crate::layer::{Below, Layer, LayerStore};
use crate::layers::{self, PoolRequest};
use crate::mount::kernel::Upper;
use crate::mount::session::View;
use crate::package::Sha256;
use crate::pipeline::mirrors;
use crate::provider;
use crate::resolve::lockfile::Lockfile;
use crate::snapshot::Snapshot;
use crate::store::sweep;
use crate::template::Loaded;
use crate::workspace::Workspace;

use super::super::environment::Environment;
use super::super::error::{CommandError, tell};
use super::MountArgs;
use super::subject::Subject;

/// Start of the names of scratch layers (and of all temporary files).
const SCRATCH_PREFIX: &str = ".oic-tmp-mount-";

/// Start of the names of backing stores of one mount.
const STORE_PREFIX: &str = ".oic-tmp-store-";

/// The finished tree of a build.
pub(super) struct Image {
    /// The upper and the step layers below it, the topmost first.
    pub(super) layers: Vec<PathBuf>,
    /// Key of the base below them.
    pub(super) base: Sha256,
    /// The identity of the tree; it changes when the tree is built anew.
    identity: String,
}

/// A writable layer to be mounted; a scratch one is removed if that fails.
pub(super) struct WritableLayer {
    upper: Upper,
    scratch: Option<PathBuf>,
    /// The lock that keeps other mounts from sweeping a scratch layer that is not locked yet.
    _sweeping: Option<FileLock>,
}

impl WritableLayer {
    /// Gives the directory that the server removes when the mount is gone.
    pub(super) fn scratch_path(&self) -> Option<PathBuf> {
        self.scratch.clone()
    }

    /// Leaves the layer to the server, which has mounted it.
    pub(super) fn hand_over(mut self) {
        self.scratch = None;
    }
}

impl Drop for WritableLayer {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.scratch.as_deref().map(durable::remove_tree) {
            tracing::warn!("{error}; the next --tmp-upper removes it");
        }
    }
}

/// Describes the layers of the mount.
pub(super) fn view(upper: Option<&WritableLayer>, image: Option<Image>, has_pool: bool) -> View {
    if upper.is_none() && image.is_none() && !has_pool {
        return View::Layer(layers::BASE.to_owned());
    }
    View::Overlay {
        upper: upper.map(|layer| layer.upper.clone()),
        steps: image.map(|image| image.layers).unwrap_or_default(),
    }
}

/// Lists the packages of the template's last build, as they will be at `/cdrom/cache-repo`.
/// `None`, with a note, if no build has finished: then the packages are not known.
pub(super) fn pool(
    environment: &Environment,
    args: &MountArgs,
    (workspace, loaded): (&Workspace, &Loaded),
    cancel: &Cancel,
) -> Result<Option<PoolRequest>, CommandError> {
    let template = &loaded.template;
    let path = workspace
        .image_build(&template.system.name)
        .lockfile(&template.image.name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tell(&format_args!(
                "note: without packages: {} was not built yet",
                template.system.name
            ));
            return Ok(None);
        }
        Err(error) => return Err(PathError::on("read", &path)(error).into()),
    };
    let lockfile = Lockfile::from_json(&text).map_err(|error| {
        CommandError::failed(format!("{}: {error}", path.display())).hint(Some("build the image again"))
    })?;
    let mirrors = environment.mirrors(&args.mirror)?;
    // No key is needed: the lockfile has the digest of every package.
    let repositories = provider::repositories(&loaded.provider, &mirrors, template, &|_| Ok(Vec::new()), &[]);
    let mut repositories = repositories?;
    let options = FetchOptions {
        offline: args.offline,
        network: environment.network(&mirrors),
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(options, cancel.clone())?;
    let cache = workspace.package_cache();
    if let Err(error) = mirrors::locate_missing(&mut repositories, &lockfile.packages, cache, &fetcher) {
        tell(&format_args!(
            "note: packages that are not in the cache cannot be opened: {error}"
        ));
    }
    Ok(Some(PoolRequest {
        cache_dir: environment.cache_dir(),
        provider_id: loaded.provider.id(),
        packages: lockfile.packages,
        base_urls: repositories
            .into_iter()
            .map(|repository| (repository.id, repository.base_url))
            .collect(),
        offline: args.offline,
        network: environment.network(&mirrors),
    }))
}

/// Finds the tree of the last build of `name`.
pub(super) fn finished_image(workspace: &Workspace, name: &str) -> Result<Image, CommandError> {
    let name = plain(name)?;
    let build = workspace.image_build(name);
    let upper = build.upper();
    let metadata = match fs::metadata(&upper) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let missing = CommandError::failed(format!(
                "there is no finished build of {name:?}: {} is missing",
                upper.display()
            ));
            return Err(missing.hint(Some("the name is systemConfig.name of the template")));
        }
        Err(error) => return Err(super::subject::unreadable(&upper, error)),
    };
    let running = matches!(FileLock::try_exclusive(build.lock()), Ok(None));
    if running || build.work().exists() {
        let problem = if running { "is running" } else { "did not finish" };
        return Err(
            CommandError::failed(format!("the last build of {name:?} {problem}")).hint(Some(if running {
                "wait for it"
            } else {
                "build it again"
            })),
        );
    }
    let below = Below::read(&build.below()).map_err(|error| {
        CommandError::failed(format!("what {} lies on is not known: {error}", upper.display()))
            .hint(Some("build the image again"))
    })?;
    let layers = below.open(&LayerStore::new(workspace.layers()))?;
    Ok(Image {
        layers: std::iter::once(upper).chain(layers.iter().map(Layer::tree)).collect(),
        base: below.base,
        identity: format!(
            "{name} {} {}.{}",
            metadata.ino(),
            metadata.ctime(),
            metadata.ctime_nsec()
        ),
    })
}

/// Makes the layer that `--upper NAME` writes to, in `mounts/NAME`.
pub(super) fn named_upper(subject: &Subject, name: &str, image: Option<&Image>) -> Result<WritableLayer, CommandError> {
    let directory = subject.mounts.join(plain(name)?);
    durable::private_directory(&directory).map_err(CommandError::failed)?;
    Ok(WritableLayer {
        upper: upper_in(&directory, subject, image)?,
        scratch: None,
        _sweeping: None,
    })
}

/// Makes a layer that lives as long as its mount, and removes those that killed servers left behind.
pub(super) fn scratch_upper(
    subject: &Subject,
    image: Option<&Image>,
    cancel: &Cancel,
) -> Result<WritableLayer, CommandError> {
    let mounts = &subject.mounts;
    durable::private_directory(mounts)?;
    let sweeping = FileLock::exclusive_unless(&mounts.join(".lock"), cancel, || ())?;
    sweep::mounts(mounts)?;
    let made = durable::private_scratch(SCRATCH_PREFIX, mounts)?;
    let directory = made.keep();
    Ok(WritableLayer {
        upper: upper_in(&directory, subject, image)?,
        scratch: Some(directory),
        _sweeping: Some(sweeping),
    })
}

/// Makes a directory to unpack to, removed with the mount, if the user may not write to the shared store.
pub(super) fn own_store(environment: &Environment, store: &Path) -> Result<Option<tempfile::TempDir>, CommandError> {
    let place = if store.exists() { Some(store) } else { store.parent() };
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    match place.map(|place| access(place, wanted)) {
        Some(Err(Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {}
        _ => return Ok(None),
    }
    let place = environment.temp_dir();
    Ok(Some(durable::private_scratch(STORE_PREFIX, &place)?))
}

fn work(directory: &Path) -> PathBuf {
    directory.join("work")
}

fn upper_in(directory: &Path, subject: &Subject, image: Option<&Image>) -> Result<Upper, CommandError> {
    let snapshot = Snapshot::open(&subject.snapshot)?;
    let mut base = snapshot.base_key().to_string();
    if let Some(image) = image {
        base += &format!(" under {}", image.identity);
    }
    Ok(Upper {
        directory: directory.join("upper"),
        work: work(directory),
        base,
        volatile: false,
    })
}

/// Takes `name` if it is one plain component, so that it stays below its directory.
fn plain(name: &str) -> Result<&str, CommandError> {
    let name = FileName::new(name).map_err(|error| CommandError::usage(error.to_string()))?;
    Ok(name.as_str())
}
