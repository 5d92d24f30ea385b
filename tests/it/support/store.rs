//! A cache and a work directory as builds leave them, small and made up, and the program over them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use oic::cache::PackageCache;
use oic::layer::Below;
use oic::package::{ResolvedPackage, Sha256};
use oic::resolve::lockfile::{LockedRepository, Lockfile, Steps};
use oic::snapshot::{self, WriteOptions};
use oic::workspace::{ImageBuild, Workspace};

use oic_testkit::{Finished, tool};

use super::program::Oic;

pub const PROVIDER: &str = "debian-debian13-x86_64";
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// The two directories; removed when dropped.
pub struct Fixture {
    directory: tempfile::TempDir,
    oic: Oic,
}

impl Fixture {
    /// Empty.
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let oic = Oic {
            cache_dir: directory.path().join("cache"),
            work_dir: directory.path().join("work"),
        };
        fs::create_dir(&oic.cache_dir).unwrap();
        fs::create_dir(&oic.work_dir).unwrap();
        Self { directory, oic }
    }

    /// With three packages, a base, and an image that needs the first.
    pub fn full() -> Self {
        let fixture = Self::new();
        let packages: Vec<_> = ["one", "two", "three"]
            .map(|name| fixture.package(name, 50_000))
            .to_vec();
        fixture.remember(&packages);
        fixture.base();
        fixture.image("edge", &packages[..1]);
        for lock in [fixture.workspace().cache_lock(), fixture.workspace().work_lock()] {
            fs::write(lock, "").unwrap();
        }
        fixture
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn cache(&self) -> &Path {
        &self.oic.cache_dir
    }

    pub fn work(&self) -> &Path {
        &self.oic.work_dir
    }

    pub fn workspace(&self) -> Workspace {
        Workspace::new(self.cache(), self.work(), PROVIDER)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.oic.command(args)
    }

    pub fn run(&self, args: &[&str]) -> Finished {
        self.oic.run(args)
    }

    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        self.run(&[args, &["--format", "json"]].concat()).json()
    }

    /// The output with the directories' names and all sizes left out.
    pub fn plain(&self, text: &str) -> String {
        let text = text.replace(self.root().to_str().unwrap(), "ROOT");
        let sizes = regex::Regex::new(r" *\b\d+(\.\d+)? ([KMG]i)?B\b").unwrap();
        sizes.replace_all(&text, " SIZE").into_owned()
    }

    /// A package in the cache, whose content is not compressible.
    pub fn package(&self, name: &str, size: usize) -> ResolvedPackage {
        let bytes: Vec<u8> = Sha256::of(name).0.iter().cycle().copied().take(size).collect();
        let package = ResolvedPackage {
            name: name.to_owned(),
            version: "1:1.0-1".to_owned(),
            architecture: "amd64".to_owned(),
            repository: "test".to_owned(),
            path: format!("pool/{name}.deb"),
            size_bytes: size as u64,
            installed_size_bytes: 0,
            checksum: Sha256::of(&bytes).into(),
            stanza: String::new(),
        };
        let directory = self.workspace().package_cache().to_owned();
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(package.file_name()), bytes).unwrap();
        package
    }

    pub fn path_of(&self, package: &ResolvedPackage) -> PathBuf {
        self.workspace().package_cache().join(package.file_name())
    }

    /// Verifies the packages as a build does, which puts their digests on record.
    pub fn remember(&self, packages: &[ResolvedPackage]) {
        let cache = PackageCache::open(self.cache(), PROVIDER).unwrap();
        for package in packages {
            cache.lookup(package).unwrap();
        }
    }

    /// A snapshot of a small tree.
    pub fn base(&self) {
        let tree = self.root().join("tree");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/hostname"), "base\n").unwrap();
        let noise: Vec<u8> = (0..80_000_u32).flat_map(|n| Sha256::of(n.to_le_bytes()).0).collect();
        fs::write(tree.join("etc/noise"), noise).unwrap();
        let workspace = self.workspace();
        fs::create_dir_all(workspace.chrootbuild()).unwrap();
        fs::create_dir_all(workspace.chrootenv()).unwrap();
        let options = WriteOptions::new(Sha256::of("key"));
        snapshot::write(&tree, &workspace.tarball(), &workspace.index(), &options).unwrap();
    }

    /// A finished build that needs `packages`.
    pub fn image(&self, name: &str, packages: &[ResolvedPackage]) -> ImageBuild {
        let build = self.workspace().image_build(name);
        fs::create_dir_all(build.upper().join("etc")).unwrap();
        fs::write(build.upper().join("etc/hostname"), "edge\n").unwrap();
        let below = Below {
            base: Sha256::of("key"),
            layers: Vec::new(),
        };
        below.write(&build.below()).unwrap();
        let raw = File::create(build.directory().join("edge-13.raw")).unwrap();
        raw.set_len(64 << 20).unwrap();
        (&raw).write_all(&[1; 8192]).unwrap();
        let lockfile = Lockfile {
            provider: PROVIDER.to_owned(),
            repositories: vec![LockedRepository {
                id: "test".to_owned(),
                suite: "stable".to_owned(),
                codename: "stable".to_owned(),
                date: String::new(),
                digest: String::new(),
            }],
            requested: Vec::new(),
            packages: packages.to_vec(),
            steps: Steps::default(),
            recommended: Vec::new(),
            newest: None,
        };
        fs::write(build.lockfile(name), lockfile.to_json()).unwrap();
        build
    }

    /// What is there, by path below the root, with what tells a change.
    pub fn inventory(&self) -> Vec<(PathBuf, u64, i64)> {
        let (mut found, mut pending) = (Vec::new(), vec![self.cache().to_owned(), self.work().to_owned()]);
        while let Some(path) = pending.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            let relative = path.strip_prefix(self.root()).unwrap().to_owned();
            found.push((relative, metadata.size(), metadata.mtime()));
        }
        found.sort();
        found
    }
}

/// Makes `path` look as if it was last written this long ago.
pub fn age(path: &Path, age: Duration) {
    File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

/// Flips a bit in the middle of a file, in a way that leaves its times as they were.
pub fn damage(path: &Path) {
    use std::os::unix::fs::FileExt as _;
    let file = File::options().read(true).write(true).open(path).unwrap();
    let metadata = file.metadata().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, metadata.len() / 2).unwrap();
    file.write_all_at(&[byte[0] ^ 4], metadata.len() / 2).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
}

/// Returns the bytes on disk of all below `path`, as du(1) counts them.
pub fn du(path: &Path) -> u64 {
    let text = tool("du", &["-s".as_ref(), "--block-size=1".as_ref(), path.as_os_str()]);
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns whether there is anything at `path`, also a dead link.
pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}
