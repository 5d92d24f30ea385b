//! A disk that is full: the message names the directory, its file system and the setting that moves it, nothing is left
//! and nothing corrupt, and the next build goes on with what was complete.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use oic::cancel::Cancel;
use oic::durable::FullDisk;
use oic::image::ImageError;
use oic::image::artifacts::{self, Order};
use oic::model::{Artifact, ArtifactFormat, Compression};
use oic::work::Work;

use crate::support::program::{Oic, own_mounts};
use crate::support::tiny::{Tiny, provider_dir};
use oic_testkit::disk::Disk;
use oic_testkit::{Finished, tool};

const MIB: u64 = 1 << 20;
/// Enough for everything that one build keeps.
const ROOM_BYTES: u64 = 640 * MIB;

/// Which directory lies on the small file system.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Small {
    Cache,
    Work,
    /// The directory of the images, below the work directory.
    Output,
}

impl Small {
    fn option(self) -> &'static str {
        match self {
            Self::Cache => "--cache-dir",
            Self::Work | Self::Output => "--work-dir",
        }
    }
}

/// The directories of one case, `root` on an ordinary file system.
struct Place {
    root: PathBuf,
    small: Small,
    disk: Disk,
}

impl Place {
    fn new(root: &Path, small: Small, kind: &str) -> Self {
        let _ = fs::remove_dir_all(root);
        for name in ["cache", "work"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let at = match small {
            Small::Cache => root.join("cache"),
            Small::Work => root.join("work"),
            Small::Output => provider_dir(&root.join("work")).join("imagebuild"),
        };
        let disk = match kind {
            "tmpfs" => Disk::tmpfs(&at, ROOM_BYTES),
            _ => Disk::ext4(&at, &root.join("image"), ROOM_BYTES),
        };
        Self {
            root: root.to_owned(),
            small,
            disk,
        }
    }

    fn directories(&self) -> [PathBuf; 2] {
        ["cache", "work"].map(|name| self.root.join(name))
    }

    fn build(&self, tiny: &Tiny) -> Finished {
        let [cache, work] = self.directories();
        tiny.build([&cache, &work])
    }

    fn assert_says_what_is_full(&self, failed: &Finished, case: &str) {
        let said = &failed.stderr;
        assert_eq!(failed.code, Some(1), "{case}: {} {said}", failed.stdout);
        let told = format!("no space left: {}", self.disk.at().display());
        assert!(said.contains(&told), "{case}: {said}");
        let kind = format!("is on {} of ", self.disk.kind());
        assert!(said.contains(&kind) && said.contains("iB free"), "{case}: {said}");
        let hint = said.lines().find(|line| line.contains("hint:")).unwrap_or_default();
        assert!(hint.contains(self.small.option()), "{case}: {said}");
        assert!(!said.contains("panicked"), "{case}: {said}");
    }

    fn assert_nothing_is_left(&self, case: &str) {
        let args = ["-name", ".oic-tmp-*", "-not", "-name", ".oic-tmp-part-*"].map(std::ffi::OsStr::new);
        let left = tool("find", &[&[self.root.as_os_str()], &args[..]].concat());
        assert_eq!(left, "", "{case}");
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let below = mounts.lines().filter(|line| line.contains(self.root.to_str().unwrap()));
        assert_eq!(below.count(), 1, "{case}: {mounts}");
    }
}

fn digest(built: &Finished) -> String {
    built.json()["image"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn each_directory_may_be_full_at_each_stage() {
    own_mounts();
    let tiny = Tiny::new("full-disks");
    let reference = Place::new(&tiny.oic.work_dir.join("reference"), Small::Work, "tmpfs");
    let sha256 = digest(&reference.build(&tiny));
    let [cache, work] = reference.directories();
    let copy = |from: &Path, to: &Path| {
        let from = from.join(".");
        tool("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()]);
    };
    // The free space in MiB: each lets a build come so far and no farther.
    let cases: [(Small, &str, &[u64]); 6] = [
        (Small::Cache, "ext4", &[0, 3, 20]),
        (Small::Cache, "tmpfs", &[0, 12]),
        (Small::Work, "ext4", &[0, 2, 20, 60]),
        (Small::Work, "tmpfs", &[1, 48, 90]),
        (Small::Output, "ext4", &[0, 40]),
        (Small::Output, "tmpfs", &[0, 20]),
    ];
    for (small, kind, all) in cases {
        for free in all {
            let case = format!("{small:?} on {kind} with {free} MiB");
            let place = Place::new(&tiny.oic.work_dir.join("place"), small, kind);
            let [own_cache, own_work] = place.directories();
            match small {
                Small::Cache => copy(&work, &own_work),
                Small::Work => copy(&cache, &own_cache),
                Small::Output => {
                    copy(&cache, &own_cache);
                    let base = provider_dir(&own_work).join("chrootbuild");
                    fs::create_dir_all(&base).unwrap();
                    copy(&provider_dir(&work).join("chrootbuild"), &base);
                }
            }
            place.disk.leave(free * MIB);
            let failed = place.build(&tiny);
            place.assert_says_what_is_full(&failed, &case);
            place.assert_nothing_is_left(&case);
            let kept = provider_dir(&own_work).join("chrootbuild/chrootenv.tar.gz").exists();
            place.disk.relieve();
            let built = place.build(&tiny);
            assert_eq!(digest(&built), sha256, "{case}");
            let report = built.json();
            assert_eq!(report["base"]["reused"], kept, "{case}: {report}");
            let fetched = report["packages"]["fetched"].as_u64().unwrap();
            assert!(small == Small::Cache || fetched == 0, "{case}: {report}");
        }
    }
}

#[test]
fn the_directory_for_short_lived_files_may_be_full() {
    own_mounts();
    let tiny = Tiny::new("full-temp");
    let root = tiny.oic.work_dir.join("place");
    let [cache, temporary] = ["cache", "temp"].map(|name| root.join(name));
    fs::create_dir_all(root.join("work")).unwrap();
    // A package cache that cannot be written to is copied.
    let _cache = Disk::tmpfs(&cache, MIB);
    tool("mount", &["-o".as_ref(), "remount,ro".as_ref(), cache.as_os_str()]);
    for kind in ["tmpfs", "ext4"] {
        let disk = match kind {
            "tmpfs" => Disk::tmpfs(&temporary, 32 * MIB),
            _ => Disk::ext4(&temporary, &root.join("image"), 32 * MIB),
        };
        let why = || {
            tiny.run(
                &["why", "libc6", tiny.template.to_str().unwrap()],
                [&cache, &root.join("work")],
            )
        };
        disk.leave(0);
        let failed = why();
        let told = format!("no space left: {} is on {} of ", temporary.display(), kind);
        failed.assert_fails(1, &[&told, "OIC_TEMP_DIR"]);
        disk.relieve();
        assert_eq!(why().code, Some(0));
    }
}

#[test]
fn a_file_that_a_user_names_may_lie_on_a_full_disk() {
    own_mounts();
    let tiny = Tiny::new("full-files");
    let root = tiny.oic.work_dir.join("place");
    let small = Disk::tmpfs(&root.join("small"), MIB);
    small.leave(0);
    let directories = ["cache", "work"].map(|name| tiny.oic.work_dir.join(name));
    let [cache, work] = [&*directories[0], &*directories[1]];
    assert_eq!(tiny.build([cache, work]).code, Some(0));
    for option in ["--report", "--dotfile"] {
        let file = small.at().join("file");
        let args = ["build", tiny.template.to_str().unwrap(), option, file.to_str().unwrap()];
        let failed = tiny.run(&args, [cache, work]);
        let told = format!("no space left: {} is on tmpfs of ", small.at().display());
        failed.assert_fails(1, &[&told, "name a file elsewhere"]);
        assert_eq!(
            tool("ls", &["-A".as_ref(), small.at().as_os_str()]).trim(),
            "filler",
            "{option}"
        );
    }
}

#[test]
fn the_artifacts_of_the_build_before_stay_when_the_disk_fills() {
    own_mounts();
    let oic = Oic::new("full-artifacts");
    let disk = Disk::tmpfs(&oic.work_dir.join("small"), 96 * MIB);
    let (raw, record) = (disk.at().join("image.raw"), disk.at().join(".artifact-record"));
    // 16 MB that do not become smaller (xorshift).
    let fill = |seed: u64| {
        let next = |state: &u64| {
            let state = state ^ (state << 13);
            let state = state ^ (state >> 7);
            Some(state ^ (state << 17))
        };
        let noise = std::iter::successors(Some(seed), next).take(2_000_000);
        fs::write(&raw, noise.flat_map(u64::to_le_bytes).collect::<Vec<_>>()).unwrap();
    };
    let kinds = [
        (ArtifactFormat::Raw, Some(Compression::Gzip)),
        (ArtifactFormat::Raw, Some(Compression::Zstd)),
    ];
    let artifacts = kinds.map(|(format, compression)| Artifact {
        format,
        compression,
        level: None,
    });
    let make = || {
        let cancel = Cancel::default();
        let order = Order {
            raw: &raw,
            directory: disk.at(),
            tree: None,
            stem: "image",
            artifacts: &artifacts,
            beside: &[],
            record: &record,
            uuid: uuid::Uuid::nil(),
            with_all_digests: true,
        };
        let made = artifacts::make(order, Work::quiet(&cancel))?;
        artifacts::write_sums(
            disk.at(),
            made.iter().filter_map(|made| Some((made.path.as_path(), made.sha256?))),
        )?;
        Ok::<_, ImageError>(())
    };
    let check = || {
        let script = format!("cd {} && sha256sum --strict -c SHA256SUMS", disk.at().display());
        tool("sh", &["-c", script.as_str()].map(std::ffi::OsStr::new));
    };
    fill(1);
    make().unwrap();
    check();
    let names = || tool("ls", &["-A".as_ref(), disk.at().as_os_str()]);
    let before = names();
    fill(2);
    for free in [0, 1, 9, 20] {
        disk.leave(free * MIB);
        let error = make().unwrap_err();
        assert!(FullDisk::behind(&error).is_some(), "{free}: {error}");
        disk.relieve();
        check();
        assert_eq!(names(), before, "{free}");
    }
    make().unwrap();
    check();
    assert_eq!(names(), before);
}
