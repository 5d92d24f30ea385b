//! Bad input and bad luck: each ends with a message that names the culprit, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::mirror;
use crate::support::program::{INTERRUPTED_WITHIN, Oic, own_mounts};
use crate::support::tiny::{Tiny, provider_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oic_testkit::server::Server;
use oic_testkit::{Finished, Steps, tool};

const SAMPLE: &str = "debian13-x86_64-minimal";

/// A template below `directory` whose `systemConfig` has `packages`, and `rest` at the top level.
fn template(directory: &Path, packages: &str, rest: &str) -> PathBuf {
    let path = directory.join("template.yml");
    let text = format!(
        "image:\n  name: broken\n  version: \"1.0\"\n\
         target:\n  os: debian\n  dist: debian13\n  arch: x86_64\n  imageType: raw\n\
         systemConfig:\n  name: broken\n  packages: [{packages}]\n  kernel:\n    packages: [linux-image-cloud-amd64]\n{rest}"
    );
    fs::write(&path, text).unwrap();
    path
}

fn build(oic: &Oic, template: &Path, more: &[&str]) -> Finished {
    let mut args = vec!["build".as_ref(), template.as_os_str()];
    args.extend(more.iter().map(std::convert::AsRef::<std::ffi::OsStr>::as_ref));
    let finished = oic.run(&args);
    oic.assert_clean();
    finished
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let oic = Oic::new("unknown-field");
    let path = template(&oic.work_dir, "sudo", "hostnam: x\n");
    build(&oic, &path, &[]).assert_fails(1, &["template.yml:14:1", "hostnam"]);
}

#[test]
fn an_unknown_package_is_named() {
    let oic = Oic::new("unknown-package");
    let path = template(&oic.work_dir, "sudoo", "");
    build(&oic, &path, &[]).assert_fails(1, &["sudoo"]);
}

#[test]
fn an_unreachable_mirror_is_named() {
    let oic = Oic::new("unreachable");
    let path = template(&oic.work_dir, "sudo", "");
    // Nothing listens on the discard port of the loopback address.
    let finished = build(&oic, &path, &["--mirror", "http://127.0.0.1:9/debian"]);
    finished.assert_fails(1, &["127.0.0.1:9", "--mirror"]);
}

#[test]
fn offline_without_a_cache_says_what_is_missing() {
    let oic = Oic::new("offline");
    let path = template(&oic.work_dir, "sudo", "");
    build(&oic, &path, &["--offline"]).assert_fails(1, &["offline", "trixie"]);
}

#[test]
fn a_tampered_in_release_is_refused() {
    let oic = Oic::new("tampered");
    let tampered =
        String::from_utf8(mirror::in_release("trixie"))
            .unwrap()
            .replacen("Origin: Debian", "Origin: Debiam", 1);
    let server = Server::with(move |path| path.ends_with("/InRelease").then(|| tampered.clone().into_bytes()));
    let path = template(&oic.work_dir, "sudo", "");
    let finished = build(&oic, &path, &["--mirror", &format!("{}/debian", server.url(""))]);
    finished.assert_fails(1, &["trixie", "signature"]);
}

/// A repository `local` signed by a key of our own, whose Release says `fields`; returns it with the public key.
struct OwnRepository {
    server: Server,
    key: PathBuf,
    _home: tempfile::TempDir,
}

impl OwnRepository {
    fn new(fields: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let gpg = |args: &[&str]| {
            let mut all = vec![
                "--homedir",
                home.path().to_str().unwrap(),
                "--batch",
                "--quiet",
                "--passphrase",
                "",
            ];
            all.extend(args);
            tool("gpg", &all)
        };
        gpg(&[
            "--quick-gen-key",
            "oic test <test@oic.invalid>",
            "ed25519",
            "sign",
            "never",
        ]);
        let key = home.path().join("key.asc");
        gpg(&["--armor", "--output", key.to_str().unwrap(), "--export"]);
        let packages = oic::package::Sha256::of("");
        let release = format!(
            "Suite: local\nCodename: local\nArchitectures: amd64\nComponents: main\n{fields}\
             SHA256:\n {packages} 0 main/binary-amd64/Packages\n"
        );
        let (plain, signed) = (home.path().join("Release"), home.path().join("InRelease"));
        fs::write(&plain, release).unwrap();
        gpg(&[
            "--clear-sign",
            "--output",
            signed.to_str().unwrap(),
            plain.to_str().unwrap(),
        ]);
        let signed = fs::read(signed).unwrap();
        let server = Server::with(move |path| match path {
            "/local/dists/local/InRelease" => Some(signed.clone()),
            "/local/dists/local/main/binary-amd64/Packages" => Some(Vec::new()),
            _ => None,
        });
        tool(
            "gpgconf",
            &["--homedir", home.path().to_str().unwrap(), "--kill", "all"],
        );
        Self {
            server,
            key,
            _home: home,
        }
    }

    fn template_section(&self, key: &Path) -> String {
        let (url, key) = (self.server.url(""), key.display());
        format!(
            "packageRepositories:\n  - codename: local\n    url: {url}/local\n    pkey: {key}\n    component: main\n"
        )
    }
}

#[test]
fn an_expired_release_is_refused() {
    let oic = Oic::new("expired");
    let repository =
        OwnRepository::new("Date: Sat, 01 Mar 2025 00:00:00 UTC\nValid-Until: Sat, 08 Mar 2025 00:00:00 UTC\n");
    let path = template(&oic.work_dir, "sudo", &repository.template_section(&repository.key));
    build(&oic, &path, &[]).assert_fails(1, &["local", "Valid-Until"]);
}

#[test]
fn a_release_by_an_unknown_key_is_refused() {
    let oic = Oic::new("unknown-key");
    let (signer, other) = (
        OwnRepository::new("Date: Sat, 01 Mar 2025 00:00:00 UTC\n"),
        OwnRepository::new(""),
    );
    let path = template(&oic.work_dir, "sudo", &signer.template_section(&other.key));
    build(&oic, &path, &[]).assert_fails(1, &["local", "key"]);
}

#[test]
fn no_space_left_is_said_and_nothing_stays() {
    let oic = Oic::new("no-space");
    let small = Mounted::tmpfs(&oic.work_dir.join("small"), "size=40m");
    let cramped = Oic {
        cache_dir: oic.cache_dir.clone(),
        work_dir: small.0.join("work"),
    };
    let path = template(&oic.work_dir, "sudo", "");
    let finished = cramped.run(&["build".as_ref(), path.as_os_str()]);
    finished.assert_fails(1, &["space", "small"]);
    let left = tool("find", &[small.0.to_str().unwrap(), "-name", ".oic-tmp-*"]);
    assert_eq!(left, "");
}

#[test]
fn a_package_that_is_gone_is_named_and_the_base_that_was_made_meanwhile_stays() {
    let tiny = Tiny::new("gone");
    let [cache, work, poor_cache, poor] =
        ["cache", "work", "poor-cache", "poor"].map(|name| tiny.oic.work_dir.join(name));
    let report = tiny.build([&cache, &work]).json();
    let lockfile = report["lockfile"].as_str().unwrap();
    let [packages, poor_packages] = [&cache, &poor_cache].map(|cache| provider_dir(&cache.join("pkgCache")));
    fs::create_dir_all(&poor_packages).unwrap();
    for entry in fs::read_dir(packages).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".deb") && !name.starts_with("hello_") {
            fs::copy(entry.path(), poor_packages.join(name)).unwrap();
        }
    }
    let server = Server::with(|_| None);
    let mirror = format!("{}/debian", server.url(""));
    let template = tiny.template.to_str().unwrap();
    let args = ["build", template, "--lock", lockfile, "--mirror", &mirror];
    let failed = tiny.run(&args, [&poor_cache, &poor]);
    failed.assert_fails(1, &["1 packages of the lockfile are not at their mirrors", "hello"]);
    assert!(provider_dir(&poor).join("chrootbuild/chrootenv.tar.gz").exists());
    let verified = tiny.run(&["cache", "verify", "--format", "json"], [&poor_cache, &poor]);
    let verified = verified.json();
    assert!(verified["members"].as_u64() > Some(1), "{verified:#}");
    tiny.oic.assert_clean();
}

/// A mount of the test's own, undone when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Self {
        own_mounts();
        fs::create_dir_all(at).unwrap();
        tool("mount", &["-t", "tmpfs", "-o", options, "none", at.to_str().unwrap()]);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        tool("umount", &[&self.0]);
    }
}

#[test]
fn without_root_it_says_so() {
    let oic = Oic::new("not-root");
    let directory = tempfile::tempdir().unwrap();
    tool("chmod", &["755".as_ref(), directory.path().as_os_str()]);
    let program = directory.path().join("oic");
    fs::copy(env!("CARGO_BIN_EXE_oic"), &program).unwrap();
    let output = std::process::Command::new(&program)
        .args(["build", SAMPLE, "--work-dir"])
        .args([&oic.work_dir])
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .output()
        .unwrap();
    Finished::of(&output).assert_fails(1, &["root"]);
}

/// Starts a build of the sample, waits until its log tells that `task` begins (or, without one, a moment), and
/// sends `signals`, one every few milliseconds. Returns the exit code and how long the build took to end.
fn struck(oic: &Oic, task: Option<&str>, signals: &[Signal]) -> (Option<i32>, Duration) {
    let log = oic.provider_dir().join("imagebuild/minimal/build.log");
    let _ = fs::remove_file(&log);
    // The plain SHA-256 reads the whole disk, holes too: the last task lasts long enough to be struck.
    let mut command = oic.command(&["build", SAMPLE, "--sha256"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begins = task.map(|task| format!("=== {task}\n"));
    let has_begun = |begins: &str| fs::read_to_string(&log).is_ok_and(|text| text.contains(begins));
    while begins.as_deref().is_some_and(|begins| !has_begun(begins)) {
        assert!(child.try_wait().unwrap().is_none(), "the build ended before {task:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    let mut rest = signals.iter();
    let status = loop {
        if let Some(signal) = rest.next() {
            kill(Pid::from_raw(child.id().try_into().unwrap()), *signal).unwrap();
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    (status.code(), begun.elapsed())
}

/// One test, since every part begins where the one before was stopped.
#[test]
fn a_build_may_be_interrupted_or_killed_anywhere_and_the_next_one_recovers() {
    let oic = Oic::new("interrupted");
    let mut steps = Steps::new();
    let many = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].repeat(200);
    steps.check("before any task", || ends_soon(&oic, None, &[Signal::SIGINT]));
    for task in ["Configure base", "Install"] {
        let signal = if task == "Install" {
            Signal::SIGINT
        } else {
            Signal::SIGTERM
        };
        steps.check(task, || ends_soon(&oic, Some(task), &[signal]));
        steps.check("further signals change nothing", || ends_soon(&oic, Some(task), &many));
        steps.check("killed", || a_killed_build_leaves_no_mount(&oic, task));
    }
    // The terminal, or the connection to it, was closed.
    for task in [Some("Install"), None] {
        steps.check("hangup", || ends_soon(&oic, task, &[Signal::SIGHUP]));
    }
    steps.check("Write partitions", || {
        ends_soon(&oic, Some("Write partitions"), &[Signal::SIGINT])
    });
    let last = "SHA-256 of the image";
    steps.check(last, || ends_soon(&oic, Some(last), &[Signal::SIGTERM]));
    steps.check("the next one", || {
        let report = oic.run(&["build", SAMPLE, "--format", "json"]).json();
        assert!(report["image"]["size_bytes"].as_u64() > Some(0));
        oic.assert_clean();
    });
}

fn ends_soon(oic: &Oic, task: Option<&str>, signals: &[Signal]) {
    let (code, took) = struck(oic, task, signals);
    assert_eq!(code, Some(130), "during {task:?}");
    assert!(took < INTERRUPTED_WITHIN, "took {took:?} during {task:?}");
    oic.assert_clean();
}

fn a_killed_build_leaves_no_mount(oic: &Oic, task: &str) {
    struck(oic, Some(task), &[Signal::SIGKILL]);
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains(oic.work_dir.to_str().unwrap()), "{mounts}");
}
