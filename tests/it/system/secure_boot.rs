//! Firmware that verifies signatures starts what is signed with its keys, and nothing else. An EFI program that complains
//! stands for the kernel: nothing behind the loader takes time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::boot_disk::{self, COMPLAINT};
use crate::support::program::{Oic, own_mounts};
use oic::boot::signed;
use oic::model::{Enrollment, KernelForm, PartitionTable, Signing};
use oic::sign::key::{FileSigner, Passphrase};
use oic::sign::{Certificate, Signer};
use oic_testkit::qemu::{Keys, Machine};
use oic_testkit::tool;

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// Makes an image whose kernel has this form, signed by `signer`, if there is one.
fn image(directory: &Path, form: KernelForm, signer: Option<(&Signing, Arc<dyn Signer>)>) -> PathBuf {
    boot_disk::make_with(directory, PartitionTable::Gpt, form, |files| {
        if let Some((signing, signer)) = signer {
            signed::sign(files, signing, &signer).unwrap();
        }
    })
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn signing(certificate: PathBuf, enrollment: Option<Enrollment>) -> Signing {
    Signing {
        key: None,
        certificate,
        shown_certificate: None,
        passphrase: None,
        enrollment,
    }
}

fn signer(key: &Path, certificate: &Path, passphrase: Option<&Passphrase>) -> Arc<dyn Signer> {
    let certificate = Certificate::read(certificate).unwrap();
    // The certificate of the package may have ended.
    let now = certificate.valid_from();
    let now = now.max(SystemTime::UNIX_EPOCH);
    Arc::new(FileSigner::open(key, passphrase, certificate, now).unwrap())
}

#[test]
fn firmware_refuses_what_is_not_signed_and_starts_what_is() {
    let directory = scratch();
    let unsigned = image(directory.path(), KernelForm::Separate, None);
    let mut machine = Machine::boot_secure(&unsigned, Keys::Snakeoil);
    machine.wait_for("Access Denied", BOOT_LIMIT);
    drop(machine);
    let directory = scratch();
    fs::write(directory.path().join("passphrase"), "snakeoil\n").unwrap();
    let passphrase = Passphrase::read(&directory.path().join("passphrase")).unwrap();
    let (key, certificate) = (
        "/usr/share/ovmf/PkKek-1-snakeoil.key",
        "/usr/share/ovmf/PkKek-1-snakeoil.pem",
    );
    let signer = signer(Path::new(key), Path::new(certificate), Some(&passphrase));
    let signing = signing(certificate.into(), None);
    let image = image(directory.path(), KernelForm::Separate, Some((&signing, signer)));
    let mut machine = Machine::boot_secure(&image, Keys::Snakeoil);
    machine.wait_for(COMPLAINT, BOOT_LIMIT);
}

#[test]
fn firmware_without_keys_gets_those_of_the_image() {
    let directory = scratch();
    let at = |name: &str| directory.path().join(name);
    let (key, certificate) = (at("db.key"), at("db.crt"));
    let args = format!(
        "req -new -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj /CN=own -keyout {} -out {}",
        key.display(),
        certificate.display()
    );
    tool("openssl", &args.split(' ').collect::<Vec<_>>());
    let signer = signer(&key, &certificate, None);
    let signing = signing(certificate, Some(Enrollment::Force));
    let image = image(directory.path(), KernelForm::Unified, Some((&signing, signer)));
    let mut machine = Machine::boot_secure(&image, Keys::None);
    machine.wait_for("Enrolling secure boot keys", BOOT_LIMIT);
    // It starts again, and now verifies: the signed image unpacks its kernel, which is not one that starts, and the shell
    // of the firmware, without a signature, does not start either.
    machine.wait_for("Unsupported kernel image", BOOT_LIMIT);
    machine.wait_for("Security Violation", BOOT_LIMIT);
}

/// Debian's shim, systemd-boot and kernel, of which no key of the template has signed anything.
#[test]
fn the_signatures_of_the_distribution_are_enough() {
    own_mounts();
    let oic = Oic::new("distribution");
    let template = |packages: &str| {
        let path = oic.work_dir.join("distribution.yml");
        let text = format!(
            r#"
image: {{name: distribution, version: "1.0"}}
target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}
disk:
  name: d
  size: 1400MiB
  partitions:
    - {{id: boot, type: esp, start: 1MiB, end: 201MiB, fsType: fat32, mountPoint: /boot/efi}}
    - {{id: rootfs, type: linux-root-amd64, start: 201MiB, end: "0", fsType: ext4, mountPoint: /}}
systemConfig:
  name: distribution
  bootloader: {{bootType: efi, provider: systemd-boot, secureBoot: distribution}}
  packages: [{packages}]
  kernel:
    cmdline: console=ttyS0,115200
    packages: [linux-image-cloud-amd64]
"#
        );
        fs::write(&path, text).unwrap();
        path
    };
    let refused = oic.run(&["build", template("openssh-client").to_str().unwrap()]);
    let names = "shim-signed and systemd-boot-efi-amd64-signed";
    refused.assert_fails(1, &["systemConfig.bootloader.secureBoot", names]);
    let mut fetched = fs::read_dir(oic.package_cache()).into_iter().flatten();
    assert!(!fetched.any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "deb")));
    let path = template("shim-signed, systemd-boot-efi-amd64-signed");
    let report = oic.run(&["build", path.to_str().unwrap(), "--format", "json"]).json();
    let image = PathBuf::from(report["image"]["path"].as_str().unwrap());
    let mut machine = Machine::boot_secure(&image, Keys::Microsoft);
    machine.wait_for("Secure boot enabled", BOOT_LIMIT);
}
