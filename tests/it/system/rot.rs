//! What a disk damages is found by `oic cache verify`, and made again by the next build.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::support::program::Oic;
use crate::support::store::{Fixture, PROVIDER};
use oic::cancel::Cancel;
use oic::layer::{self, Facts, LayerStore, Manifest};
use oic::package::{Resolution, Sha256};
use oic::resolve::lockfile::Lockfile;
use oic::resolve::memo::{Answer, Memo};
use oic::work::Work;
use serde_json::Value;

/// Flips one bit of `path` at so many hundredths of it, and leaves its size and its time of modification.
fn flip(path: &Path, hundredths: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let metadata = file.metadata().unwrap();
    let at = (metadata.len() * hundredths / 100).min(metadata.len() - 1);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
}

/// The same in a file of a tree that was sealed; as it is with a disk's own errors, nothing but the bytes shows it.
fn rot(tree: &Path, manifest: &Path, file: &str, hundredths: u64) {
    flip(&tree.join(file), hundredths);
    let scan = layer::glance(tree).unwrap();
    let known = Manifest::read(manifest).unwrap();
    Manifest { scan, ..known }.write(manifest).unwrap();
}

fn facts(key: Sha256) -> Facts {
    Facts {
        key,
        step: "packages".to_owned(),
        parent: Sha256::of("key"),
        ground: Sha256::of("key"),
        packages: Vec::new(),
        warnings: Vec::new(),
        secrets: Vec::new(),
    }
}

/// A fixture with one of everything that is kept.
fn everything() -> Fixture {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    let layers = LayerStore::new(workspace.layers());
    let draft = layers.draft().unwrap();
    fs::create_dir_all(draft.tree().join("usr/bin")).unwrap();
    fs::write(draft.tree().join("usr/bin/tool"), vec![7; 300_000]).unwrap();
    draft
        .publish(facts(Sha256::of("layer")), &Cancel::default())
        .unwrap()
        .unwrap();
    let build = workspace.image_build("edge");
    let (manifest, sums) = layer::seal(&build.upper(), facts(Sha256::of("upper")), &Cancel::default()).unwrap();
    manifest.write(&build.upper_manifest()).unwrap();
    sums.write(&build.upper_sums()).unwrap();
    let raw = build.directory().join("edge-13.raw");
    let tree = oic::image::digest::of_file(&raw, Work::quiet(&Cancel::default())).unwrap();
    oic::image::earlier::remember(&raw, &Default::default(), &tree, &build.image_record()).unwrap();
    let lockfile = Lockfile::from_json(&fs::read(build.lockfile("edge")).unwrap()).unwrap();
    let image = Resolution {
        packages: lockfile.packages.clone(),
        dependencies: Vec::new(),
        requested: Vec::new(),
    };
    let answer = Answer {
        base: Resolution {
            packages: Vec::new(),
            ..image.clone()
        },
        image,
        lockfile,
        named: Vec::new(),
        warnings: Vec::new(),
    };
    Memo::new(workspace.resolutions())
        .put(Sha256::of("asked"), &answer)
        .unwrap();
    // Reading through a mount unpacks, and remembers in which order.
    assert_eq!(fixture.run(&["mount", PROVIDER]).code, Some(0));
    fs::read(workspace.chrootenv().join("etc/noise")).unwrap();
    assert_eq!(fixture.run(&["umount", PROVIDER]).code, Some(0));
    fixture
}

/// The files below `directory` whose name ends with `end`.
fn ending(directory: &Path, end: &str) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.symlink_metadata().unwrap().is_dir() {
                true => pending.push(entry),
                false if entry.to_str().unwrap().ends_with(end) => found.push(entry),
                false => {}
            }
        }
    }
    found
}

#[test]
fn verify_names_each_kept_file_that_is_damaged() {
    let fixture = everything();
    assert_eq!(fixture.json(&["cache", "verify"])["bad"], serde_json::json!([]));
    let cases = [
        ("one_1%3a1.0-1_amd64.deb", None),
        ("verified.idx", None),
        (&*Sha256::of("asked").to_string(), None),
        ("chrootenv.tar.gz", None),
        ("chrootenv.idx", None),
        (".data", None),
        (".map", None),
        ("layer.json", Some("layers/")),
        ("layer.sums", Some("layers/")),
        ("usr/bin/tool", Some("usr/bin/tool")),
        ("upper.json", None),
        ("upper.sums", None),
        ("upper/tree/etc/hostname", Some("etc/hostname")),
        ("upper.base", None),
        ("edge.lock.json", None),
        (".image-record", None),
    ];
    for (name, told) in cases {
        let files = ending(fixture.root(), name);
        let [file] = &files[..] else {
            panic!("{name}: {files:?}")
        };
        // Of the backing store, what was not unpacked is nobody's.
        let places: &[u64] = if name == ".data" {
            &[40, 50, 77]
        } else {
            &[0, 13, 50, 77, 100]
        };
        for &hundredths in places {
            let whole = fs::read(file).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            flip(file, hundredths);
            let found = fixture.run(&["cache", "verify"]);
            assert_eq!(found.code, Some(1), "{name} at {hundredths}%: {}", found.stdout);
            let told = told.unwrap_or(name);
            assert!(found.stdout.contains(told), "{name} at {hundredths}%: {}", found.stdout);
            let file = File::options().write(true).open(file).unwrap();
            file.write_all_at(&whole, 0).unwrap();
            file.set_modified(modified).unwrap();
        }
        let found = fixture.run(&["cache", "verify"]);
        assert_eq!(found.code, Some(0), "{name}: {}", found.stdout);
    }
}

#[test]
fn a_package_is_verified_as_long_as_anything_says_its_digest() {
    let fixture = everything();
    let package = &ending(fixture.root(), "one_1%3a1.0-1_amd64.deb")[0];
    flip(package, 50);
    // A repair takes a damaged record away, and people delete images: the remembered resolution still has the digest.
    for gone in ["verified.idx", ".lock.json"] {
        ending(fixture.root(), gone)
            .iter()
            .for_each(|path| fs::remove_file(path).unwrap());
        let found = fixture.run(&["cache", "verify"]);
        assert_eq!(found.code, Some(1), "without {gone}: {}", found.stdout);
        assert!(
            found.stdout.contains("one_1%3a1.0-1_amd64.deb: it has"),
            "{}",
            found.stdout
        );
    }
}

#[test]
fn what_is_damaged_can_be_removed() {
    for name in [
        "layer.json",
        "layer.sums",
        "upper.json",
        "upper.base",
        ".image-record",
        "verified.idx",
        ".map",
    ] {
        let fixture = everything();
        flip(&ending(fixture.root(), name)[0], 50);
        let repaired = fixture.run(&["cache", "verify", "--repair"]);
        assert_eq!(repaired.code, Some(0), "{name}: {}", repaired.stderr);
        assert_eq!(
            fixture.json(&["cache", "verify"])["bad"],
            serde_json::json!([]),
            "{name}"
        );
    }
    let fixture = everything();
    flip(&ending(fixture.root(), "layer.json")[0], 50);
    let collected = fixture.json(&["cache", "gc", "--max-size", "0"]);
    assert!(collected.to_string().contains("layers/"), "{collected}");
    assert!(ending(fixture.root(), "layer.json").is_empty());
    flip(&ending(fixture.root(), "upper.base")[0], 5);
    assert_eq!(
        fixture.run(&["cache", "clean", "--workspace", "--images"]).code,
        Some(0)
    );
}

const TEMPLATE: &str = "image: {name: rot, version: \"1.0\"}\n\
    target: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n\
    disk: {name: d, size: 2GiB}\n\
    systemConfig:\n  name: rot\n  hostname: rot\n  packages: [sudo]\n\
    \x20 users: [{name: ann, password: \"secret\"}]\n\
    \x20 kernel: {packages: [linux-image-cloud-amd64]}\n";

/// Builds; gives the digest of the image and the warnings.
fn build(oic: &Oic) -> (String, String) {
    let template = oic.work_dir.join("rot.yml");
    fs::write(&template, TEMPLATE).unwrap();
    let args = ["build", template.to_str().unwrap(), "--format", "json"];
    let report: Value = oic.run(&args).json();
    oic.assert_clean();
    let warnings = report["warnings"].to_string();
    (report["image"]["digest"].as_str().unwrap().to_owned(), warnings)
}

#[test]
fn a_build_makes_again_what_is_damaged() {
    let oic = Oic::new("rot");
    let (digest, warnings) = build(&oic);
    assert!(!warnings.contains("damaged"), "{warnings}");
    let chrootbuild = oic.provider_dir().join("chrootbuild");
    let image = oic.provider_dir().join("imagebuild/rot");
    let heals = |what: &str, told: &str| {
        let (again, warnings) = build(&oic);
        assert_eq!(again, digest, "{what}");
        assert!(
            warnings.contains(told) && warnings.contains("made again"),
            "{what}: {warnings}"
        );
    };
    let layers = fs::read_dir(chrootbuild.join("layers")).unwrap();
    let layers: Vec<_> = layers.map(|entry| entry.unwrap().path()).collect();
    let layer_with = |file: &str| {
        layers
            .iter()
            .find(|layer| layer.join("tree").join(file).exists())
            .unwrap()
    };
    for file in ["usr/lib/systemd/systemd", "usr/bin/sudo", "home/ann/.bashrc"] {
        let layer = layer_with(file);
        rot(&layer.join("tree"), &layer.join("layer.json"), file, 60);
        heals(file, file);
    }
    flip(&layer_with("usr/bin/sudo").join("layer.sums"), 40);
    heals("layer.sums", "checksums");
    rot(&image.join("upper/tree"), &image.join("upper.json"), "etc/fstab", 50);
    heals("the upper", "etc/fstab");
    let (quiet, warnings) = build(&oic);
    assert!(quiet == digest && !warnings.contains("damaged"), "{warnings}");
    for hundredths in [3, 70] {
        flip(&chrootbuild.join("chrootenv.tar.gz"), hundredths);
        fs::remove_file(image.join(".image-record")).unwrap();
        fs::remove_dir_all(chrootbuild.join("chroot")).unwrap();
        let (again, _) = build(&oic);
        assert_eq!(again, digest, "the tarball at {hundredths}%");
    }
    for hundredths in [0, 50, 100] {
        flip(&chrootbuild.join("chrootenv.idx"), hundredths);
        fs::remove_file(image.join(".image-record")).unwrap();
        let (again, _) = build(&oic);
        assert_eq!(again, digest, "the index at {hundredths}%");
    }
    // A build compares what it reads; what it has not read is found by this.
    let verify = |more: &[&str]| {
        oic.run(&[&["cache", "verify", "--provider-id", PROVIDER], more].concat())
            .code
    };
    assert_eq!(verify(&["--repair"]), Some(0));
    assert_eq!(build(&oic).0, digest);
    assert_eq!(verify(&[]), Some(0));
}
