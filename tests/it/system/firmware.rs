//! UEFI firmware starts what is on the disks that the image writer makes. An EFI program that complains stands for the
//! kernel: nothing behind the loader takes time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oic::boot::{self, RootDevice};
use oic::cancel::Cancel;
use oic::image::merged::Merged;
use oic::image::plan;
use oic::image::populate;
use oic::image::raw::{self, Inputs};
use oic::image::seed::ImageSeed;
use oic::model::{Disk, FileSystem, Kernel, KernelForm, Partition, PartitionTable, PartitionType};
use oic::overlay::directory::DirectoryLayer;
use oic::package::{Arch, Sha256};
use oic::work::Work;
use oic_testkit::qemu::Machine;

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
const PROGRAMS: &str = "usr/lib/systemd/boot/efi";

fn partition(id: &str, file_system: FileSystem, start_mib: u64, mount_point: &str) -> Partition {
    Partition {
        id: id.into(),
        name: id.into(),
        kind: PartitionType::Linux,
        type_uuid: None,
        file_system: Some(file_system),
        label: None,
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
    let loader = "systemd-bootx64.efi";
    fs::copy(program(loader), at.join(PROGRAMS).join(loader)).expect("the package systemd-boot-efi is needed");
    fs::copy(program("linuxx64.efi.stub"), at.join("boot/vmlinuz-1.0-tiny")).unwrap();
    fs::write(at.join("boot/initrd.img-1.0-tiny"), "none").unwrap();
    fs::write(at.join("etc/os-release"), "ID=tiny\nPRETTY_NAME='Tiny one'\n").unwrap();
    Merged::new(vec![Arc::new(DirectoryLayer::open(at).unwrap())]).unwrap()
}

#[test]
fn an_mbr_with_an_entry_of_the_boot_loader_specification_boots() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let merged = tree(&directory.path().join("tree"));
    let mut esp = partition("esp", FileSystem::Fat32, 1, "/boot/efi");
    esp.kind = PartitionType::Esp;
    let disk = Disk {
        table: PartitionTable::Mbr,
        partitions: vec![esp, partition("root", FileSystem::Ext4, 41, "/")],
        ..Disk::default()
    };
    let plan = plan::plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("firmware"))).unwrap();
    let kernel = Kernel {
        form: KernelForm::Separate,
        ..Kernel::default()
    };
    let esp = Some(Path::new("/boot/efi"));
    let device = RootDevice::partition(&plan.root().unwrap().partuuid);
    let prepared = boot::prepare(&merged, Arch::X86_64, &kernel, &device, esp).unwrap();
    let mut contents = populate::contents(&plan);
    populate::add_to_esp(&mut contents, &plan, prepared.files).unwrap();
    let image = directory.path().join("image.raw");
    let cancel = Cancel::default();
    let inputs = Inputs {
        plan: &plan,
        merged: &merged,
        contents: &contents,
        epoch_seconds: 1_700_000_000,
    };
    raw::write(&image, inputs, None, Work::quiet(&cancel)).unwrap();
    let mut machine = Machine::boot(&image);
    machine.wait_for("Unable to locate embedded .linux section", BOOT_LIMIT);
    machine.wait_for("Failed to execute Tiny one (\\tiny\\1.0-tiny\\linux)", BOOT_LIMIT);
}
