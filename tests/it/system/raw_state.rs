//! The raw image is the state of a build: kept whether it is delivered or not, and the next build writes what differs.
//! What a build costs does not depend on the size of the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::program::own_mounts;
use crate::support::tiny::{Tiny, provider_dir};
use oic::workspace::ImageBuild;
use oic_testkit::{Finished, Steps, image_digest, tool};

/// The size of the disk.
const SIZE: &str = "2GiB";
const ZSTD: &str = "[{type: raw, compression: zstd}]";
/// The commands of two templates that differ in one file.
const ONE: &str = "  configurations: [{cmd: echo one > /etc/greeting}]\n";
const OTHER: &str = "  configurations: [{cmd: echo two > /etc/greeting}]\n";
const BOTH: &str = "[{type: raw}, {type: raw, compression: zstd}]";

/// The builds of one template, which changes.
struct Builds {
    tiny: Tiny,
    /// The text of the template without disk and settings.
    text: String,
}

impl Builds {
    fn new(name: &str) -> Self {
        let tiny = Tiny::new(name);
        let text = fs::read_to_string(&tiny.template).unwrap();
        Self { tiny, text }
    }

    fn directories(&self) -> [PathBuf; 2] {
        [self.tiny.oic.cache_dir.clone(), self.tiny.oic.work_dir.join("work")]
    }

    /// Writes the template, with `settings` at the end of `systemConfig`.
    fn set(&self, size: &str, artifacts: &str, settings: &str) {
        let disk = format!("disk: {{name: d, size: {size}, artifacts: {artifacts}}}\n");
        fs::write(&self.tiny.template, format!("{disk}{}{settings}", self.text)).unwrap();
    }

    fn try_in(&self, work: &Path, more: &[&str]) -> Finished {
        let args = [
            &["build", self.tiny.template.to_str().unwrap(), "--format", "json"],
            more,
        ]
        .concat();
        self.tiny.run(&args, [&self.directories()[0], work])
    }

    fn build(&self) -> (Value, String) {
        let built = self.try_in(&self.directories()[1], &[]);
        (built.json(), built.stderr)
    }

    /// Builds in an empty work directory, and returns the digest.
    fn scratch(&self) -> Value {
        let work = self.tiny.oic.work_dir.join("scratch");
        let _ = fs::remove_dir_all(&work);
        let built = self.try_in(&work, &["--from-scratch"]).json();
        built["image"]["digest"].clone()
    }

    fn output(&self) -> ImageBuild {
        ImageBuild::at(provider_dir(&self.directories()[1]).join("imagebuild/tiny"))
    }

    fn artifact(&self) -> PathBuf {
        self.output().directory().join("tiny-13.raw.zstd")
    }

    /// Compares the delivered files with the list of their digests.
    fn check_sums(&self) {
        let script = format!(
            "cd {} && sha256sum --strict -c SHA256SUMS",
            self.output().directory().display()
        );
        tool("sh", &["-c", &script]);
    }

    fn cache(&self, args: &[&str]) -> Finished {
        let [cache, work] = self.directories();
        self.tiny.run(&[&["cache"], args].concat(), [&cache, &work])
    }
}

fn written(report: &Value) -> u64 {
    report["image"]["written_bytes"].as_u64().unwrap()
}

/// One test, since each part needs what the one before made.
#[test]
fn an_image_that_is_not_delivered_is_the_start_of_the_next() {
    own_mounts();
    let mut steps = Steps::new();
    let builds = Builds::new("raw-state");
    let state = builds.output().image_state();
    let delivered = |report: &Value| report["image"]["is_delivered"].as_bool().unwrap();
    builds.set(SIZE, ZSTD, ONE);
    let (first, _) = builds.build();
    steps.check("kept", || {
        the_state_is_kept_and_the_artifact_is_the_image(&first, &state)
    });
    steps.check("nothing changed", || {
        let identity = || {
            let metadata = builds.artifact().metadata().unwrap();
            (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        };
        let before = identity();
        let (again, told) = builds.build();
        assert_eq!(identity(), before);
        assert_eq!(
            again["sums"],
            builds.artifact().with_file_name("SHA256SUMS").to_str().unwrap()
        );
        builds.check_sums();
        assert_eq!(
            (written(&again), &again["image"]["digest"]),
            (0, &first["image"]["digest"])
        );
        assert!(!told.contains("writes all"), "{told}");
    });
    steps.check("a file changed", || {
        builds.set(SIZE, ZSTD, OTHER);
        let (changed, _) = builds.build();
        assert!(written(&changed) < written(&first) / 4, "{changed}");
        assert_eq!(changed["image"]["digest"], builds.scratch());
        let other = provider_dir(&builds.tiny.oic.work_dir.join("scratch")).join("imagebuild/tiny/tiny-13.raw.zstd");
        tool("cmp", &[builds.artifact(), other]);
        builds.check_sums();
        assert_eq!(changed["image"]["digest"], image_digest::of(&state));
    });
    steps.check("delivered and not any more", || {
        let known = image_digest::of(&state);
        for artifacts in [BOTH, ZSTD] {
            builds.set(SIZE, artifacts, OTHER);
            let (report, _) = builds.build();
            assert_eq!((written(&report), delivered(&report)), (0, artifacts == BOTH));
            assert_eq!(
                (&report["image"]["digest"], state.exists()),
                (&known.clone().into(), artifacts == ZSTD)
            );
        }
    });
    steps.check("lost", || each_loss_heals(&builds));
    steps.check("failed", || {
        builds.set(SIZE, ZSTD, "  configurations: [{cmd: exit 3}]\n");
        assert_eq!(builds.try_in(&builds.directories()[1], &[]).code, Some(1));
        builds.check_sums();
        builds.set(SIZE, ZSTD, ONE);
        assert!(written(&builds.build().0) < written(&first) / 4);
    });
    steps.check("store", || the_store_knows_it(&builds));
}

fn the_state_is_kept_and_the_artifact_is_the_image(report: &Value, state: &Path) {
    assert_eq!(report["image"]["is_delivered"], false);
    assert_eq!(report["image"]["path"], state.to_str().unwrap());
    assert_eq!(report["image"]["digest"], image_digest::of(state));
    assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let artifact = state.with_file_name("tiny-13.raw.zstd");
    assert!(!state.with_file_name("tiny-13.raw").exists() && artifact.exists());
    let script = format!("zstd -dc {} | cmp - {}", artifact.display(), state.display());
    tool("sh", &["-c", &script]);
}

/// Whatever happens to the state, the next build says so in a line and makes the same image.
fn each_loss_heals(builds: &Builds) {
    let (output, (report, _)) = (builds.output(), builds.build());
    let (state, record) = (output.image_state(), output.image_record());
    let losses: [(&str, &dyn Fn()); 3] = [
        ("is gone", &|| fs::remove_file(&state).unwrap()),
        ("was changed since", &|| {
            let file = File::options().write(true).open(&state).unwrap();
            file.write_all_at(b"damage", 1 << 20).unwrap();
        }),
        ("is damaged", &|| fs::write(&record, "nonsense").unwrap()),
    ];
    for (what, lose) in losses {
        lose();
        let (healed, told) = builds.build();
        let lines = told
            .lines()
            .filter(|line| line.contains("this build writes all of the image"));
        let lines: Vec<_> = lines.collect();
        assert!(matches!(lines[..], [line] if line.contains(what)), "{what}: {told}");
        assert_eq!(healed["image"]["digest"], report["image"]["digest"], "{what}");
        assert_eq!(written(&builds.build().0), 0, "{what}");
    }
    // As a killed build leaves it; the next one sweeps it away.
    fs::rename(&state, output.earlier_image()).unwrap();
    fs::remove_file(&record).unwrap();
    assert_eq!(builds.build().0["image"]["digest"], report["image"]["digest"]);
    assert!(!output.earlier_image().exists());
}

fn the_store_knows_it(builds: &Builds) {
    let state = builds.output().image_state();
    let stats = builds.cache(&["stats", "--format", "json"]).json();
    let states = &stats["providers"][0]["states"];
    let du = tool("du", &["-B1".as_ref(), state.as_os_str()]);
    assert_eq!(states["count"], 1, "{stats}");
    assert_eq!(states["disk_bytes"].to_string(), du.split_whitespace().next().unwrap());
    assert_eq!(builds.cache(&["verify"]).code, Some(0));
    let built = builds.output().directory().metadata().unwrap().modified().unwrap();
    let removed = builds.cache(&["gc", "--unused-for", "0d", "--format", "json"]).json();
    let kinds = removed["removed"].as_array().unwrap().iter();
    assert_eq!(kinds.filter(|item| item["kind"] == "state").count(), 1, "{removed}");
    assert!(!state.exists() && builds.output().upper().exists());
    assert_eq!(
        builds.output().directory().metadata().unwrap().modified().unwrap(),
        built
    );
}

#[test]
fn two_builds_at_once_take_turns() {
    own_mounts();
    let builds = Builds::new("raw-state-twice");
    builds.set(SIZE, ZSTD, ONE);
    let (first, _) = builds.build();
    let reports = std::thread::scope(|scope| {
        let both = [scope.spawn(|| builds.build()), scope.spawn(|| builds.build())];
        both.map(|thread| thread.join().unwrap().0)
    });
    for report in reports {
        assert_eq!(
            (written(&report), &report["image"]["digest"]),
            (0, &first["image"]["digest"])
        );
    }
}

#[test]
fn the_size_of_the_disk_costs_nothing() {
    own_mounts();
    let builds = Builds::new("raw-state-sizes");
    let mut costs = Vec::new();
    for size in ["4GiB", "64GiB", "1TiB"] {
        let work = builds.directories()[1].clone();
        let _ = fs::remove_dir_all(provider_dir(&work).join("imagebuild"));
        builds.set(size, "[]", ONE);
        let (cold, _) = builds.build();
        let (same, _) = builds.build();
        builds.set(size, "[]", OTHER);
        let (file, _) = builds.build();
        assert_eq!(written(&same), 0, "{size}");
        assert_eq!(cold["image"]["digest"], same["image"]["digest"]);
        let raw = cold["image"]["path"].as_str().unwrap();
        let told: Value =
            serde_json::from_str(&tool(env!("CARGO_BIN_EXE_oic"), &["digest", raw, "--format", "json"])).unwrap();
        assert_eq!(told["files"][0]["digest"], file["image"]["digest"]);
        costs.push([&cold, &file].map(written));
    }
    for of_size in &costs {
        for (cost, least) in of_size.iter().zip(costs[0]) {
            // An ext4 of 1 TiB has 20 copies of its 512 KiB of group descriptors.
            assert!(*cost <= least + least / 20 + (20 << 19), "{costs:?}");
        }
        assert!(of_size[1] < 1 << 20, "{costs:?}");
    }
}
