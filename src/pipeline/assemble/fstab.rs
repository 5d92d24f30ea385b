//! The entries of `/etc/fstab` that follow from the layout of the disk.

use crate::boot::VERIFIED_ROOT;
use crate::configure::FstabEntry;
use crate::image::plan::{DiskPlan, FixedRoot, PlannedPartition};
use crate::model::{Encryption, FileSystem};

/// Mounts it in the initrd, so that it is there before systemd reads anything in it (systemd.mount(5)).
const IN_INITRD: &str = "x-initrd.mount";

/// Grows the file system to the size of its partition (systemd.mount(5)).
const GROWS: &str = "x-systemd.growfs";

/// Lists every partition that is mounted or swapped to, by PARTUUID (fstab(5)), or by the device that the initrd makes of it
/// if `encryption` has it; beside a root that is never written, also what makes directories of it writable.
pub fn entries(plan: &DiskPlan, encryption: Option<&Encryption>) -> Vec<FstabEntry> {
    let fixed = plan.fixed.as_ref();
    let partitions = plan.partitions.iter().enumerate();
    let mut entries: Vec<FstabEntry> = partitions
        .filter_map(|(place, planned)| {
            let mut entry = of_partition(planned)?;
            let partition = &planned.partition;
            if encryption.is_some_and(|encryption| encryption.has(&partition.id, partition.mount_point.as_deref())) {
                entry.source = format!("/dev/mapper/{}", partition.id);
            }
            if plan.growing == Some(place) {
                entry.options = format!("{},{GROWS}", entry.options);
            }
            Some(match fixed {
                Some(fixed) if place == fixed.data => of_fixed(entry, fixed),
                Some(fixed) if place == fixed.store => FstabEntry {
                    options: format!("{},{IN_INITRD}", entry.options),
                    ..entry
                },
                _ => entry,
            })
        })
        .collect();
    entries.extend(fixed.map(|fixed| writable(plan, fixed)).unwrap_or_default());
    entries
}

fn of_partition(planned: &PlannedPartition) -> Option<FstabEntry> {
    let partition = &planned.partition;
    let file_system = partition.file_system?;
    let (mount_point, pass) = match (file_system, partition.mount_point.as_deref()) {
        (FileSystem::Swap, _) => ("none", 0),
        (_, Some("/")) => ("/", 1),
        (kind, Some(path)) if !kind.is_written() => (path, 0),
        (_, Some(path)) => (path, 2),
        (_, None) => return None,
    };
    Some(FstabEntry {
        source: format!("PARTUUID={}", planned.partuuid),
        mount_point: mount_point.to_owned(),
        fs_type: file_system.fstab_type().to_owned(),
        options: partition.mount_options.clone(),
        pass,
    })
}

/// Makes the entry of the root that of one that is never written; no check may write to it. The PARTUUID of a verified root
/// follows from its content, which has this file in it, so it cannot be named here.
fn of_fixed(entry: FstabEntry, fixed: &FixedRoot) -> FstabEntry {
    FstabEntry {
        source: match fixed.hash_tree {
            Some(_) => VERIFIED_ROOT.to_owned(),
            None => entry.source,
        },
        options: format!("{},ro", entry.options),
        pass: 0,
        ..entry
    }
}

/// Lists what is mounted so that directories beside a root that is never written can be. `/etc` is an overlay, which the initrd
/// mounts: the system's first process reads there what it is to do, and writes the machine's id. Its options name paths as
/// the initrd sees them.
fn writable(plan: &DiskPlan, fixed: &FixedRoot) -> Vec<FstabEntry> {
    let store = plan.partitions.get(fixed.store);
    let store = store
        .and_then(|planned| planned.partition.mount_point.as_deref())
        .unwrap_or_default();
    let [upper, work] = FixedRoot::ETC;
    let entry = |source: &str, mount_point: &str, fs_type: &str, options: String| FstabEntry {
        source: source.to_owned(),
        mount_point: mount_point.to_owned(),
        fs_type: fs_type.to_owned(),
        options,
        pass: 0,
    };
    let sysroot = format!("/sysroot{store}");
    let overlay = format!(
        "lowerdir=/sysroot/etc,upperdir={sysroot}{upper},workdir={sysroot}{work},\
         x-systemd.requires-mounts-for={sysroot},{IN_INITRD}"
    );
    let mut entries = vec![entry("overlay", "/etc", "overlay", overlay)];
    entries.extend(fixed.kept.iter().map(|path| {
        let options = format!("bind,x-systemd.requires-mounts-for={store}");
        entry(&format!("{store}{path}"), path, "none", options)
    }));
    let is_mounted = |path: &str| plan.partitions.iter().any(|planned| planned.is_mounted_at(path));
    if !is_mounted("/tmp") {
        entries.push(entry("tmpfs", "/tmp", "tmpfs", "mode=1777,nosuid,nodev".to_owned()));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::fstab_text;
    use crate::image::plan;
    use crate::image::seed::ImageSeed;
    use crate::model::{Disk, Partition, PartitionFlag, PartitionType};
    use crate::package::{Arch, Sha256};

    fn partition(
        id: &str,
        kind: PartitionType,
        fs: Option<FileSystem>,
        mib: [u64; 2],
        mount: Option<&str>,
    ) -> Partition {
        Partition {
            id: id.into(),
            name: id.into(),
            kind,
            type_uuid: None,
            file_system: fs,
            label: None,
            compression: None,
            start_bytes: mib[0] << 20,
            end_bytes: Some(mib[1] << 20),
            mount_point: mount.map(str::to_owned),
            mount_options: "defaults".into(),
            flags: Vec::<PartitionFlag>::new(),
            is_hash_tree: id == "hash",
        }
    }

    /// Returns the text of fstab with the identifiers left out.
    fn text(partitions: Vec<Partition>) -> String {
        let disk = Disk {
            size_bytes: Some(300 << 20),
            partitions,
            ..Disk::default()
        };
        let plan = plan::plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("x"))).unwrap();
        let mut text = fstab_text(&entries(&plan, None)).unwrap();
        for planned in &plan.partitions {
            text = text.replace(&planned.partuuid, &planned.partition.id);
        }
        text.lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_file_system_grows_with_its_partition() {
        let root = partition(
            "root",
            PartitionType::RootAmd64,
            Some(FileSystem::Ext4),
            [1, 65],
            Some("/"),
        );
        let disk = Disk {
            size_bytes: Some(100 << 20),
            partitions: vec![root],
            growing: Some(0),
            ..Disk::default()
        };
        let plan = plan::plan(&disk, Arch::X86_64, &ImageSeed(Sha256::of("x"))).unwrap();
        assert_eq!(entries(&plan, None)[0].options, "defaults,x-systemd.growfs");
    }

    #[test]
    fn beside_a_verified_root_etc_var_and_home_can_be_written() {
        let ext4 = Some(FileSystem::Ext4);
        let esp = || {
            partition(
                "esp",
                PartitionType::Esp,
                Some(FileSystem::Fat32),
                [1, 65],
                Some("/boot/efi"),
            )
        };
        let root = || partition("root", PartitionType::RootAmd64, ext4, [65, 165], Some("/"));
        let hash = || partition("hash", PartitionType::Linux, None, [165, 167], None);
        let data = |at| partition("data", PartitionType::Linux, ext4, [167, 200], Some(at));
        assert_eq!(
            text(vec![esp(), root(), hash(), data("/opt")]),
            "PARTUUID=esp /boot/efi vfat defaults 0 2
/dev/mapper/root / ext4 defaults,ro 0 0
PARTUUID=data /opt ext4 defaults,x-initrd.mount 0 2
overlay /etc overlay lowerdir=/sysroot/etc,upperdir=/sysroot/opt/overlay/etc/upper,\
workdir=/sysroot/opt/overlay/etc/work,x-systemd.requires-mounts-for=/sysroot/opt,x-initrd.mount 0 0
/opt/var /var none bind,x-systemd.requires-mounts-for=/opt 0 0
/opt/home /home none bind,x-systemd.requires-mounts-for=/opt 0 0
tmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0"
        );
        let home = partition("home", PartitionType::Home, ext4, [200, 210], Some("/home"));
        let found = text(vec![esp(), root(), hash(), data("/var"), home]);
        assert!(
            found.contains("PARTUUID=data /var ext4 defaults,x-initrd.mount 0 2"),
            "{found}"
        );
        assert!(found.contains("upperdir=/sysroot/var/overlay/etc/upper,"), "{found}");
        assert!(!found.contains("bind"), "{found}");
    }
}
