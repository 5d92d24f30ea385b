//! A verified root, end to end: Debian's packages become an image that boots, verifies what it reads, and keeps what
//! changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::program::{Oic, own_mounts};
use oic_testkit::qemu::Machine;
use oic_testkit::{Steps, tool};
use serde_json::Value;

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(1200);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Writes the template; `packages` are those that its initrd needs.
fn template(directory: &Path, packages: &str) -> PathBuf {
    let path = directory.join("verified.yml");
    let text = format!(
        r#"
image: {{name: verified, version: "1.0"}}
target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}
disk:
  name: d
  size: 2GiB
  partitions:
    - {{id: boot, type: esp, start: 1MiB, end: 301MiB, fsType: fat32, mountPoint: /boot/efi}}
    - {{id: rootfs, type: linux-root-amd64, start: 301MiB, end: 1501MiB, fsType: ext4, mountPoint: /}}
    - {{id: roothashmap, type: linux, start: 1501MiB, end: 1521MiB, fsType: ext4, mountPoint: none}}
    - {{id: userdata, type: linux, start: 1521MiB, end: "0", fsType: ext4, mountPoint: /opt}}
systemConfig:
  name: verified
  immutability: {{enabled: true}}
  packages: [{packages}, sudo]
  users: [{{name: oic, password: oic, sudo: true}}]
  configurations: [{{cmd: "echo first > /var/lib/oic-was-here"}}]
  kernel:
    # A machine that emulates beside other work finds its disks late.
    cmdline: console=tty0 console=ttyS0,115200 systemd.default_device_timeout_sec=900
    packages: [linux-image-cloud-amd64]
"#
    );
    fs::write(&path, text).unwrap();
    path
}

/// One test, since its parts need what the ones before made.
#[test]
fn a_verified_root_boots_and_keeps_what_changes() {
    own_mounts();
    let oic = Oic::new("verity");
    let mut steps = Steps::new();
    steps.check("refusals", || what_cannot_boot_is_refused_before_any_work(&oic));
    let template = template(
        &oic.work_dir,
        r#""-initramfs-tools", dracut, systemd-cryptsetup, dmsetup"#,
    );
    let build = |arguments: &[&str]| {
        let build = ["build", template.to_str().unwrap(), "--format", "json"];
        let arguments = [&build[..], arguments].concat();
        oic.run(&arguments).json()
    };
    let first = steps.need("first build", || build(&[]));
    let image = PathBuf::from(first["image"]["path"].as_str().unwrap());
    steps.check("tree of hashes", || the_tree_is_that_of_the_root_hash(&first, &image));
    steps.check("boot", || boots(&image));
    steps.check("again", || {
        let again = build(&["--from-scratch"]);
        assert_eq!(again["image"]["digest"], first["image"]["digest"]);
        assert_eq!(again["image"]["root_hash"], first["image"]["root_hash"]);
        let upon = build(&[]);
        assert_eq!(upon["image"]["digest"], first["image"]["digest"]);
        assert_eq!(upon["image"]["written_bytes"], 0, "{upon}");
    });
}

fn what_cannot_boot_is_refused_before_any_work(oic: &Oic) {
    let wrong = template(&oic.work_dir, "openssh-client");
    let refused = oic.run(&["build", wrong.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let expected = "systemConfig.immutability.enabled: the initrds of initramfs-tools cannot mount a verified root";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    assert!(refused.stderr.contains("\"-initramfs-tools\""), "{}", refused.stderr);
    let text = fs::read_to_string(&wrong).unwrap();
    let small = text
        .replace("end: 1521MiB", "end: 1505MiB")
        .replace("1521MiB", "1505MiB");
    fs::write(&wrong, small).unwrap();
    let refused = oic.run(&["build", wrong.to_str().unwrap()]);
    let expected = "disk.partitions[2].end (id \"roothashmap\"): the hash tree of \"rootfs\", which has 1200 MiB, needs 10 MiB, \
                    and the partition has 4 MiB";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    let mut fetched = fs::read_dir(oic.package_cache()).into_iter().flatten();
    assert!(!fetched.any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "deb")));
}

/// Copies partition `number` to a file of its own.
fn partition(image: &Path, number: u32, directory: &Path) -> String {
    let table = tool("sfdisk", &["-d".as_ref(), image.as_os_str()]);
    let line = table
        .lines()
        .filter(|line| line.contains("start="))
        .nth(number as usize - 1)
        .unwrap();
    let field = |name: &str| -> u64 {
        let rest = line.split_once(&format!("{name}=")).unwrap().1;
        rest.trim_start().split([',', ' ']).next().unwrap().parse().unwrap()
    };
    let to = directory.join(number.to_string()).display().to_string();
    let sectors = |name: &str, option: &str| format!("{option}={}", field(name) / 2048);
    tool(
        "dd",
        &[
            format!("if={}", image.display()),
            format!("of={to}"),
            "bs=1M".into(),
            "conv=sparse".into(),
            "status=none".into(),
            sectors("start", "skip"),
            sectors("size", "count"),
        ],
    );
    to
}

fn the_tree_is_that_of_the_root_hash(report: &Value, image: &Path) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [esp, root, tree, data] = [1, 2, 3, 4].map(|number| partition(image, number, directory.path()));
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (uki, line) = (at("linux.efi"), at("cmdline"));
    tool("mcopy", &["-i", &esp, "::EFI/Linux/linux.efi", &uki]);
    tool("objcopy", &["-O", "binary", "--only-section", ".cmdline", &uki, &line]);
    let line = fs::read_to_string(line).unwrap();
    let hash = line.split(' ').find_map(|word| word.strip_prefix("roothash=")).unwrap();
    assert_eq!(report["image"]["root_hash"], hash, "{line}");
    let veritysetup = |root: &str| {
        let mut command = Command::new("veritysetup");
        command.args(["verify", root, &tree, hash]);
        command
            .output()
            .expect("the package cryptsetup-bin is needed")
            .status
            .success()
    };
    assert!(veritysetup(&root));
    for file_system in [&root, &data] {
        tool("e2fsck", &["-fn", file_system]);
    }
    let status = tool("debugfs", &["-R", "cat /var/lib/dpkg/status", &data]);
    assert!(status.contains("Package: dracut\n"), "{status}");
    let file = fs::File::options().read(true).write(true).open(&root).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100 << 20).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 100 << 20).unwrap();
    assert!(!veritysetup(&root), "a flipped bit");
}

fn boots(image: &Path) {
    let mut machine = Machine::boot(image);
    machine.log_in("oic", "oic", BOOT_LIMIT);
    let mut check = |command: &str, expected: &str| {
        let (code, output) = machine.run(command, COMMAND_LIMIT);
        assert_eq!((code, output.as_str()), (0, expected), "{command}");
    };
    check("systemctl is-system-running --wait", "running");
    check("systemctl --failed --no-legend --plain", "");
    check("findmnt -n -o SOURCE /", "/dev/mapper/root");
    check("findmnt -n -o OPTIONS / | cut -d, -f1", "ro");
    check("cut -d- -f1,2 /sys/block/dm-0/dm/uuid", "CRYPT-VERITY");
    check("findmnt -n -o FSTYPE --mountpoint /etc", "overlay");
    check("findmnt -n -o FSTYPE --mountpoint /var", "ext4");
    check("touch /var/tmp/new ~/new && echo yes", "yes");
    check("cat /var/lib/oic-was-here", "first");
    check("dpkg-query -W -f '${Status}' dracut", "install ok installed");
    // The first process has written the machine's id, and what needs root can be written too.
    check(
        "tr -d '0-9a-f\\n' < /etc/machine-id | wc -c; wc -c < /etc/machine-id",
        "0\n33",
    );
    check(
        "ls -d /var/log/journal/$(cat /etc/machine-id) >/dev/null 2>&1; stat -c %U /opt/overlay/etc/upper",
        "root",
    );
}
