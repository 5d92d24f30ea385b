//! An image whose root grows: through systemd-repart, and through the programs of util-linux.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::PathBuf;

use crate::support::program::{Oic, Shown};
use oic_testkit::{Steps, tool};

/// Generous: emulation on a loaded machine takes minutes.
const LIMIT: &str = "1200";
const PROVIDER: &str = "debian-debian13-x86_64";

fn template(oic: &Oic, name: &str, package: &str, root: &str) -> PathBuf {
    let path = oic.work_dir.join(format!("{name}.yml"));
    let text = format!(
        r#"
image: {{name: {name}, version: "1.0"}}
target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}
disk:
  name: d
  size: 1500MiB
  {root}
  partitions:
    - {{id: efi, type: esp, start: 1MiB, end: 301MiB, fsType: fat32, mountPoint: /boot/efi}}
    - {{id: root, type: linux-root-amd64, start: 301MiB, end: "0", fsType: ext4, mountPoint: /, grow: true}}
systemConfig:
  name: {name}
  hostname: grows
  packages: [{package}]
  configurations:
    - {{cmd: "echo root has $(df --output=size -BM / | tail -n 1) on $(blockdev --getss /dev/vda) > /dev/ttyS0", when: firstBoot}}
  kernel:
    cmdline: "console=ttyS0,115200"
    packages: [linux-image-cloud-amd64]
"#
    );
    fs::write(&path, text).unwrap();
    path
}

/// Sectors of 4,096 bytes cost no boot of their own here.
#[test]
fn the_root_grows_to_the_end_of_a_larger_disk() {
    let oic = Oic::new("growing");
    let mut steps = Steps::new();
    let kinds = [
        ("repart", "systemd-repart", "sectorSize: 4096", "4096"),
        ("sfdisk", "fdisk", "partitionTableType: gpt", "512"),
    ];
    for (name, package, disk, sector_bytes) in kinds {
        let path = template(&oic, name, package, disk);
        let report = steps.need("build", || {
            oic.run(&["build", path.to_str().unwrap(), "--format", "json"]).json()
        });
        let image = PathBuf::from(report["image"]["path"].as_str().unwrap());
        steps.check("table", || {
            let table = tool("fdisk", &["-b", sector_bytes, "-l", image.to_str().unwrap()]);
            assert!(
                table.contains(&format!("(logical/physical): {sector_bytes} bytes")),
                "{table}"
            );
            assert!(table.contains("Linux root (x86-64)"), "{table}");
            // What it says about a backup in the wrong place, a size that is not the disk's, a checksum.
            assert!(
                !table.contains("will be corrected") && !table.contains("corrupt"),
                "{table}"
            );
        });
        steps.check("files", || {
            let shown = Shown::image(&oic, PROVIDER, name);
            let exists = |path: &str| shown.root().join(path).exists();
            assert_eq!(exists("usr/lib/repart.d/002-root.conf"), name == "repart");
            assert_eq!(exists("usr/lib/oic/grow-partition"), name == "sfdisk");
            let fstab = fs::read_to_string(shown.root().join("etc/fstab")).unwrap();
            assert!(fstab.contains(" / ext4 defaults,x-systemd.growfs 0 1"), "{fstab}");
        });
        steps.check("boot", || {
            let expected = format!(r"root has +5\d\d\dM on {sector_bytes}");
            let args = [
                "boot",
                path.to_str().unwrap(),
                "--disk-size",
                "6GiB",
                "--timeout",
                LIMIT,
            ];
            let booted = oic.run(&[&args[..], &["--expect", &expected]].concat());
            assert_eq!(booted.code, Some(0), "{}\n{}", booted.stdout, booted.stderr);
        });
    }
}

#[test]
fn an_image_that_cannot_grow_says_what_is_missing() {
    let oic = Oic::new("growing-not");
    let path = template(&oic, "nothing", "sudo", "partitionTableType: gpt");
    oic.run(&["build", path.to_str().unwrap()]).assert_fails(
        1,
        &[
            "the partition root is to grow",
            "neither systemd-repart nor sfdisk",
            "add the package systemd-repart",
        ],
    );
}
