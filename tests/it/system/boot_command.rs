//! `oic boot` in QEMU: what it finds, how it ends, and that nothing is left of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oic::model::PartitionTable;
use oic_testkit::{Finished, soon, tool};

use crate::support::boot_disk::{self, COMPLAINT};
use crate::support::program::Oic;

/// Generous: emulation on a loaded machine takes minutes.
const LIMIT: &str = "600";

struct Place {
    oic: Oic,
    directory: tempfile::TempDir,
    image: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let image = boot_disk::make(directory.path(), PartitionTable::Gpt);
        fs::create_dir(directory.path().join("temporary")).unwrap();
        Self {
            oic: Oic::new(name),
            directory,
            image,
        }
    }

    fn temporary(&self) -> PathBuf {
        self.directory.path().join("temporary")
    }

    fn start(&self, image: &Path, args: &[&str]) -> Child {
        let args = [&["boot", image.to_str().unwrap()], args].concat();
        let mut command = self.oic.command(&args);
        command.env("OIC_TEMP_DIR", self.temporary()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn boot(&self, image: &Path, args: &[&str]) -> Finished {
        let finished = Finished::of(&self.start(image, args).wait_with_output().unwrap());
        self.assert_nothing_left();
        finished
    }

    /// Processes of QEMU that have this place in their arguments.
    fn machines(&self) -> Vec<i32> {
        let name = self.directory.path().to_str().unwrap();
        let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            (line.starts_with("qemu") && line.contains(name)).then_some(id)
        });
        entries.collect()
    }

    fn assert_nothing_left(&self) {
        assert!(soon(|| self.machines().is_empty()), "{:?}", self.machines());
        let left: Vec<_> = fs::read_dir(self.temporary()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn an_expected_text_decides_the_exit_code() {
    let place = Place::new("boot-expect");
    let before = fs::read(&place.image).unwrap();
    let log = place.directory.path().join("console");
    let options = ["--console-log", log.to_str().unwrap(), "--timeout", LIMIT];
    let pattern = COMPLAINT.replace('.', r"\.");
    let seen = place.boot(
        &place.image,
        &[&["--expect", "BdsDxe", "--expect", &pattern], &options[..]].concat(),
    );
    assert_eq!(seen.code, Some(0), "{} {}", seen.stdout, seen.stderr);
    assert!(seen.stdout.contains(COMPLAINT), "{}", seen.stdout);
    assert!(fs::read_to_string(&log).unwrap().contains(COMPLAINT));
    let late = place.boot(&place.image, &["--expect", "nobody says this", "--timeout", "3"]);
    late.assert_fails(124, &["too late", "nobody says this", "within 3 seconds"]);
    assert_eq!(fs::read(&place.image).unwrap(), before, "the image was changed");

    // The same from another format, on a larger disk, with a volume for cloud-init.
    let other = place.directory.path().join("a, b.qcow2");
    let convert = [
        "convert",
        "-O",
        "qcow2",
        place.image.to_str().unwrap(),
        other.to_str().unwrap(),
    ];
    tool("qemu-img", &convert);
    let data = place.directory.path().join("user-data");
    fs::write(&data, "#cloud-config\n").unwrap();
    let more = [
        "--disk-size",
        "8GiB",
        "--user-data",
        data.to_str().unwrap(),
        "--expect",
        &pattern,
    ];
    let seen = place.boot(&other, &[&more[..], &["--timeout", LIMIT]].concat());
    assert_eq!(seen.code, Some(0), "{} {}", seen.stdout, seen.stderr);
}

#[test]
fn a_signal_ends_the_machine() {
    let place = Place::new("boot-signal");
    for (signal, code) in [
        (Signal::SIGTERM, Some(130)),
        (Signal::SIGINT, Some(130)),
        (Signal::SIGKILL, None),
    ] {
        let mut child = place.start(&place.image, &["--accel", "tcg", "--expect", "nobody says this"]);
        assert!(soon(|| !place.machines().is_empty()));
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), code);
        match signal {
            // What is left is a directory, which the next one removes.
            Signal::SIGKILL => assert!(soon(|| place.machines().is_empty())),
            _ => place.assert_nothing_left(),
        }
    }
}

#[test]
fn what_cannot_start_says_what_to_do() {
    let place = Place::new("boot-refused");
    let boot = |args: &[&str]| place.boot(&place.image, args);
    boot(&["--qemu", "qemu-of-nobody"]).assert_fails(1, &["qemu-of-nobody is not installed", "qemu-system-x86"]);
    boot(&["--disk-size", "1MiB"]).assert_fails(1, &["it can only grow"]);
    boot(&["--firmware", "bios", "--secure-boot"]).assert_fails(2, &["a BIOS has no Secure Boot"]);
    boot(&["--expect", "("]).assert_fails(2, &["--expect"]);
    boot(&["--ssh"]).assert_fails(1, &["no public key", "--ssh-key"]);
    boot(&["--", "-no-such-option"]).assert_fails(1, &["invalid option", "failed"]);
    let packed = place.directory.path().join("image.raw.gz");
    fs::write(&packed, b"\x1f\x8b\x08 and so on").unwrap();
    place.boot(&packed, &[]).assert_fails(1, &["compressed by gzip"]);
    place
        .boot(Path::new("/absent/image.raw"), &[])
        .assert_fails(1, &["/absent/image.raw"]);
    let template = Path::new("debian13-x86_64-minimal");
    place
        .boot(template, &[])
        .assert_fails(1, &["is not built yet", "oic build debian13-x86_64-minimal"]);
}
