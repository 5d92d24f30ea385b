//! UEFI firmware starts what is on the disks that the image writer makes. An EFI program that complains stands for the
//! kernel: nothing behind the loader takes time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oic::boot::grub;
use oic::cancel::Cancel;
use oic::image::merged::Merged;
use oic::image::plan::{self, DiskPlan};
use oic::image::populate;
use oic::image::raw::{self, Inputs};
use oic::image::seed::ImageSeed;
use oic::model::{BootType, Disk, FileSystem, Partition, PartitionTable, PartitionType};
use oic::overlay::directory::DirectoryLayer;
use oic::package::{Arch, Sha256};
use oic::work::Work;
use oic_testkit::qemu::Machine;
use oic_testkit::tool;

use crate::support::boot_disk::{self, partition};

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

#[test]
fn an_mbr_with_an_entry_of_the_boot_loader_specification_boots() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = boot_disk::make(directory.path(), PartitionTable::Mbr);
    let mut machine = Machine::boot(&image);
    machine.wait_for(boot_disk::COMPLAINT, BOOT_LIMIT);
    machine.wait_for("Failed to execute Tiny one (\\tiny\\1.0-tiny\\linux)", BOOT_LIMIT);
}

/// The modules of GRUB for BIOS, from the package grub-pc-bin.
const MODULES: &str = "/usr/lib/grub/i386-pc";

/// Makes a tree whose GRUB says that it has read its menu, with the core image that the host's grub-mkimage makes.
fn tree_with_grub(at: &Path, plan: &DiskPlan) -> Merged {
    let home = at.join("boot/grub");
    fs::create_dir_all(home.join("i386-pc")).unwrap();
    for name in [
        "boot.img",
        "normal.mod",
        "serial.mod",
        "terminal.mod",
        "echo.mod",
        "sleep.mod",
    ] {
        let from = Path::new(MODULES).join(name);
        fs::copy(from, home.join("i386-pc").join(name)).expect("the package grub-pc-bin is needed");
    }
    for entry in fs::read_dir(MODULES).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_some_and(|end| end == "mod" || end == "lst") {
            fs::copy(&from, home.join("i386-pc").join(from.file_name().unwrap())).unwrap();
        }
    }
    let menu = "serial\nterminal_output serial\necho the menu is read\n";
    fs::write(home.join("grub.cfg"), menu).unwrap();
    let uuid = plan.root().unwrap().fs_uuid;
    let commands = at.join("commands");
    fs::write(
        &commands,
        format!("search.fs_uuid {uuid} root\nset prefix=($root)/boot/grub\n"),
    )
    .unwrap();
    let (commands, core) = (
        commands.display().to_string(),
        home.join("i386-pc/core.img").display().to_string(),
    );
    let modules = "biosdisk part_gpt part_msdos ext2 search_fs_uuid";
    let args = format!("-O i386-pc -p /boot/grub -c {commands} -o {core} {modules}");
    tool("grub-mkimage", &args.split(' ').collect::<Vec<_>>());
    Merged::new(vec![Arc::new(DirectoryLayer::open(at).unwrap())]).unwrap()
}

#[test]
fn a_bios_starts_grub_from_both_tables() {
    for table in [PartitionTable::Gpt, PartitionTable::Mbr] {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut partitions = vec![partition("root", FileSystem::Ext4, 2, "/")];
        if table == PartitionTable::Gpt {
            let own = Partition {
                kind: PartitionType::Bios,
                mount_point: None,
                end_bytes: Some(2 << 20),
                ..partition("bios", FileSystem::Ext2, 1, "")
            };
            partitions.insert(0, own);
        }
        let disk = Disk {
            table,
            partitions,
            ..Disk::default()
        };
        plan::check(&disk, Arch::X86_64, BootType::Legacy).unwrap();
        let plan = plan::plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("bios"))).unwrap();
        let merged = tree_with_grub(&directory.path().join("tree"), &plan);
        let boot_code = grub::bios::prepare(&merged, &plan, BootType::Legacy).unwrap().unwrap();
        let mut contents = populate::contents(&plan);
        populate::leave_free(&mut contents, &plan, boot_code.lba);
        let image = directory.path().join("image.raw");
        let cancel = Cancel::default();
        let inputs = Inputs {
            plan: &plan,
            merged: &merged,
            contents: &contents,
            boot_code: Some(&boot_code),
            epoch_seconds: 1_700_000_000,
        };
        raw::write(&image, inputs, None, Work::quiet(&cancel)).unwrap();
        let table = tool("sfdisk", &["--verify".as_ref(), image.as_os_str()]);
        assert!(table.contains("No errors detected"), "{table}");
        // GRUB's own reader of tables and file systems.
        let number = plan.root().unwrap().number;
        let (disk, file) = (
            image.display().to_string(),
            format!("(loop0,{number})/boot/grub/grub.cfg"),
        );
        assert!(tool("grub-fstest", &[disk.as_str(), "cat", &file]).contains("the menu is read"));
        let mut machine = Machine::boot_bios(&image);
        machine.wait_for("the menu is read", BOOT_LIMIT);
    }
}
