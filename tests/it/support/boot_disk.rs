//! A disk that UEFI firmware starts within seconds: systemd-boot, and a program that complains in the place of a kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oic::boot::{self, RootDevice};
use oic::cancel::Cancel;
use oic::image::content::Source;
use oic::image::merged::Merged;
use oic::image::plan;
use oic::image::populate;
use oic::image::raw::{self, Inputs};
use oic::image::seed::ImageSeed;
use oic::model::{Disk, FileSystem, Kernel, KernelForm, Partition, PartitionTable, PartitionType};
use oic::overlay::directory::DirectoryLayer;
use oic::package::{Arch, Sha256};
use oic::work::Work;

const PROGRAMS: &str = "usr/lib/systemd/boot/efi";
/// What the program says.
pub const COMPLAINT: &str = "Unable to locate embedded .linux section";

/// A partition of 40 MiB.
pub fn partition(id: &str, file_system: FileSystem, start_mib: u64, mount_point: &str) -> Partition {
    Partition {
        id: id.into(),
        name: id.into(),
        kind: PartitionType::Linux,
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

/// Makes the disk with a table of the kind `table` in `directory`.
pub fn make(directory: &Path, table: PartitionTable) -> PathBuf {
    make_with(directory, table, KernelForm::Separate, |_| {})
}

/// Makes the disk as [`make`] does, with a kernel of this form; `change` changes the files for the loader's partition.
pub fn make_with(
    directory: &Path,
    table: PartitionTable,
    form: KernelForm,
    change: impl FnOnce(&mut Vec<(PathBuf, Source)>),
) -> PathBuf {
    let merged = tree(&directory.join("tree"));
    let mut esp = partition("esp", FileSystem::Fat32, 1, "/boot/efi");
    esp.kind = PartitionType::Esp;
    let disk = Disk {
        table,
        partitions: vec![esp, partition("root", FileSystem::Ext4, 41, "/")],
        ..Disk::default()
    };
    let plan = plan::plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("firmware"))).unwrap();
    let kernel = Kernel {
        form,
        ..Kernel::default()
    };
    let esp = Some(Path::new("/boot/efi"));
    let device = RootDevice::partition(&plan.root().unwrap().partuuid);
    let mut files = boot::prepare(&merged, Arch::X86_64, &kernel, &device, esp)
        .unwrap()
        .files;
    change(&mut files);
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
