//! What the tests share: the server's side, mounting, running programs.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oic::mount::kernel::{self, OverlaySpec, Upper};
use oic::mount::server::{Lifetime, OpenFailure, Opened, Tenant, child_main};
use oic::mount::session::{self, MountRequest, View};
use oic::mount::{Attached, Engine, MountError, Restrictions};
use oic::overlay::layer::{Errno, Layer, LayerError, Timestamp};
use oic::package::ResolvedPackage;
use oic::pool::{PackageSource, PoolLayer};
use serde::{Deserialize, Serialize};

use crate::memory::MemoryLayer;

/// The mount server.
pub fn serve() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    child_main::<TestLayers>()
}

/// What the tests have served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestLayers {
    /// A directory, or `files:` and a number of files.
    pub base: Option<PathBuf>,
    pub pool: Option<TestPool>,
}

/// Packages, each with its stanza.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestPool {
    pub directory: PathBuf,
    pub packages: Vec<(ResolvedPackage, String)>,
}

/// Statistics that show that they cross.
#[derive(Debug, Serialize, Deserialize)]
pub struct TestStats {
    pub inflated_bytes: u64,
}

impl Tenant for TestLayers {
    type Stats = TestStats;

    fn open(self) -> Result<Opened<TestStats>, OpenFailure> {
        let mut layers: Vec<(String, Arc<dyn Layer>)> = Vec::new();
        if let Some(directory) = &self.base {
            layers.push(("base".to_owned(), Arc::new(base(directory)?)));
        }
        if let Some(TestPool { directory, packages }) = self.pool {
            let joined = |(package, stanza)| ResolvedPackage { stanza, ..package };
            let packages: Vec<_> = packages.into_iter().map(joined).collect();
            let source = Arc::new(DirectorySource(directory));
            let pool = PoolLayer::new(&packages, Timestamp::default(), source).map_err(|error| OpenFailure {
                message: error.to_string(),
                hint: None,
            })?;
            layers.push(("pool".to_owned(), Arc::new(pool)));
        }
        Ok(Opened {
            layers,
            stats: Box::new(|| TestStats { inflated_bytes: 7 }),
            finish: Box::new(|| ()),
        })
    }
}

fn base(directory: &Path) -> Result<MemoryLayer, OpenFailure> {
    if let Some(count) = directory.to_str().and_then(|path| path.strip_prefix("files:")) {
        return Ok(MemoryLayer::with_files(count.parse().unwrap()));
    }
    if !directory.exists() {
        return Err(OpenFailure {
            message: format!("{} does not exist", directory.display()),
            hint: Some("make it first".into()),
        });
    }
    Ok(MemoryLayer::from_directory(directory))
}

/// Package files of a directory; every opening leaves a line in its file `log`.
#[derive(Debug)]
struct DirectorySource(PathBuf);

impl PackageSource for DirectorySource {
    fn open(&self, package: &ResolvedPackage) -> Result<File, LayerError> {
        let mut log = File::options()
            .append(true)
            .create(true)
            .open(self.0.join("log"))
            .unwrap();
        writeln!(log, "{}", package.name).unwrap();
        thread::sleep(Duration::from_millis(200));
        File::open(self.0.join(package.file_name())).map_err(|error| {
            LayerError::new(
                Errno::IO,
                format!("package {}: the mirror does not answer: {error}", package.name),
            )
        })
    }
}

/// A base made of this directory.
pub fn layers(directory: impl AsRef<Path>) -> TestLayers {
    TestLayers {
        base: Some(directory.as_ref().to_owned()),
        pool: None,
    }
}

/// A pool of these packages, whose files are in this directory.
pub fn pool(directory: &Path, packages: Vec<ResolvedPackage>) -> TestPool {
    let with_stanza = |package: ResolvedPackage| {
        let stanza = package.stanza.clone();
        (package, stanza)
    };
    TestPool {
        directory: directory.to_owned(),
        packages: packages.into_iter().map(with_stanza).collect(),
    }
}

/// A mount of the tests' layers.
pub type Session = session::Session<TestLayers>;

/// A request with the defaults of the tests: everything allowed, ends with us.
pub fn request(layers: TestLayers, view: View) -> MountRequest<TestLayers> {
    MountRequest {
        restrictions: Restrictions::BUILD,
        allow_other: true,
        lifetime: Lifetime::Caller,
        view,
        ..MountRequest::view(layers, "")
    }
}

/// A directory for a test: `base` to be filled, `mnt` to mount at, `upper` and `work` for an upper.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::named("oic mount,:\\test")
    }

    /// For programs that do not take every name.
    pub fn named(prefix: &str) -> Self {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
        for name in ["base", "mnt", "cache"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn base(&self) -> PathBuf {
        self.path("base")
    }

    pub fn mnt(&self) -> PathBuf {
        self.path("mnt")
    }

    /// Lets other users in.
    pub fn open_to_all(self) -> Self {
        for name in ["", "base", "mnt"] {
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        self
    }

    /// Mounts the kernel's overlayfs over the base itself, without a layer of oic.
    pub fn mount_plain_overlay(&self) -> Attached {
        let upper = self.upper(false);
        upper.prepare(&self.base()).unwrap();
        let spec = OverlaySpec {
            lower: vec![self.base()],
            upper: Some(upper),
            restrictions: Restrictions::BUILD,
        };
        kernel::mount(&spec, &self.mnt()).unwrap()
    }

    pub fn upper(&self, volatile: bool) -> Upper {
        Upper {
            directory: self.path("upper"),
            work: self.path("work"),
            volatile,
            base: "test".to_owned(),
        }
    }

    /// Mounts the base alone.
    pub fn mount_base(&self) -> Session {
        let view = View::Layer("base".to_owned());
        session::mount(&request(layers(self.base()), view), &self.mnt()).unwrap()
    }

    /// Mounts the base with an upper.
    pub fn mount_overlay(&self, volatile: bool) -> Result<Session, MountError> {
        self.mount_with(self.upper(volatile))
    }

    /// Mounts the base with an upper by this engine.
    pub fn mount_by(&self, engine: Engine, volatile: bool) -> Result<Session, MountError> {
        let request = MountRequest {
            engine,
            ..MountRequest::build(layers(self.base()), self.upper(volatile))
        };
        session::mount(&request, &self.mnt())
    }

    /// Mounts the base with this upper.
    pub fn mount_with(&self, upper: Upper) -> Result<Session, MountError> {
        session::mount(&MountRequest::build(layers(self.base()), upper), &self.mnt())
    }
}

fn output(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(arguments[0])
        .args(&arguments[1..])
        .current_dir(directory)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{} (is its package installed?): {error}", arguments[0]))
}

/// Runs a program in `directory` and gives all that it printed, whether it succeeds or not.
pub fn try_run(directory: &Path, arguments: &[&str]) -> String {
    let output = output(directory, arguments);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Runs a program in `directory` and gives its standard output.
pub fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = output(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {} {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z')))
}
