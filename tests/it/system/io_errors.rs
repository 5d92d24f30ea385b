//! A disk that cannot read: no file that oic keeps makes a build hang or lie. What can be made again is, and the error
//! of what cannot names the file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::program::own_mounts;
use crate::support::tiny::{Tiny, provider_dir};
use oic_testkit::disk::Disk;
use oic_testkit::tiny::PROVIDER;
use oic_testkit::{Finished, tool};

const ROOM_BYTES: u64 = 640 << 20;

/// Returns the one file below `directory` whose path, from there, matches `pattern` of find(1).
fn find(directory: &Path, pattern: &str) -> PathBuf {
    let pattern = directory.join(pattern);
    let args = ["-type", "f", "-size", "+0", "-path", pattern.to_str().unwrap()].map(std::ffi::OsStr::new);
    let found = tool("find", &[&[directory.as_os_str()], &args[..]].concat());
    PathBuf::from(
        found
            .lines()
            .next()
            .unwrap_or_else(|| panic!("no {}", pattern.display())),
    )
}

/// A build on a disk that can fail, and its digest.
struct Ground {
    tiny: Tiny,
    disk: Disk,
    cache: PathBuf,
    work: PathBuf,
    digest: String,
}

impl Ground {
    fn new() -> Self {
        own_mounts();
        let tiny = Tiny::new("io-errors");
        let root = tiny.oic.work_dir.join("place");
        fs::create_dir_all(&root).unwrap();
        let disk = Disk::faulty_ext4(&root.join("disk"), &root.join("image"), ROOM_BYTES);
        let [cache, work] = ["cache", "work"].map(|name| disk.at().join(name));
        let mut ground = Self {
            tiny,
            disk,
            cache,
            work,
            digest: String::new(),
        };
        ground.digest = ground.build().json()["image"]["digest"].as_str().unwrap().to_owned();
        ground
    }

    fn build(&self) -> Finished {
        self.tiny.build([&self.cache, &self.work])
    }

    fn verify(&self, more: &[&str]) -> Finished {
        let args = ["cache", "verify", "--provider-id", PROVIDER];
        self.tiny.run(&[&args, more].concat(), [&self.cache, &self.work])
    }

    fn is_right(&self, built: &Finished) -> bool {
        built.code == Some(0) && built.json()["image"]["digest"] == *self.digest
    }

    /// Notes in `wrong` what verify and a build do not do right with a file that cannot be read.
    fn look(&self, case: &str, file: &Path, heals: bool, wrong: &mut Vec<String>) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let verified = self.verify(&[]);
        let said = format!("{}{}", verified.stdout, verified.stderr);
        if verified.code != Some(1) || !said.contains(name) {
            wrong.push(format!("{case}, verify: {:?} {said}", verified.code));
        }
        let built = self.build();
        let says_so = !heals && built.code == Some(1) && built.stderr.contains(name);
        if !self.is_right(&built) && !says_so || built.stderr.contains("panicked") {
            wrong.push(format!("{case}: {:?} {}{}", built.code, built.stdout, built.stderr));
        }
    }

    /// Makes the next build read what it would not read again.
    fn forget(&self, names: &[&str]) {
        for name in names {
            let path = provider_dir(&self.work).join(name);
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_or_made_again() {
    let ground = Ground::new();
    let image = "imagebuild/tiny/.image-record";
    let (chroot, layers) = ("chrootbuild/chroot", "chrootbuild/layers");
    // The file, what the build has to do anew so that it reads it, and whether oic can make the file again.
    let cases: [(&str, &[&str], bool); 12] = [
        ("cache/pkgCache/*/hello_*.deb", &[layers], false),
        (
            "cache/pkgCache/*/metadata/*Packages*",
            &["../../cache/pkgCache/resolutions"],
            true,
        ),
        ("work/*/chrootbuild/chrootenv.tar.gz", &[image, chroot], true),
        ("work/*/chrootbuild/chrootenv.idx", &[image], true),
        ("work/*/chrootbuild/chroot/*.data", &[image], true),
        ("work/*/chrootbuild/chroot/*.map", &[image], true),
        ("work/*/chrootbuild/layers/*/layer.json", &[], true),
        ("work/*/chrootbuild/layers/*/layer.sums", &[image], true),
        ("work/*/chrootbuild/layers/*/tree/boot/vmlinuz*", &[image], true),
        ("work/*/imagebuild/tiny/upper/tree/etc/fstab", &[image], true),
        ("work/*/imagebuild/tiny/.image-record", &[], true),
        ("work/*/imagebuild/tiny/tiny-13.raw", &[], false),
    ];
    let mut wrong = Vec::new();
    for (pattern, anew, heals) in cases {
        ground.forget(anew);
        let file = find(ground.disk.at(), pattern);
        ground.disk.fail(&file);
        assert!(fs::read(&file).is_err(), "{pattern}: the disk did not fail");
        ground.look(pattern, &file, heals, &mut wrong);
        ground.disk.heal();
        ground.verify(&["--repair"]);
        let built = ground.build();
        if !ground.is_right(&built) {
            wrong.push(format!("{pattern}, after it: {}{}", built.stdout, built.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_mount_answers_with_an_error_where_its_base_cannot_be_read() {
    let ground = Ground::new();
    let at = ground.tiny.oic.work_dir.join("shown");
    fs::create_dir_all(&at).unwrap();
    fs::remove_dir_all(provider_dir(&ground.work).join("chrootbuild/chroot")).unwrap();
    ground
        .disk
        .fail(&provider_dir(&ground.work).join("chrootbuild/chrootenv.tar.gz"));
    for engine in ["kernel", "fuse"] {
        let args = [
            "mount",
            PROVIDER,
            at.to_str().unwrap(),
            "--tmp-upper",
            "--overlay",
            engine,
        ];
        let mounted = ground.tiny.run(&args, [&ground.cache, &ground.work]);
        // The end of the tarball is read when it is opened.
        match mounted.code {
            Some(0) => {
                let error = fs::read(at.join("usr/bin/dpkg")).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(5), "{engine}");
                let unmounted = ground
                    .tiny
                    .run(&["umount", at.to_str().unwrap()], [&ground.cache, &ground.work]);
                assert_eq!(unmounted.code, Some(0), "{engine}: {}", unmounted.stderr);
            }
            _ => mounted.assert_fails(1, &["chrootenv.tar.gz"]),
        }
    }
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains(at.to_str().unwrap()), "{mounts}");
    ground.disk.heal();
    assert_eq!(ground.build().json()["image"]["digest"], *ground.digest);
}
