//! What the end-to-end tests share.
#![allow(dead_code)] // each test binary uses a part of it

pub mod qemu;
pub mod server;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test with directories of its own.
pub struct Oic {
    /// `--cache-dir`.
    pub cache_dir: PathBuf,
    /// `--work-dir`.
    pub work_dir: PathBuf,
}

impl Oic {
    /// Uses the package cache that all end-to-end tests share and a work directory named `name`, emptied.
    pub fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let oic = Self {
            cache_dir: root.join("cache"),
            work_dir: root.join("work").join(name),
        };
        oic::durable::remove_tree(&oic.work_dir).unwrap();
        std::fs::create_dir_all(&oic.work_dir).unwrap();
        oic
    }

    /// A command line with the directories and nothing of the user's environment but PATH.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oic"));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
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
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
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

    /// A place to mount something on.
    pub fn new(oic: &Oic, name: &str) -> Self {
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

/// How a run ended.
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// From a collected output.
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON on standard output; panics with all output if the run failed.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Panics unless the run failed with `code` and a message that has all of `words`.
    #[track_caller]
    pub fn assert_fails(&self, code: i32, words: &[&str]) {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// Runs a foreign tool; panics unless it succeeds. Returns its standard output.
#[track_caller]
pub fn tool(program: &str, args: &[impl AsRef<OsStr>]) -> String {
    let output = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed (scripts/host-packages test installs it): {error}"));
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{program}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout.into_owned()
}
