//! The program under test, and the mounted trees of its images.
use std::cell::Cell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use oic::mount::namespace;
use oic_testkit::Finished;

use super::mirror;

/// The program under test with directories of its own.
pub struct Oic {
    /// `--cache-dir`.
    pub cache_dir: PathBuf,
    /// `--work-dir`.
    pub work_dir: PathBuf,
}

impl Oic {
    /// Names directories for the test `name`, and empties them.
    pub fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let oic = Self {
            cache_dir: root.join("cache").join(name),
            work_dir: root.join("work").join(name),
        };
        for directory in [&oic.cache_dir, &oic.work_dir] {
            oic::durable::remove_tree(directory).unwrap();
            std::fs::create_dir_all(directory).unwrap();
        }
        oic
    }

    /// Names an empty work directory of `name` beside the package cache of `self`.
    pub fn sharing_cache(&self, name: &str) -> Self {
        Self {
            cache_dir: self.cache_dir.clone(),
            ..Self::new(name)
        }
    }

    /// A command line with the directories and nothing of the user's environment but PATH; Debian's packages come
    /// from the [`mirror`] that all tests share.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        // The tests themselves may run under nohup(1): oic would ignore a hangup, too.
        let mut command = Command::new("/usr/bin/env");
        command
            .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_oic")])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .envs(mirror::variables());
        command
            .args(args)
            .arg("--cache-dir")
            .arg(&self.cache_dir)
            .arg("--work-dir")
            .arg(&self.work_dir);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[impl AsRef<OsStr>]) -> Finished {
        Finished::of(&self.command(args).output().unwrap())
    }

    /// The directory of the provider that the samples use.
    pub fn provider_dir(&self) -> PathBuf {
        self.work_dir.join("debian-debian13-x86_64")
    }

    /// The package cache of the provider that the samples use.
    pub fn package_cache(&self) -> PathBuf {
        self.cache_dir.join("pkgCache/debian-debian13-x86_64")
    }

    /// Panics if anything is mounted below the directories, or a temporary file was left.
    pub fn assert_clean(&self) {
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        for directory in [&self.cache_dir, &self.work_dir] {
            let name = directory.to_str().unwrap();
            let stale: Vec<_> = mounts.lines().filter(|line| line.contains(name)).collect();
            assert!(stale.is_empty(), "still mounted: {stale:#?}");
        }
        let left = Command::new("find")
            .args([&self.work_dir, &self.cache_dir])
            .args(["-name", ".oic-tmp-*", "-not", "-name", ".oic-tmp-part-*"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "temporary files were left");
    }
}

/// Gives the calling test a mount namespace of its own: what it mounts is gone with it, and no process of another
/// test keeps a copy of a mount that would then stay busy. Panics without root.
pub fn own_mounts() {
    thread_local!(static OWN: Cell<bool> = const { Cell::new(false) });
    // A second namespace would keep what servers of the first have mounted.
    if !OWN.replace(true) {
        namespace::enter_private().expect("this test needs root (CAP_SYS_ADMIN)");
    }
}

/// The longest that an interrupted build may take to clean up. Two seconds on an idle machine (docs/performance.md);
/// here other tests run beside it, so that this only tells cleaning up from finishing the stage.
pub const INTERRUPTED_WITHIN: Duration = Duration::from_secs(10);

/// The finished tree of an image, mounted; unmounted when dropped.
pub struct Shown {
    root: PathBuf,
}

impl Shown {
    /// What `oic mount --image` shows of the last build of `name`.
    pub fn image(oic: &Oic, provider: &str, name: &str) -> Self {
        Self::new(oic, name).mounted(oic, &[provider, "--image", name])
    }

    /// The same, with a writable layer that is thrown away.
    pub fn writable_image(oic: &Oic, provider: &str, name: &str) -> Self {
        Self::new(oic, name).mounted(oic, &[provider, "--image", name, "--tmp-upper"])
    }

    /// A place to mount something on, in a mount namespace of the test's own.
    pub fn new(oic: &Oic, name: &str) -> Self {
        own_mounts();
        let root = oic.work_dir.join(format!("shown-{name}"));
        std::fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    fn mounted(self, oic: &Oic, args: &[&str]) -> Self {
        let (subject, options) = args.split_first().unwrap();
        let mounted = oic.run(&[&["mount", subject, self.root.to_str().unwrap()], options].concat());
        assert_eq!(mounted.code, Some(0), "{}", mounted.stderr);
        self
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = oic::mount::session::unmount(&self.root, true);
    }
}
