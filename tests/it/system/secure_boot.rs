//! Firmware that verifies signatures starts what is signed with its keys, and nothing else. An EFI program that complains
//! stands for the kernel: nothing behind the loader takes time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::program::{Oic, own_mounts};
use oic::boot::{self, RootDevice, signed};
use oic::cancel::Cancel;
use oic::image::merged::Merged;
use oic::image::plan;
use oic::image::populate;
use oic::image::raw::{self, Inputs};
use oic::image::seed::ImageSeed;
use oic::model::{Disk, Enrollment, FileSystem, Kernel, KernelForm, Partition, PartitionType, Signing};
use oic::overlay::directory::DirectoryLayer;
use oic::package::{Arch, Sha256};
use oic::sign::key::{FileSigner, Passphrase};
use oic::sign::{Certificate, Signer};
use oic::work::Work;
use oic_testkit::qemu::{Keys, Machine};
use oic_testkit::tool;

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(1200);
/// Debian's systemd-boot and stub of the build host.
const PROGRAMS: &str = "usr/lib/systemd/boot/efi";
/// What the stub says that stands for the kernel: it has been started.
const STARTED: &str = "Unable to locate embedded .linux section";

fn partition(id: &str, kind: PartitionType, file_system: FileSystem, start_mib: u64, mount_point: &str) -> Partition {
    Partition {
        id: id.into(),
        name: id.into(),
        kind,
        type_uuid: None,
        file_system: Some(file_system),
        label: None,
        compression: None,
        start_bytes: start_mib << 20,
        end_bytes: Some((start_mib + 40) << 20),
        mount_point: Some(mount_point.into()),
        mount_options: "defaults".into(),
        flags: Vec::new(),
        is_hash_tree: false,
    }
}

/// Makes a tree with systemd-boot, and its stub, which starts nothing without a kernel, as kernel.
fn tree(at: &Path) -> Merged {
    for directory in ["boot/efi", "etc", PROGRAMS] {
        fs::create_dir_all(at.join(directory)).unwrap();
    }
    let program = |name: &str| Path::new("/").join(PROGRAMS).join(name);
    for name in ["systemd-bootx64.efi", "linuxx64.efi.stub"] {
        fs::copy(program(name), at.join(PROGRAMS).join(name)).expect("the package systemd-boot-efi is needed");
    }
    fs::copy(program("linuxx64.efi.stub"), at.join("boot/vmlinuz-1.0-tiny")).unwrap();
    fs::write(at.join("boot/initrd.img-1.0-tiny"), "none").unwrap();
    fs::write(at.join("etc/os-release"), "ID=tiny\nPRETTY_NAME='Tiny one'\n").unwrap();
    Merged::new(vec![Arc::new(DirectoryLayer::open(at).unwrap())]).unwrap()
}

/// Makes an image whose kernel has this form, signed by `signer`, if there is one.
fn image(directory: &Path, form: KernelForm, signer: Option<(&Signing, Arc<dyn Signer>)>) -> PathBuf {
    let merged = tree(&directory.join("tree"));
    let disk = Disk {
        partitions: vec![
            partition("esp", PartitionType::Esp, FileSystem::Fat32, 1, "/boot/efi"),
            partition("root", PartitionType::Linux, FileSystem::Ext4, 41, "/"),
        ],
        ..Disk::default()
    };
    let plan = plan::plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("secure"))).unwrap();
    let kernel = Kernel {
        form,
        ..Kernel::default()
    };
    let device = RootDevice::partition(&plan.root().unwrap().partuuid);
    let esp = Some(Path::new("/boot/efi"));
    let mut files = boot::prepare(&merged, Arch::X86_64, &kernel, &device, esp)
        .unwrap()
        .files;
    if let Some((signing, signer)) = signer {
        signed::sign(&mut files, signing, &signer).unwrap();
    }
    let mut contents = populate::contents(&plan);
    populate::add_to_esp(&mut contents, &plan, files).unwrap();
    let image = directory.join("image.raw");
    let cancel = Cancel::default();
    let inputs = Inputs {
        plan: &plan,
        merged: &merged,
        contents: &contents,
        boot_code: None,
        epoch_seconds: 1_700_000_000,
    };
    raw::write(&image, inputs, None, Work::quiet(&cancel)).unwrap();
    image
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
    machine.wait_for(STARTED, BOOT_LIMIT);
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
    // It starts again, and now verifies: the inner program of the image is not one that starts.
    machine.wait_for(STARTED, BOOT_LIMIT);
    drop(machine);
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
