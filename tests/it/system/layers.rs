//! What a build finds done, and that it makes no difference to the image.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::program::{Oic, Shown};
use oic_testkit::Steps;
use oic_testkit::server::Server;
use serde_json::Value;

const PROVIDER: &str = "debian-debian13-x86_64";

/// A template with these parts.
struct Template {
    packages: &'static str,
    hostname: &'static str,
    user: &'static str,
    greeting: &'static str,
}

const FIRST: Template = Template {
    packages: "sudo",
    hostname: "first",
    user: "ann",
    greeting: "hello",
};

/// The same with other contents of two of its fields.
const CHANGED: Template = Template {
    greeting: "good morning",
    user: "bob",
    ..FIRST
};

impl Template {
    fn write(&self, oic: &Oic, name: &str) -> PathBuf {
        let directory = oic.work_dir.join("templates");
        fs::create_dir_all(&directory).unwrap();
        let greeting = directory.join(format!("{name}.greeting"));
        fs::write(&greeting, self.greeting).unwrap();
        let path = directory.join(format!("{name}.yml"));
        let text = format!(
            "image: {{name: layers, version: \"1.0\"}}\n\
             target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}\n\
             disk: {{name: d, size: 2GiB}}\n\
             systemConfig:\n  name: {name}\n  hostname: {}\n  packages: [{}]\n\
             \x20 users: [{{name: {}, password: \"secret\", sudo: true}}]\n\
             \x20 additionalFiles: [{{local: {}, final: /etc/greeting}}]\n\
             \x20 configurations: [{{cmd: \"cat /etc/greeting /etc/hostname > /etc/both\"}}]\n\
             \x20 kernel: {{packages: [linux-image-cloud-amd64]}}\n",
            self.hostname,
            self.packages,
            self.user,
            greeting.display()
        );
        fs::write(&path, text).unwrap();
        path
    }
}

fn build(oic: &Oic, template: &Path, more: &[&str]) -> Value {
    let args = [&["build", template.to_str().unwrap(), "--format", "json"], more].concat();
    let report = oic.run(&args).json();
    oic.assert_clean();
    report
}

/// The layers of the steps with whether they were reused.
fn layers(report: &Value) -> Vec<(&str, bool)> {
    let told = report["layers"].as_array().unwrap().iter();
    told.map(|layer| (layer["step"].as_str().unwrap(), layer["reused"].as_bool().unwrap()))
        .collect()
}

fn digest(report: &Value) -> &str {
    report["image"]["digest"].as_str().unwrap()
}

/// One test, since each part needs what the one before made.
#[test]
fn what_was_done_is_not_done_again() {
    let oic = Oic::new("layers");
    let template = FIRST.write(&oic, "first");
    let mut steps = Steps::new();
    let first = steps.need("first build", || build(&oic, &template, &[]));
    let made = |reused: [bool; 5]| -> Vec<(&str, bool)> {
        ["system", "initrd", "packages", "accounts", "settings"]
            .into_iter()
            .zip(reused)
            .collect()
    };
    assert_eq!(layers(&first), made([false; 5]));
    steps.check("second build", || {
        let again = build(&oic, &template, &["--offline"]);
        assert_eq!(layers(&again), made([true; 5]));
        assert_eq!(digest(&again), digest(&first));
    });
    steps.check("changes", || only_what_changed_is_done_again(&oic, &made));
    steps.check("more packages", || {
        packages_that_only_have_files_are_put_on_top(&oic, &made)
    });
    steps.check("damage", || a_damaged_layer_is_made_again(&oic, &template, &first));
    steps.check("mount and diff", || the_tree_is_seen_through_all_layers(&oic));
    steps.check("lockfile", || {
        a_lockfile_gives_the_same_elsewhere(&oic, &first, &template)
    });
    steps.check("gc", || layers_of_images_are_kept(&oic));
}

fn only_what_changed_is_done_again(oic: &Oic, made: &dyn Fn([bool; 5]) -> Vec<(&'static str, bool)>) {
    let file = Template {
        user: FIRST.user,
        ..CHANGED
    };
    let report = build(oic, &file.write(oic, "first"), &["--offline"]);
    assert_eq!(layers(&report), made([true, true, true, true, false]));
    let report = build(oic, &CHANGED.write(oic, "first"), &["--offline"]);
    assert_eq!(layers(&report), made([true, true, true, false, false]));
}

/// The larger set is another template's, and the image is the same as if all had been made at once.
fn packages_that_only_have_files_are_put_on_top(oic: &Oic, made: &dyn Fn([bool; 5]) -> Vec<(&'static str, bool)>) {
    let more = Template {
        packages: "sudo, tree, xxd",
        ..CHANGED
    };
    let template = more.write(oic, "more");
    let report = build(oic, &template, &[]);
    let expected = [
        ("system", true),
        ("initrd", true),
        ("packages", true),
        ("packages", false),
        ("accounts", false),
        ("settings", false),
    ];
    assert_eq!(layers(&report), expected);
    assert_eq!(report["layers"][3]["packages"], 2);
    let scratch = build(oic, &template, &["--offline", "--from-scratch"]);
    assert_eq!(layers(&scratch), made([false; 5]));
    assert_eq!(scratch["base"]["reused"], false, "{scratch}");
    assert_eq!(digest(&scratch), digest(&report), "with and without layers");
}

fn layers_dir(oic: &Oic) -> PathBuf {
    oic.provider_dir().join("chrootbuild/layers")
}

/// The directory of the layer of the image `first` that has `path`.
fn layer_with(oic: &Oic, path: &str) -> PathBuf {
    let below = fs::read_to_string(oic.provider_dir().join("imagebuild/first/upper.base")).unwrap();
    let mut layers = below.lines().skip(1).map(|key| layers_dir(oic).join(key));
    layers.find(|layer| layer.join("tree").join(path).exists()).unwrap()
}

fn a_damaged_layer_is_made_again(oic: &Oic, template: &Path, first: &Value) {
    FIRST.write(oic, "first");
    build(oic, template, &["--offline"]);
    let damaged = layer_with(oic, "usr/bin/sudo").join("tree/usr/bin/sudo");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let found = oic.run(&["cache", "verify", "--provider-id", PROVIDER]);
    assert_eq!(found.code, Some(1), "{}", found.stdout);
    assert!(found.stdout.contains("chrootbuild/layers/"), "{}", found.stdout);
    let told = oic.run(&["build", template.to_str().unwrap(), "--offline", "--format", "json"]);
    assert!(told.stderr.contains("not as it was left"), "{}", told.stderr);
    let report = told.json();
    assert_eq!(layers(&report)[2], ("packages", false));
    assert_eq!(digest(&report), digest(first));
    assert_eq!(oic.run(&["cache", "verify", "--provider-id", PROVIDER]).code, Some(0));
}

fn the_tree_is_seen_through_all_layers(oic: &Oic) {
    let shown = Shown::image(oic, PROVIDER, "first");
    let read = |path: &str| fs::read_to_string(shown.root().join(path)).unwrap();
    assert_eq!(read("etc/both"), "hellofirst\n");
    assert!(read("etc/passwd").contains("\nann:"));
    assert!(shown.root().join("usr/bin/sudo").exists());
    assert!(shown.root().join("usr/bin/dpkg").exists(), "of the base");
    drop(shown);
    let report = oic.run(&["diff", PROVIDER, "first", "--format", "json"]).json();
    let changes: Vec<(&str, &str)> = report["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["path"].as_str().unwrap(), change["action"].as_str().unwrap()))
        .collect();
    for (path, action) in [
        ("/etc/both", "added"),
        ("/home/ann", "added"),
        ("/usr/bin/sudo", "added"),
        ("/usr/lib/systemd/systemd", "added"),
        ("/etc/passwd", "changed"),
        ("/var/lib/dpkg/status", "changed"),
    ] {
        let found = changes.iter().filter(|(found, _)| *found == path).collect::<Vec<_>>();
        assert_eq!(found, [&(path, action)], "each path is told once");
    }
}

fn a_lockfile_gives_the_same_elsewhere(beside: &Oic, first: &Value, template: &Path) {
    let elsewhere = beside.sharing_cache("layers-elsewhere");
    let lock = elsewhere.work_dir.join("first.lock.json");
    fs::copy(first["lockfile"].as_str().unwrap(), &lock).unwrap();
    let args = ["--lock", lock.to_str().unwrap(), "--overlay", "fuse", "-j", "1"];
    let report = build(&elsewhere, template, &args);
    assert!(layers(&report).iter().all(|(_, reused)| !reused), "{report}");
    assert_eq!(
        digest(&report),
        digest(first),
        "another directory, engine and number of threads"
    );

    // A mirror that has nothing of it any more, and an empty cache.
    let server = Server::with(|_| None);
    let empty = Oic {
        cache_dir: elsewhere.work_dir.join("cache"),
        work_dir: elsewhere.work_dir.join("work"),
    };
    let (mirror, security) = (
        format!("{}/debian", server.url("")),
        format!("debian-security={}/security", server.url("")),
    );
    let gone = empty.run(&[
        "build",
        template.to_str().unwrap(),
        "--lock",
        lock.to_str().unwrap(),
        "--mirror",
        &mirror,
        "--mirror",
        &security,
    ]);
    gone.assert_fails(1, &["not at their mirrors", "sudo ", "systemd ", "--update-lock"]);
    let text = fs::read_to_string(&lock).unwrap().replace("\"sudo\"", "\"sudu\"");
    fs::write(&lock, text).unwrap();
    let changed = elsewhere.run(&["build", template.to_str().unwrap(), "--lock", lock.to_str().unwrap()]);
    changed.assert_fails(1, &["first.lock.json", "changed or damaged", "--update-lock"]);
}

fn layers_of_images_are_kept(oic: &Oic) {
    let count = || {
        let names = fs::read_dir(layers_dir(oic))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.len() == 64).count()
    };
    let before = count();
    let stats = oic.run(&["cache", "stats", "--format", "json"]).json();
    let [own] = &stats["providers"].as_array().unwrap()[..] else {
        panic!("{stats}")
    };
    assert_eq!(own["provider"], PROVIDER);
    assert_eq!(own["layers"]["count"], before);
    let collected = oic
        .run(&["cache", "gc", "--unused-for", "0d", "--format", "json"])
        .json();
    let gone = collected["removed"].as_array().unwrap().iter();
    let gone = gone.filter(|item| item["kind"] == "layer").count();
    assert!(gone > 0 && count() == before - gone, "{collected}");
    let shown = Shown::image(oic, PROVIDER, "first");
    assert!(shown.root().join("usr/bin/sudo").exists());
}
