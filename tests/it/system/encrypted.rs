//! An encrypted root with a signed kernel, end to end: Debian's packages become an image that asks for its passphrase, or
//! opens itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
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
const PASSPHRASE: &str = "correct-horse-battery-staple";

/// Writes the template, its keys and its passphrase; `packages` are those that its initrd needs.
fn template(directory: &Path, packages: &str, unlock: &str) -> PathBuf {
    let path = directory.join(format!("{unlock}.yml"));
    let text = format!(
        r#"
image: {{name: encrypted-{unlock}, version: "1.0"}}
target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}
disk:
  name: d
  size: 1700MiB
  partitions:
    - {{id: boot, type: esp, start: 1MiB, end: 201MiB, fsType: fat32, mountPoint: /boot/efi}}
    - {{id: rootfs, type: linux, start: 201MiB, end: "0", fsType: ext4, mountPoint: /}}
systemConfig:
  name: encrypted-{unlock}
  fde: {{enabled: true, passphraseFile: passphrase, seedFile: seed, unlock: {unlock}}}
  signing: {{key: db.key, certificate: db.crt}}
  packages: [{packages}]
  users: [{{name: oic, password: oic}}]
  kernel:
    cmdline: console=tty0 console=ttyS0,115200 systemd.default_device_timeout_sec=900
    packages: [linux-image-cloud-amd64]
"#
    );
    fs::write(&path, text).unwrap();
    fs::write(directory.join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
    fs::write(directory.join("seed"), [7; 32]).unwrap();
    let key = directory.join("db.key");
    if !key.exists() {
        let args = format!(
            "req -new -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj /CN=own -keyout {} -out {}",
            key.display(),
            directory.join("db.crt").display()
        );
        tool("openssl", &args.split(' ').collect::<Vec<_>>());
    }
    path
}

/// One test, since its parts need what the ones before made.
#[test]
fn an_encrypted_root_opens_with_its_passphrase_or_by_itself() {
    own_mounts();
    let oic = Oic::new("encrypted");
    let keys = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut steps = Steps::new();
    steps.check("refusal", || {
        let wrong = template(keys.path(), "openssh-client", "manual");
        let refused = oic.run(&["build", wrong.to_str().unwrap()]);
        refused.assert_fails(
            1,
            &["systemConfig.fde.enabled: the initrds of initramfs-tools do not open the disk"],
        );
    });
    let packages = r#""-initramfs-tools", dracut, systemd-cryptsetup, cryptsetup-bin, dmsetup"#;
    let build = |unlock: &str, more: &[&str]| -> Value {
        let path = template(keys.path(), packages, unlock);
        let args = [&["build", path.to_str().unwrap(), "--format", "json"], more].concat();
        oic.run(&args).json()
    };
    let manual = steps.need("build", || build("manual", &[]));
    let image = PathBuf::from(manual["image"]["path"].as_str().unwrap());
    steps.check("container", || others_open_the_container(&image, keys.path()));
    steps.check("nothing changed", || {
        let again = build("manual", &[]);
        assert_eq!(again["image"]["digest"], manual["image"]["digest"]);
        assert_eq!(again["image"]["written_bytes"], 0, "{again}");
    });
    steps.check("from scratch", || {
        let again = build("manual", &["--from-scratch"]);
        assert_eq!(again["image"]["digest"], manual["image"]["digest"]);
    });
    steps.check("secrets", || no_secret_is_kept(&oic, keys.path()));
    steps.check("passphrase", || {
        let mut machine = Machine::boot(&image);
        machine.wait_for("enter passphrase for disk", BOOT_LIMIT);
        std::thread::sleep(Duration::from_secs(2));
        machine.type_line(PASSPHRASE);
        is_encrypted(&mut machine);
    });
    let auto = steps.need("build for itself", || build("auto", &[]));
    let image = PathBuf::from(auto["image"]["path"].as_str().unwrap());
    steps.check("by itself", || is_encrypted(&mut Machine::boot(&image)));
}

fn is_encrypted(machine: &mut Machine) {
    machine.log_in("oic", "oic", BOOT_LIMIT);
    for (command, expected) in [
        ("findmnt -n -o SOURCE /", "/dev/mapper/rootfs"),
        ("cut -d- -f1,2 /sys/block/dm-0/dm/uuid", "CRYPT-LUKS2"),
        ("systemctl is-system-running --wait", "running"),
        ("systemctl --failed --no-legend --plain", ""),
    ] {
        let (_, output) = machine.run(command, COMMAND_LIMIT);
        assert_eq!(output, expected, "{command}");
    }
}

/// Copies the partition with the root to a file of its own, and has others look at it.
fn others_open_the_container(image: &Path, directory: &Path) {
    let at = |name: &str| directory.join(name).display().to_string();
    let root = at("root");
    let count = format!("if={}", image.display());
    tool(
        "dd",
        &[
            &count,
            &format!("of={root}"),
            "bs=1M",
            "skip=201",
            "conv=sparse",
            "status=none",
        ],
    );
    let dump = tool("cryptsetup", &["luksDump", &root]);
    assert!(dump.contains("aes-xts-plain64") && dump.contains("argon2id"), "{dump}");
    let passphrase = at("bare");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    tool(
        "cryptsetup",
        &["open", "--test-passphrase", "--key-file", &passphrase, &root],
    );
    let offset = (1 << 20).to_string();
    tool(
        "mcopy",
        &[
            "-i",
            &format!("{}@@{offset}", image.display()),
            "::EFI/Linux/linux.efi",
            &at("linux.efi"),
        ],
    );
    tool("sbverify", &["--cert", &at("db.crt"), &at("linux.efi")]);
}

/// Looks for the passphrase and lines of the private key in everything that the builds have written.
fn no_secret_is_kept(oic: &Oic, keys: &Path) {
    let key = fs::read_to_string(keys.join("db.key")).unwrap();
    let line = key.lines().nth(5).unwrap();
    for secret in [PASSPHRASE, line] {
        for directory in [&oic.work_dir, &oic.cache_dir] {
            let found = Command::new("grep")
                .args(["-rlaF", secret])
                .arg(directory)
                .output()
                .unwrap();
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            assert!(found.is_empty(), "{found}");
        }
    }
}
