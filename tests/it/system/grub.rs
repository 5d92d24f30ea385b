//! An image of Debian 13 with GRUB: as its packages bring it, with a boot partition of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::program::{Oic, Shown};
use oic_testkit::qemu::Machine;
use oic_testkit::{Steps, tool};
use serde_json::Value;

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const COMMAND_LIMIT: Duration = Duration::from_secs(300);
const PROVIDER: &str = "debian-debian13-x86_64";

/// Writes a template whose command line has what GRUB's scripts take for their own.
fn template(directory: &Path) -> PathBuf {
    let path = directory.join("grub.yml");
    let text = r#"
image: {name: grub, version: "1.0"}
target: {os: debian, dist: debian13, arch: x86_64, imageType: raw}
disk:
  name: d
  size: 1300MiB
  partitions:
    - {id: bios, type: bios-boot, fsType: ext2, flags: [bios_grub], start: 1MiB, end: 2MiB}
    - {id: efi, type: esp, start: 2MiB, end: 41MiB, fsType: fat32, mountPoint: /boot/efi}
    - {id: boot, type: xbootldr, start: 41MiB, end: 241MiB, fsType: ext4, mountPoint: /boot}
    - {id: root, type: linux-root-amd64, start: 241MiB, end: "0", fsType: ext4, mountPoint: /}
systemConfig:
  name: grub
  hostname: with-grub
  bootloader: {bootType: efi, provider: grub2}
  users: [{name: root, password: secret}]
  packages: [grub-pc, grub-efi-amd64-signed, shim-signed]
  additionalFiles:
    - {content: "GRUB_TIMEOUT=1\n", final: /etc/default/grub.d/timeout.cfg}
  kernel:
    cmdline: "console=ttyS0,115200 oic.a=$x;y oic.b=\"c d\""
    packages: [linux-image-cloud-amd64]
"#;
    fs::write(&path, text).unwrap();
    path
}

/// One test, since its parts need what the first has made.
#[test]
fn grub_starts_what_the_template_says_and_update_grub_agrees() {
    let oic = Oic::new("grub");
    let mut steps = Steps::new();
    let path = template(&oic.work_dir);
    let build = |more: &[&str]| -> Value {
        let args = [&["build", path.to_str().unwrap(), "--format", "json"], more].concat();
        oic.run(&args).json()
    };
    let first = steps.need("build", || build(&[]));
    let image = PathBuf::from(first["image"]["path"].as_str().unwrap());
    steps.check("files", || the_files_are_those_that_grub_reads(&oic));
    steps.check("boot", || boots_and_update_grub_agrees(&image));
    steps.check("boot by BIOS", || a_bios_starts_it_too(&image));
    steps.check("nothing changed", || {
        let again = build(&[]);
        let reused = again["layers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|layer| layer["reused"] == true);
        assert!(reused, "{again}");
        assert_eq!(again["image"]["digest"], first["image"]["digest"]);
    });
    steps.check("from scratch", || {
        let again = build(&["--from-scratch"]);
        assert_eq!(again["image"]["digest"], first["image"]["digest"]);
    });
}

fn the_files_are_those_that_grub_reads(oic: &Oic) {
    let shown = Shown::image(oic, PROVIDER, "grub");
    let at = |path: &str| shown.root().join(path);
    tool("grub-script-check", &[at("boot/grub/grub.cfg").as_os_str()]);
    let defaults = fs::read_to_string(at("etc/default/grub")).unwrap();
    let line = "GRUB_CMDLINE_LINUX='console=ttyS0,115200 '\\''oic.a=$x;y'\\'' '\\''oic.b=c d'\\'''\n";
    assert!(defaults.contains(line), "{defaults}");
    let menu = fs::read_to_string(at("boot/grub/grub.cfg")).unwrap();
    assert!(menu.contains("set timeout=1\n"), "{menu}");
    let variables = tool(
        "grub-editenv",
        &[at("boot/grub/grubenv").into_os_string(), "list".into()],
    );
    assert_eq!(variables, "");
}

/// The kernel is read through the BIOS, and says so; how it goes on does not depend on the firmware.
fn a_bios_starts_it_too(image: &Path) {
    let mut machine = Machine::boot_bios(image);
    machine.wait_for("Command line: BOOT_IMAGE=/vmlinuz-", BOOT_LIMIT);
}

fn boots_and_update_grub_agrees(image: &Path) {
    let mut machine = Machine::boot(image);
    machine.log_in("root", "secret", BOOT_LIMIT);
    let mut run = |command: &str| {
        let (code, output) = machine.run(command, COMMAND_LIMIT);
        assert_eq!(code, 0, "{command}: {output}");
        output
    };
    assert_eq!(run("hostname"), "with-grub");
    let line = run("cat /proc/cmdline");
    assert!(
        line.contains(" ro console=ttyS0,115200 oic.a=$x;y \"oic.b=c d\""),
        "{line}"
    );
    assert!(line.contains("BOOT_IMAGE=/vmlinuz-"), "{line}");
    assert_eq!(run("ls /boot/efi/EFI/debian /boot/efi/EFI/BOOT | grep -c -i efi$"), "6");
    run("cp /boot/grub/grub.cfg /tmp/ours && update-grub 2>&1");
    let mut entries = |file: &str| {
        let show = r"grep -E '^\s*(menuentry|submenu|linux|initrd)\s' ";
        let simplify = "sed -E 's/--class [^ ]+ //g; s/\\$menuentry_id_option/--id/; s/--hint[^ ]* //g; s/\\s+/ /g'";
        run(&format!(
            "{show} {file} | {simplify} | grep -v uefi-firmware | sed 's/^ *//; s/ *$//'"
        ))
    };
    let (ours, theirs) = (entries("/tmp/ours"), entries("/boot/grub/grub.cfg"));
    assert_eq!(ours, theirs);
    assert!(ours.contains("(recovery mode)"), "{ours}");
}
