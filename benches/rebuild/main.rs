//! Repeated builds, scenario by scenario, against `cp --sparse=always` of the image (the floor), mmdebstrap +
//! `mke2fs -d`, and mkosi where it is installed.
//!
//! `cargo bench --bench rebuild` needs root, a mirror for the first run, and mmdebstrap, e2fsprogs and dpkg-dev. Afterwards
//! everything is offline. Scenarios are interleaved, `OIC_BENCH_RUNS` (5) times; medians and ratios are printed. Every
//! image that a scenario makes is compared with the same one built from scratch.
//!
//! [`content`] has the scenarios that show that a build costs what its content costs: one image in disks of three sizes,
//! and the `.gz` alone. `OIC_BENCH_DESKTOP=1` adds a desktop image, which fetches some 600 packages for the first run.
//!
//! mkosi makes a disk of one ext4 partition with the same kernel and an initrd, but no ESP: it would mount that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

mod content;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

const PROVIDER: &str = "debian-debian13-x86_64";
const SECOND: &str = "debian13-x86_64-edge";
/// Five packages that have only files.
const FIVE: &str = "sudo, tree, xxd, jq, zip, unzip";

fn main() {
    let runs = std::env::var("OIC_BENCH_RUNS").map_or(5, |text| text.parse().expect("OIC_BENCH_RUNS is a number"));
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-rebuild");
    fs::create_dir_all(&root).unwrap();
    let bench = Bench { root };
    let mut times: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    bench.prepare();
    if let Some(full) = bench.mkosi_full() {
        times.insert("mkosi full", vec![full]);
    }
    for run in 0..runs {
        bench.round(run, &mut |name, time| times.entry(name).or_default().push(time));
    }
    report(&times, runs);
    content::compare(&bench, runs);
    bench.bytes_written();
    bench.compare_with_scratch();
    oic::durable::remove_tree(&bench.root.join("work")).unwrap();
    oic::durable::remove_tree(&bench.root.join("cold")).unwrap();
    oic::durable::remove_tree(&bench.root.join("peer")).unwrap();
}

struct Bench {
    root: PathBuf,
}

impl Bench {
    /// The template of the scenarios.
    fn template(&self, packages: &str, hostname: &str, user: &str, greeting: &str) -> PathBuf {
        let (path, file) = (self.root.join("template.yml"), self.root.join("greeting"));
        fs::write(&file, greeting).unwrap();
        let text = format!(
            "image: {{name: rebuild, version: \"1\"}}\n\
             target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}\n\
             disk: {{name: d, size: 2GiB}}\n\
             systemConfig:\n  name: rebuild\n  hostname: {hostname}\n  packages: [{packages}]\n\
             \x20 users: [{{name: {user}, password: \"secret\", sudo: true}}]\n\
             \x20 additionalFiles: [{{local: {}, final: /etc/greeting}}]\n\
             \x20 configurations: [{{cmd: systemctl enable systemd-networkd.service}}]\n\
             \x20 kernel: {{packages: [linux-image-cloud-amd64]}}\n",
            file.display()
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn oic(&self, work: &str, templates: &[&OsStr], more: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oic"));
        command
            .arg("build")
            .args(templates)
            .args(more)
            .args(["--format", "json"]);
        command.arg("--cache-dir").arg(self.root.join("cache"));
        command.arg("--work-dir").arg(self.root.join(work));
        serde_json::from_slice(&run(&command)).unwrap()
    }

    /// One build in the warm work directory.
    fn warm(&self, template: &Path) -> Value {
        self.oic("work", &[template.as_os_str()], &["--offline"])
    }

    /// Caches all packages, and makes the peer's repository of them.
    fn prepare(&self) {
        for packages in [FIVE, "sudo"] {
            let template = self.template(packages, "one", "ann", "hello");
            self.oic("work", &[template.as_os_str()], &[]);
        }
        self.oic("work", &[OsStr::new(SECOND)], &[]);
        let peer = self.root.join("peer");
        oic::durable::remove_tree(&peer).unwrap();
        fs::create_dir_all(peer.join("repository")).unwrap();
        let cache = self.root.join("cache/pkgCache").join(PROVIDER);
        let mut scan = Command::new("dpkg-scanpackages");
        scan.args(["--multiversion", "."]).current_dir(&cache);
        let scanned = scan
            .stderr(Stdio::null())
            .output()
            .expect("the package dpkg-dev is needed");
        fs::write(peer.join("repository/Packages"), scanned.stdout).unwrap();
        for entry in fs::read_dir(cache).unwrap() {
            let path = entry.unwrap().path();
            if path.extension() == Some(OsStr::new("deb")) {
                fs::hard_link(&path, peer.join("repository").join(path.file_name().unwrap())).unwrap();
            }
        }
    }

    /// Every scenario once.
    fn round(&self, run: usize, record: &mut dyn FnMut(&'static str, Duration)) {
        let nth = |text: &str| format!("{text}{run}");
        let base = || self.template("sudo", "one", "ann", "hello");
        let built = self.warm(&base());
        let image = PathBuf::from(built["image"]["path"].as_str().unwrap());
        record("cp", time(|| drop(copy(&image, &self.root.join("copy.raw")))));
        record("same", time(|| drop(self.warm(&base()))));
        if self.root.join("mkosi/image.raw").exists() {
            record("mkosi", time(|| self.mkosi()));
        }
        let file = self.template("sudo", "one", "ann", &nth("hello"));
        record("file", time(|| drop(self.warm(&file))));
        let hostname = self.template("sudo", &nth("host"), "ann", "hello");
        record("hostname", time(|| drop(self.warm(&hostname))));
        let user = self.template("sudo", "one", &nth("user"), "hello");
        record("user", time(|| drop(self.warm(&user))));
        self.forget("tree");
        let five = self.template(FIVE, "one", "ann", "hello");
        record("five", time(|| drop(self.warm(&five))));
        self.forget("sshd");
        record(
            "second",
            time(|| drop(self.oic("work", &[OsStr::new(SECOND)], &["--offline"]))),
        );

        let cold = |templates: &[&OsStr]| {
            oic::durable::remove_tree(&self.root.join("cold")).unwrap();
            time(|| drop(self.oic("cold", templates, &["--offline"])))
        };
        record("second cold", cold(&[OsStr::new(SECOND)]));
        let first = base();
        record("two at once", cold(&[first.as_os_str(), OsStr::new(SECOND)]));
        record("cold", cold(&[first.as_os_str()]));
        let packages = packages(&built);
        record("mmdebstrap", time(|| self.mmdebstrap_and_mke2fs(&packages)));
    }

    /// Removes the layers of packages that have `/usr/{bin,sbin}/{program}`.
    fn forget(&self, program: &str) {
        let layers = self.root.join("work").join(PROVIDER).join("chrootbuild/layers");
        for entry in fs::read_dir(layers).unwrap() {
            let layer = entry.unwrap().path();
            let has = |directory: &str| layer.join("tree/usr").join(directory).join(program).exists();
            if has("bin") || has("sbin") {
                oic::durable::remove_tree(&layer).unwrap();
            }
        }
    }

    fn mmdebstrap_and_mke2fs(&self, packages: &[String]) {
        let peer = self.root.join("peer");
        let (tree, image) = (peer.join("tree"), peer.join("image.raw"));
        oic::durable::remove_tree(&tree).unwrap();
        oic::durable::remove_tree(&image).unwrap();
        let mut bootstrap = Command::new("mmdebstrap");
        bootstrap
            .args(["--variant=custom", "--mode=root", "--format=directory"])
            .arg(format!("--include={}", packages.join(",")))
            .arg("trixie")
            .arg(&tree)
            .arg(format!(
                "deb [trusted=yes] copy://{} ./",
                peer.join("repository").display()
            ));
        run(&bootstrap);
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&image).arg("2G");
        run(&make);
    }

    /// The first build of mkosi, which fills its cache; `None` where it is not installed.
    fn mkosi_full(&self) -> Option<Duration> {
        Command::new("mkosi").arg("--version").output().ok()?;
        let directory = self.root.join("mkosi");
        oic::durable::remove_tree(&directory).unwrap();
        fs::create_dir_all(directory.join("cache")).unwrap();
        Some(time(|| self.mkosi()))
    }

    /// A build of mkosi upon the one before.
    fn mkosi(&self) {
        let mut targets = Command::new("apt-get");
        targets.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
        let mirrors = String::from_utf8(run(&targets)).unwrap();
        let mirror = mirrors.lines().next().expect("apt has a mirror");
        let mut build = Command::new("mkosi");
        build
            .args(["--distribution", "debian", "--release", "trixie", "--mirror", mirror])
            .args(["--format", "gpt_ext4", "--root-size", "2G", "--with-docs", "yes"])
            .args(["--package", "linux-image-cloud-amd64,initramfs-tools,sudo"])
            .args([
                "--incremental",
                "yes",
                "--force",
                "--cache",
                "cache",
                "--output",
                "image.raw",
            ])
            .arg("--directory")
            .arg(self.root.join("mkosi"))
            .arg("build");
        run(&build);
    }

    /// What a build writes to disk in which one small thing changed, and one in which nothing did.
    fn bytes_written(&self) {
        let build = |hostname: &str| {
            let template = self.template("sudo", hostname, "ann", "hello");
            let before = written_bytes();
            let report = self.warm(&template);
            let data = report["image"]["data_bytes"].as_u64().unwrap();
            (written_bytes() - before) as f64 / data as f64
        };
        build("one");
        println!(
            "\nwritten to disk, of the image's data (aim 1.2): {:.3} if the hostname changed, {:.3} if nothing did",
            build("another"),
            build("another")
        );
    }

    /// A number without the same bytes means nothing.
    fn compare_with_scratch(&self) {
        for packages in ["sudo", FIVE] {
            let template = self.template(packages, "one", "ann", "hello");
            let warm = self.warm(&template);
            let scratch = self.oic("cold", &[template.as_os_str()], &["--offline", "--from-scratch"]);
            assert_eq!(
                warm["image"]["digest"], scratch["image"]["digest"],
                "packages: {packages}"
            );
        }
        println!("\nall images are the same as built from scratch");
    }
}

/// `name=version` of every package of the image.
fn packages(report: &Value) -> Vec<String> {
    let lock = fs::read(report["lockfile"].as_str().unwrap()).unwrap();
    let lock: Value = serde_json::from_slice(&lock).unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    let packages = lock["packages"].as_array().unwrap().iter();
    packages
        .map(|package| format!("{}={}", text(package, "name"), text(package, "version")))
        .collect()
}

fn report(times: &BTreeMap<&'static str, Vec<Duration>>, runs: usize) {
    let median = |name: &str| {
        let mut values = times[name].clone();
        values.sort();
        values[values.len() / 2].as_secs_f64()
    };
    let rows = [
        ("the same template again", "same", "cp", 2.0),
        ("the same template again", "same", "mkosi", 0.1),
        ("one additional file changed", "file", "cp", 3.0),
        ("the hostname changed", "hostname", "cp", 3.0),
        ("one user changed", "user", "cp", 3.0),
        ("five small packages added", "five", "cp", 5.0),
        ("another template", "second", "second cold", 0.2),
        ("two templates at once", "two at once", "cold", 1.6),
        ("cold, packages cached", "cold", "mmdebstrap", 0.6),
    ];
    println!(
        "median of {runs} interleaved runs\n{:<32} {:>8} {:>14} {:>8} {:>8}",
        "", "seconds", "against", "ratio", "aim"
    );
    for (name, value, against, aim) in rows {
        if !times.contains_key(against) {
            println!("{name:<32} {:>8} {against:>8} is not installed", "");
            continue;
        }
        let (value, other) = (median(value), median(against));
        println!(
            "{name:<32} {value:>8.2} {against:>8} {other:>5.2} {:>8.2} {aim:>8.2}",
            value / other
        );
    }
    for name in ["mmdebstrap", "mkosi full"]
        .into_iter()
        .filter(|name| times.contains_key(name))
    {
        println!("{name:<32} {:>8.2}", median(name));
    }
}

/// What the processes that have ended wrote to disk (getrusage(2), `ru_oublock`: units of 512 bytes).
fn written_bytes() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    u64::try_from(usage.block_writes()).unwrap() * 512
}

fn copy(from: &Path, to: &Path) -> Vec<u8> {
    let mut copy = Command::new("cp");
    copy.arg("--sparse=always").arg(from).arg(to);
    run(&copy)
}

/// A peer that hangs must not hang the benchmark: `timeout` (coreutils) ends it after ten minutes.
fn run(command: &Command) -> Vec<u8> {
    let mut limited = Command::new("timeout");
    limited.arg("600").arg(command.get_program()).args(command.get_args());
    let output = limited.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

/// How long `work` takes on a disk that has nothing left to do.
fn time(work: impl FnOnce()) -> Duration {
    nix::unistd::sync();
    let begun = Instant::now();
    work();
    begun.elapsed()
}
