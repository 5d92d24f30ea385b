//! The partition that grows to the end of the disk when the machine boots: a larger disk, another card.
//!
//! systemd-repart grows it where the image has it and the table is a GPT; otherwise a unit does, with the programs of
//! util-linux. Both look at each boot, and do nothing where no room is left. Both move the backup of a GPT to the end of the
//! disk. The file system then grows through `x-systemd.growfs` in fstab.

use std::fmt::Write as _;
use std::path::Path;

use uuid::Uuid;

use super::{ConfigureError, Context, finish};
use crate::durable::PathError;
use crate::model::{Disk, Partition, PartitionTable};
use crate::root::Root;

/// The program that grows partitions as definitions say.
const REPART: &str = "/usr/bin/systemd-repart";
/// Where its definitions lie (repart.d(5)).
const DEFINITIONS: &str = "/usr/lib/repart.d";
/// Where the program of util-linux that changes a partition table lies, and the one that tells the kernel.
const SFDISK: [&str; 2] = ["/usr/sbin/sfdisk", "/sbin/sfdisk"];
const PARTX: [&str; 3] = ["/usr/bin/partx", "/usr/sbin/partx", "/sbin/partx"];
/// The script that the unit runs.
const SCRIPT_PATH: &str = "/usr/lib/oic/grow-partition";
const SCRIPT: &str = include_str!("growth.sh");
/// The unit, and the link that starts it.
const UNIT_PATH: &str = "/etc/systemd/system/grow-partition.service";
const LINK_PATH: &str = "/etc/systemd/system/sysinit.target.wants/grow-partition.service";

/// Returns what the files of [`write`] depend on, besides the tree.
pub(super) fn inputs(disk: &Disk) -> Option<(PartitionTable, Vec<Definition>, String)> {
    let growing = disk.partitions.get(disk.growing?)?;
    Some((disk.table, definitions(disk), unit(disk.growing? + 1, growing)))
}

/// Lets the partition grow that the template says.
///
/// # Errors
/// [`ConfigureError::NoGrowth`] if nothing in the image can do it.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    let (disk, root) = (&context.request.template.disk, &context.root);
    let has_disk = context.request.template.target.image_type.has_disk();
    let Some(growing) = disk.growing.filter(|_| has_disk) else {
        return Ok(());
    };
    let Some(partition) = disk.partitions.get(growing) else {
        return Ok(());
    };
    let refused = |missing, hint| ConfigureError::NoGrowth {
        id: partition.id.clone(),
        missing,
        hint,
    };
    if !root.exists(finish::SYSTEMD)? {
        return Err(refused(
            "no systemd",
            "add the package systemd to systemConfig.packages",
        ));
    }
    if disk.table == PartitionTable::Gpt && root.exists(REPART)? {
        for definition in definitions(disk) {
            let path = Path::new(DEFINITIONS).join(definition.file_name());
            context.provide(path, definition.text(), 0o644)?;
        }
        return Ok(());
    }
    if !has_any(root, &SFDISK)? || !has_any(root, &PARTX)? {
        return Err(match disk.table {
            PartitionTable::Gpt => refused(
                "neither systemd-repart nor sfdisk and partx",
                "add the package systemd-repart (or systemd, where it has the program), or fdisk, to systemConfig.packages",
            ),
            PartitionTable::Mbr => refused(
                "no sfdisk and partx, which an MBR needs",
                "add the package fdisk (util-linux elsewhere) to systemConfig.packages",
            ),
        });
    }
    context.provide(SCRIPT_PATH, SCRIPT, 0o755)?;
    context.provide(UNIT_PATH, unit(growing + 1, partition), 0o644)?;
    root.symlink("../grow-partition.service", LINK_PATH)?;
    Ok(())
}

fn has_any(root: &Root, paths: &[&str]) -> Result<bool, PathError> {
    paths
        .iter()
        .try_fold(false, |found, path| Ok(found || root.exists(path)?))
}

/// A definition of systemd-repart for a partition that exists.
#[derive(Debug)]
pub(super) struct Definition {
    /// The number of the partition.
    number: usize,
    id: String,
    kind: Uuid,
    /// Its size in bytes, which it keeps; `None` if it grows.
    size_bytes: Option<u64>,
}

impl Definition {
    /// Returns its file name. systemd-repart takes them in this order, and partitions of one type in that of the table.
    fn file_name(&self) -> String {
        format!("{:03}-{}.conf", self.number, self.id)
    }

    fn text(&self) -> String {
        let mut text = format!("[Partition]\nType={}\n", self.kind);
        if let Some(size_bytes) = self.size_bytes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "SizeMinBytes={size_bytes}\nSizeMaxBytes={size_bytes}\nWeight=0");
        }
        text
    }
}

/// Makes the definitions of the growing partition, and of those before it that have its type: systemd-repart would take one
/// of them for it.
fn definitions(disk: &Disk) -> Vec<Definition> {
    let kind = |partition: &Partition| partition.type_uuid.unwrap_or(partition.kind.guid());
    let growing = disk
        .growing
        .and_then(|place| Some((place, disk.partitions.get(place)?)));
    let Some((place, growing)) = growing else {
        return Vec::new();
    };
    let partitions = disk.partitions.iter().enumerate().take(place + 1);
    partitions
        .filter(|(_, partition)| kind(partition) == kind(growing))
        .map(|(index, partition)| Definition {
            number: index + 1,
            id: partition.id.clone(),
            kind: kind(partition),
            size_bytes: partition
                .end_bytes
                .filter(|_| index != place)
                .map(|end| end - partition.start_bytes),
        })
        .collect()
}

/// Returns the text of the unit that grows the partition with this number (systemd.service(5)).
fn unit(number: usize, partition: &Partition) -> String {
    let file_system = match partition.mount_point.as_deref() {
        Some("/") => "Before=systemd-growfs-root.service\n".to_owned(),
        Some(path) => format!("Before=systemd-growfs@{}.service\n", escaped(path)),
        None => String::new(),
    };
    format!(
        "[Unit]\nDescription=Grow partition {number} to the end of the disk\nDefaultDependencies=no\nConflicts=shutdown.target\n\
         After=systemd-remount-fs.service\nBefore=shutdown.target\n{file_system}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh {SCRIPT_PATH} {number}\n\n\
         [Install]\nWantedBy=sysinit.target\n"
    )
}

/// Writes a path as a part of a unit's name (systemd.unit(5), "String Escaping for Inclusion in Unit Names").
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for (index, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => text.push('-'),
            b'.' if index == 0 => text.push_str("\\x2e"),
            b'.' | b'_' | b':' => text.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            byte => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileSystem, PartitionType};

    fn partition(id: &str, mib: [u64; 2], mount_point: Option<&str>) -> Partition {
        Partition {
            id: id.into(),
            name: id.into(),
            kind: PartitionType::Linux,
            type_uuid: None,
            file_system: Some(FileSystem::Ext4),
            label: None,
            compression: None,
            start_bytes: mib[0] << 20,
            end_bytes: Some(mib[1] << 20),
            mount_point: mount_point.map(str::to_owned),
            mount_options: "defaults".into(),
            flags: Vec::new(),
            is_hash_tree: false,
        }
    }

    #[test]
    fn partitions_of_the_same_type_keep_their_size() {
        let disk = Disk {
            partitions: vec![
                Partition {
                    kind: PartitionType::Esp,
                    ..partition("esp", [1, 65], None)
                },
                partition("data", [65, 165], Some("/srv")),
                partition("root", [165, 300], Some("/")),
            ],
            growing: Some(2),
            ..Disk::default()
        };
        let files = definitions(&disk);
        let texts: Vec<_> = files.iter().map(|file| (file.file_name(), file.text())).collect();
        let size = "SizeMinBytes=104857600\nSizeMaxBytes=104857600\nWeight=0\n";
        let head = "[Partition]\nType=0fc63daf-8483-4772-8e79-3d69d8477de4\n";
        assert_eq!(
            texts,
            [
                ("002-data.conf".to_owned(), format!("{head}{size}")),
                ("003-root.conf".to_owned(), head.to_owned())
            ]
        );
        assert!(unit(3, &disk.partitions[2]).contains("Before=systemd-growfs-root.service\n"));
    }

    /// Compares with `systemd-escape --path`.
    #[test]
    fn mount_points_are_escaped_as_in_names_of_units() {
        for (path, name) in [
            ("/srv", "srv"),
            ("/var/lib/my-data/", "var-lib-my\\x2ddata"),
            ("/.x_1", "\\x2ex_1"),
        ] {
            assert_eq!(escaped(path), name);
        }
    }

    #[test]
    fn the_script_is_one() {
        let checked = std::process::Command::new("sh")
            .args(["-n", "-c", SCRIPT])
            .status()
            .unwrap();
        assert!(checked.success());
    }
}
