//! Which layers `oic mount` puts together, and where a writable one lies.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::cancel::Cancel;
use crate::durable::{self, FileLock, PathError};
use crate::fetch::{FetchOptions, Fetcher};
use crate::layer::{Below, Layer, LayerError, LayerStore};
use crate::mount::kernel::Upper;
use crate::mount::server::PoolRequest;
use crate::mount::session::View;
use crate::package::Sha256;
use crate::pipeline::{mirrors, serve};
use crate::provider;
use crate::resolve::lockfile::Lockfile;
use crate::snapshot::Snapshot;
use crate::template::Loaded;
use crate::workspace::Workspace;

use super::super::environment::Environment;
use super::super::error::CommandError;
use super::MountArgs;
use super::subject::Subject;

/// Start of the names of scratch layers (and of all temporary files).
const SCRATCH_PREFIX: &str = ".oic-tmp-mount-";

/// Start of the names of backing stores of one mount.
const STORE_PREFIX: &str = ".oic-tmp-store-";

/// The tree that a build has finished.
pub(super) struct Image {
    /// The upper and the step layers below it, the topmost first.
    pub(super) layers: Vec<PathBuf>,
    /// Key of the base below them.
    pub(super) base: Sha256,
    /// Changes when it is built anew.
    identity: String,
}

/// A writable layer to be mounted; a scratch one is removed if that fails.
pub(super) struct WritableLayer {
    upper: Upper,
    scratch: Option<PathBuf>,
    /// Keeps other mounts from sweeping a scratch layer that is not locked yet.
    _sweeping: Option<FileLock>,
}

impl WritableLayer {
    /// What the server is to remove when the mount is gone.
    pub(super) fn scratch_path(&self) -> Option<PathBuf> {
        self.scratch.clone()
    }

    /// It is mounted now: the server looks after it.
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

/// What to show.
pub(super) fn view(upper: Option<&WritableLayer>, image: Option<Image>, has_pool: bool) -> View {
    if upper.is_none() && image.is_none() && !has_pool {
        return View::Layer(serve::BASE.to_owned());
    }
    View::Overlay {
        upper: upper.map(|layer| layer.upper.clone()),
        steps: image.map(|image| image.layers).unwrap_or_default(),
    }
}

/// The packages of the template's last build, as they will be at `/cdrom/cache-repo`.
/// `None`, with a note, if it was not built yet: which packages it needs is not known then.
pub(super) fn pool(
    environment: &Environment,
    args: &MountArgs,
    workspace: &Workspace,
    loaded: &Loaded,
) -> Result<Option<PoolRequest>, CommandError> {
    let template = &loaded.template;
    let path = workspace
        .image_build(&template.system.name)
        .lockfile(&template.image.name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            anstream::eprintln!("note: without packages: {} was not built yet", template.system.name);
            return Ok(None);
        }
        Err(error) => return Err(CommandError::failed(PathError::on("read", &path)(error))),
    };
    let lockfile = Lockfile::from_json(&text).map_err(|error| {
        CommandError::failed(format!("{}: {error}", path.display())).hint(Some("build the image again"))
    })?;
    let mirrors = environment.mirrors(&args.mirror)?;
    // No key is needed: the lockfile has the digest of every package.
    let repositories = provider::repositories(&loaded.provider, &mirrors, template, &|_| Ok(Vec::new()));
    let mut repositories = repositories.map_err(|error| CommandError::failed(&error).hint(error.hint()))?;
    let options = FetchOptions {
        offline: args.offline,
        proxies: environment.proxies(),
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(options, Cancel::default());
    let fetcher = fetcher.map_err(|error| CommandError::failed(&error).hint(error.hint()))?;
    let cache = workspace.package_cache();
    if let Err(error) = mirrors::locate_missing(&mut repositories, &lockfile.packages, cache, &fetcher) {
        anstream::eprintln!("note: packages that are not in the cache cannot be opened: {error}");
    }
    Ok(Some(PoolRequest {
        cache_dir: environment.cache_dir(),
        provider_id: loaded.provider.id(),
        packages: lockfile.packages.into_iter().map(Into::into).collect(),
        base_urls: repositories
            .into_iter()
            .map(|repository| (repository.id, repository.base_url))
            .collect(),
        offline: args.offline,
        proxies: environment.proxies(),
    }))
}

/// The tree of the last build of `name`.
pub(super) fn finished_image(workspace: &Workspace, name: &str) -> Result<Image, CommandError> {
    let name = plain(name)?;
    let build = workspace.image_build(name);
    let upper = build.upper();
    let Ok(metadata) = fs::metadata(&upper) else {
        let missing = CommandError::failed(format!(
            "there is no finished build of {name:?}: {} is missing",
            upper.display()
        ));
        return Err(missing.hint(Some("the name is systemConfig.name of the template")));
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
    let unusable = |error: LayerError| CommandError::failed(&error).hint(error.hint());
    let below = Below::read(&build.below()).map_err(|error| {
        CommandError::failed(format!("what {} lies on is not known: {error}", upper.display()))
            .hint(Some("build the image again"))
    })?;
    let layers = below.open(&LayerStore::new(workspace.layers())).map_err(unusable)?;
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

/// The layer that `--upper NAME` writes to, in `mounts/NAME`.
pub(super) fn named_upper(subject: &Subject, name: &str, image: Option<&Image>) -> Result<WritableLayer, CommandError> {
    let directory = subject.mounts.join(plain(name)?);
    make_private(&directory)?;
    Ok(WritableLayer {
        upper: upper_in(&directory, subject, image)?,
        scratch: None,
        _sweeping: None,
    })
}

/// A layer that lives as long as its mount. Those that were left behind, by servers that were killed, are removed.
pub(super) fn scratch_upper(subject: &Subject, image: Option<&Image>) -> Result<WritableLayer, CommandError> {
    let mounts = &subject.mounts;
    make_private(mounts)?;
    let sweeping = FileLock::exclusive(mounts.join(".lock")).map_err(CommandError::failed)?;
    for entry in fs::read_dir(mounts).into_iter().flatten().flatten() {
        let is_scratch = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(SCRATCH_PREFIX.as_bytes());
        if is_scratch && !is_used(&entry.path()) {
            durable::remove_tree(&entry.path()).map_err(CommandError::failed)?;
        }
    }
    let made = tempfile::Builder::new().prefix(SCRATCH_PREFIX).tempdir_in(mounts);
    let made = made.map_err(|error| CommandError::failed(PathError::on("create a directory in", mounts)(error)))?;
    let directory = made.keep();
    Ok(WritableLayer {
        upper: upper_in(&directory, subject, image)?,
        scratch: Some(directory),
        _sweeping: Some(sweeping),
    })
}

/// Where to unpack for who may not use the shared backing store: a directory that is gone with the mount.
pub(super) fn own_store(environment: &Environment, store: &Path) -> Result<Option<tempfile::TempDir>, CommandError> {
    let place = if store.exists() { Some(store) } else { store.parent() };
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    match place.map(|place| access(place, wanted)) {
        Some(Err(Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {}
        _ => return Ok(None),
    }
    let place = environment.temp_dir();
    let made = tempfile::Builder::new().prefix(STORE_PREFIX).tempdir_in(&place);
    made.map(Some)
        .map_err(|error| CommandError::failed(PathError::on("create a directory in", &place)(error)))
}

fn is_used(scratch: &Path) -> bool {
    let lock = scratch.join("work.lock");
    lock.exists() && !matches!(FileLock::try_exclusive(&lock), Ok(Some(_)))
}

fn work(directory: &Path) -> PathBuf {
    directory.join("work")
}

fn upper_in(directory: &Path, subject: &Subject, image: Option<&Image>) -> Result<Upper, CommandError> {
    let snapshot =
        Snapshot::open(&subject.snapshot).map_err(|error| CommandError::failed(&error).hint(error.hint()))?;
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

fn make_private(directory: &Path) -> Result<(), CommandError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| CommandError::failed(PathError::on("create", directory)(error)))
}

/// `name` if it is one plain component, so that it stays below its directory.
fn plain(name: &str) -> Result<&str, CommandError> {
    if Path::new(name).file_name() == Some(OsStr::new(name)) && !name.starts_with('.') {
        return Ok(name);
    }
    Err(CommandError::usage(format!(
        "{name:?} cannot be a name: it must be one file name that does not start with a dot"
    )))
}
