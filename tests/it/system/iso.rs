//! Media of Debian 13: a live system, and an unattended installation to an empty disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::program::{Oic, own_mounts};
use oic_testkit::qemu::{Machine, Medium};
use oic_testkit::{Steps, tool};

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
/// What the kernel of the medium says first.
const KERNEL: &str = "Command line: BOOT_IMAGE=/images/vmlinuz";

/// Writes a template of a medium, with `disk`.
fn template(directory: &Path, name: &str, disk: &str) -> PathBuf {
    let text = format!(
        r#"
image: {{name: {name}, version: "1.0"}}
target: {{os: debian, dist: debian13, arch: x86_64, imageType: iso}}
disk:
  name: d
{disk}
systemConfig:
  name: {name}
  hostname: {name}
  users: [{{name: oic, password: "oic"}}]
  packages: [grub-pc-bin, grub-common, grub-efi-amd64-signed, shim-signed]
  kernel: {{cmdline: "console=ttyS0,115200", packages: [linux-image-cloud-amd64]}}
"#
    );
    let path = directory.join(format!("{name}.yml"));
    fs::write(&path, text).unwrap();
    path
}

fn build(oic: &Oic, template: &Path) -> Value {
    oic.run(&["build", template.to_str().unwrap(), "--format", "json"])
        .json()
}

/// Returns the medium among what was delivered.
fn medium(report: &Value) -> PathBuf {
    let paths = report["artifacts"].as_array().unwrap().iter();
    let mut paths = paths.map(|path| PathBuf::from(path.as_str().unwrap()));
    paths
        .find(|path| path.extension().is_some_and(|end| end == "iso"))
        .unwrap()
}

/// One test, since its parts need what the ones before made.
#[test]
fn a_live_medium_starts_on_both_firmwares_as_cd_and_as_disk() {
    own_mounts();
    let oic = Oic::new("iso");
    let template = template(&oic.work_dir, "live", "  artifacts: [{type: img, compression: zstd}]");
    let mut steps = Steps::new();
    let report = steps.need("build", || build(&oic, &template));
    let iso = medium(&report);
    steps.check("oracles", || programs_agree(&iso));
    steps.check("nothing changed", || {
        let identity = || {
            fs::metadata(&iso)
                .map(|m| (m.ino(), m.ctime(), m.ctime_nsec()))
                .unwrap()
        };
        let before = identity();
        build(&oic, &template);
        assert_eq!(identity(), before);
    });
    for (name, is_uefi, is_cd) in [
        ("BIOS, CD", false, true),
        ("BIOS, disk", false, false),
        ("UEFI, CD", true, true),
    ] {
        steps.check(name, || {
            let mut machine = Machine::boot_medium(
                Medium {
                    path: &iso,
                    is_uefi,
                    is_cd,
                },
                None,
            );
            machine.wait_for(KERNEL, BOOT_LIMIT);
        });
    }
    steps.check("UEFI, disk, to a login", || {
        let (is_uefi, is_cd) = (true, false);
        let mut machine = Machine::boot_medium(
            Medium {
                path: &iso,
                is_uefi,
                is_cd,
            },
            None,
        );
        machine.wait_for(KERNEL, BOOT_LIMIT);
        machine.log_in("oic", "oic", BOOT_LIMIT);
        let (code, name) = machine.run("hostname", BOOT_LIMIT);
        assert_eq!((code, name.as_str()), (0, "live"));
    });
    oic.assert_clean();
}

fn programs_agree(iso: &Path) {
    let path = iso.to_str().unwrap();
    let report = tool(
        "sh",
        &["-c", &format!("xorriso -indev {path} -report_el_torito plain 2>&1")],
    );
    for expected in ["BIOS  y   none", "UEFI  y   none", "'ICT_CDROM'"] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    let listed = tool("bsdtar", &["-tf", path]);
    for name in [
        "images/vmlinuz",
        "images/initrd.img",
        "boot/grub/grub.cfg",
        "config/template-dump.yaml",
    ] {
        assert!(listed.lines().any(|line| line == name), "{name}: {listed}");
    }
    let dump = tool("bsdtar", &["-xOf", path, "config/template-dump.yaml"]);
    assert!(dump.contains("name: oic") && !dump.contains("password: oic"), "{dump}");
}

#[test]
fn an_unattended_medium_installs_to_the_empty_disk_alone() {
    own_mounts();
    let oic = Oic::new("iso-install");
    let disk = r#"
  selectionPolicy: {strategy: largest}
  size: 1200MiB
  partitions:
    - {id: efi, type: esp, start: 1MiB, end: 65MiB, fsType: fat32, mountPoint: /boot/efi}
    - {id: root, type: linux-root-amd64, start: 65MiB, end: "0", fsType: ext4, mountPoint: /}
"#;
    let template = template(&oic.work_dir, "unattended", disk);
    let mut steps = Steps::new();
    let report = steps.need("build", || build(&oic, &template));
    let iso = medium(&report);
    let target = oic.work_dir.join("target.raw");
    fs::File::create(&target).unwrap().set_len(2 << 30).unwrap();
    steps.need("installation", || {
        let (is_uefi, is_cd) = (true, false);
        let mut machine = Machine::boot_medium(
            Medium {
                path: &iso,
                is_uefi,
                is_cd,
            },
            Some(&target),
        );
        machine.wait_for("unattended is installed on /dev/vd", BOOT_LIMIT);
        machine.wait_for_end(BOOT_LIMIT);
    });
    steps.check("table", || {
        let verified = tool("sgdisk", &["-v", target.to_str().unwrap()]);
        assert!(verified.contains("No problems found"), "{verified}");
    });
    steps.check("boot of the disk", || {
        let mut machine = Machine::boot(&target);
        machine.log_in("oic", "oic", BOOT_LIMIT);
        let (code, name) = machine.run("hostname", BOOT_LIMIT);
        assert_eq!((code, name.as_str()), (0, "unattended"));
    });
    oic.assert_clean();
}
