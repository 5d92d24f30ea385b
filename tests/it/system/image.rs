//! The product's promise, end to end: a template becomes an image that boots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::program::{Oic, own_mounts};
use oic::cancel::Cancel;
use oic::image::artifacts::{self, Order};
use oic::model::{Artifact, ArtifactFormat};
use oic::work::Work;
use oic_testkit::qemu::Machine;
use oic_testkit::{Steps, image_digest, tool};
use uuid::Uuid;

const SAMPLE: &str = "debian13-x86_64-minimal";
const SECOND: &str = "debian13-x86_64-edge";

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// One test, since its parts need what the ones before made.
#[test]
fn a_template_becomes_an_image_that_boots() {
    own_mounts();
    let oic = Oic::new("image");
    let mut steps = Steps::new();
    let first = steps.need("first build", || first_build(&oic));
    let image = PathBuf::from(first["image"]["path"].as_str().unwrap());
    steps.check("file systems", || file_systems_are_clean(&image));
    steps.check("digest", || the_digest_is_the_files(&first, &image));
    steps.check("boot", || boots_and_is_what_the_template_says(&image));
    steps.check("boot of other formats", || other_formats_boot(&image));

    let second = steps.need("second build", || {
        oic.run(&["build", SECOND, "--format", "json"]).json()
    });
    steps.check("base", || the_base_was_reused_and_only_touched_files_inflated(&second));
    steps.check("mount", || mounts_quickly(&oic));
    steps.check("no packages", || {
        let again = no_package_is_needed_again(&oic);
        assert_eq!(digest(&again), digest(&first), "the same packages, another image");
    });
    steps.check("truncated snapshot", || {
        let again = a_truncated_snapshot_is_made_again_and_a_flipped_byte_fetched_again(&oic);
        assert_eq!(digest(&again), digest(&first), "another base, another image");
    });
}

fn first_build(oic: &Oic) -> serde_json::Value {
    let first = oic.run(&["build", SAMPLE, "--format", "json"]).json();
    oic.assert_clean();
    assert_eq!(first["base"]["reused"], false);
    assert_eq!(first["packages"]["refetched"], 0);
    let image = Path::new(first["image"]["path"].as_str().unwrap());
    let log = fs::read_to_string(image.with_file_name("build.log")).unwrap();
    assert!(log.contains("Setting up linux-image-"), "{log}");
    first
}

fn file_systems_are_clean(image: &Path) {
    let table = tool("sgdisk", &["-v".as_ref(), image.as_os_str()]);
    assert!(table.contains("No problems found"), "{table}");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (number, check) in [(1, &["fsck.fat", "-n"]), (2, &["e2fsck", "-fn"])] {
        let partition = directory.path().join(format!("{number}"));
        copy_partition(image, number, &partition);
        tool(check[0], &[check[1].as_ref(), partition.as_os_str()]);
    }
}

/// Copies partition `number` of a GPT image to a file of its own.
fn copy_partition(image: &Path, number: u32, target: &Path) {
    let info = tool(
        "sgdisk",
        &["-i".to_owned(), number.to_string(), image.display().to_string()],
    );
    let sector = |label: &str| -> u64 {
        let line = info
            .lines()
            .find(|line| line.starts_with(label))
            .unwrap_or_else(|| panic!("{label}: {info}"));
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    let (first, last) = (sector("First sector:"), sector("Last sector:"));
    tool(
        "dd",
        &[
            format!("if={}", image.display()),
            format!("of={}", target.display()),
            "bs=1M".into(),
            "conv=sparse".into(),
            "status=none".into(),
            "iflag=skip_bytes,count_bytes".into(),
            format!("skip={}", first * 512),
            format!("count={}", (last + 1 - first) * 512),
        ],
    );
}

fn the_digest_is_the_files(report: &serde_json::Value, image: &Path) {
    assert_eq!(report["image"]["digest"], image_digest::of(image));
    assert!(report["image"]["sha256"].is_null(), "{report}");
}

fn boots_and_is_what_the_template_says(image: &Path) {
    let mut machine = Machine::boot(image);
    machine.log_in("oic", "oic", BOOT_LIMIT);
    let mut check = |command: &str, expected: &str| {
        let (code, output) = machine.run(command, COMMAND_LIMIT);
        assert_eq!((code, output.as_str()), (0, expected), "{command}");
    };
    check("systemctl is-system-running --wait", "running");
    check("systemctl --failed --no-legend --plain", "");
    check("hostname", "oic-minimal");
    check("id -un", "oic");
    check("grep -c additionalFiles /etc/oic-sample", "1");
    check("cat /etc/oic-configured", "configured by oic in trixie");
    check("findmnt -n -o SOURCE,FSTYPE / | grep -c '^/dev/vda2 *ext4$'", "1");
    check("findmnt -n -o FSTYPE --mountpoint /boot/efi", "vfat");
    check("/usr/sbin/dpkg --audit 2>/dev/null || dpkg --audit", "");
    check("ls -d /cdrom /.oic* 2>/dev/null | wc -l", "0");
}

fn other_formats_boot(image: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let formats = [(ArtifactFormat::Qcow2Zstd, "qcow2"), (ArtifactFormat::Vmdk, "vmdk")];
    let wanted = formats.map(|(format, _)| Artifact {
        format,
        compression: None,
        level: None,
    });
    let cancel = Cancel::default();
    let order = Order {
        raw: image,
        directory: directory.path(),
        tree: None,
        stem: "image",
        artifacts: &wanted,
        beside: &[],
        record: &directory.path().join("record"),
        uuid: Uuid::from_u128(7),
        with_all_digests: false,
    };
    let made = artifacts::make(order, Work::quiet(&cancel)).unwrap();
    for (made, (_, format)) in made.iter().zip(formats) {
        let mut machine = Machine::boot_format(&made.path, format);
        machine.log_in("oic", "oic", BOOT_LIMIT);
        let (code, output) = machine.run("hostname", COMMAND_LIMIT);
        assert_eq!((code, output.as_str()), (0, "oic-minimal"), "{format}");
    }
}

fn the_base_was_reused_and_only_touched_files_inflated(report: &serde_json::Value) {
    let base = &report["base"];
    assert_eq!(base["reused"], true, "{report}");
    let number = |key: &str| base[key].as_u64().unwrap();
    assert!(number("files_read") < number("files"), "{base}");
    assert!(number("inflated_bytes") < number("bytes"), "{base}");
    assert!(report["packages"]["reused"].as_u64() > Some(0), "{report}");
}

/// A mount unpacks next to nothing, while unpacking the whole base takes its time.
fn mounts_quickly(oic: &Oic) {
    let tarball = oic.provider_dir().join("chrootbuild/chrootenv.tar.gz");
    let begun = Instant::now();
    tool("gzip", &["-t".as_ref(), tarball.as_os_str()]);
    let unpacking = begun.elapsed();
    let begun = Instant::now();
    let mounted = oic.run(&["mount", "debian-debian13-x86_64"]);
    let took = begun.elapsed();
    assert_eq!(mounted.code, Some(0), "{}", mounted.stderr);
    let root = oic.provider_dir().join("chrootenv");
    let os_release = fs::read_to_string(root.join("usr/lib/os-release"));
    let write = fs::write(root.join("etc/new"), "x");
    let unmounted = oic.run(&["umount", "debian-debian13-x86_64"]);
    assert_eq!(unmounted.code, Some(0), "{}", unmounted.stderr);
    assert!(os_release.unwrap().contains("VERSION_ID=\"13\""));
    assert_eq!(write.unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    // An unoptimized program, beside whatever runs: milliseconds are for the bench.
    assert!(
        took < unpacking.max(Duration::from_secs(1)) * 2,
        "mounting took {took:?}, unpacking {unpacking:?}"
    );
}

fn digest(report: &serde_json::Value) -> &str {
    report["image"]["digest"].as_str().unwrap()
}

/// The layers are there, so the packages need not be: as after `oic cache gc`, offline.
fn no_package_is_needed_again(oic: &Oic) -> serde_json::Value {
    let aside = tempfile::tempdir_in(oic.package_cache().parent().unwrap()).unwrap();
    let packages = fs::read_dir(oic.package_cache()).unwrap();
    let packages = packages.map(|entry| entry.unwrap().path());
    let packages: Vec<_> = packages
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .collect();
    let kept = |path: &Path| aside.path().join(path.file_name().unwrap());
    packages.iter().for_each(|path| fs::rename(path, kept(path)).unwrap());
    let report = oic.run(&["build", SAMPLE, "--offline", "--format", "json"]).json();
    packages.iter().for_each(|path| fs::rename(kept(path), path).unwrap());
    assert_eq!(report["packages"]["unneeded"], report["packages"]["total"], "{report}");
    let bash = packages.iter().find(|path| path.to_string_lossy().contains("/bash_"));
    flip_byte(bash.unwrap(), 1000);
    report
}

fn a_truncated_snapshot_is_made_again_and_a_flipped_byte_fetched_again(oic: &Oic) -> serde_json::Value {
    let snapshot = oic.provider_dir().join("chrootbuild/chrootenv.tar.gz");
    let file = File::options().write(true).open(&snapshot).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let report = oic.run(&["build", SAMPLE, "--format", "json"]);
    assert!(
        report.stderr.contains("chrootenv.tar.gz"),
        "the log names the snapshot: {}",
        report.stderr
    );
    assert!(
        report.stderr.contains("bash_"),
        "the log names the package: {}",
        report.stderr
    );
    tool("gzip", &["-t".as_ref(), snapshot.as_os_str()]);
    let report = report.json();
    assert_eq!(report["base"]["reused"], false);
    assert_eq!(report["packages"]["refetched"], 1, "{report}");
    report
}

fn flip_byte(path: &Path, at: u64) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}
