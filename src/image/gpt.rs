//! The GUID partition table (UEFI specification 2.10, section 5.3): protective
//! MBR, primary table, backup table.

use std::fs::File;
use std::path::Path;

use super::plan::{ALIGNMENT_BYTES, DiskPlan, SECTOR_BYTES};
use crate::durable::PathError;

/// Writes the tables of `plan` into `file`, which has the disk's size already.
/// `path` is for messages.
///
/// # Errors
/// If writing fails.
pub fn write(file: &mut File, path: &Path, plan: &DiskPlan) -> Result<(), PathError> {
    write_tables(file, plan)
        .map_err(|error| match error {
            gptman::Error::Io(error) => error,
            other => std::io::Error::other(other.to_string()),
        })
        .map_err(PathError::on("write the partition table to", path))
}

fn write_tables(file: &mut File, plan: &DiskPlan) -> Result<(), gptman::Error> {
    let mut table = gptman::GPT::new_from(file, SECTOR_BYTES, plan.uuid.to_bytes_le())?;
    table.align = ALIGNMENT_BYTES / SECTOR_BYTES;
    for planned in &plan.partitions {
        table[planned.number] = gptman::GPTPartitionEntry {
            partition_type_guid: planned.type_uuid.to_bytes_le(),
            unique_partition_guid: planned.uuid.to_bytes_le(),
            starting_lba: planned.first_lba,
            ending_lba: planned.last_lba,
            attribute_bits: planned.attributes,
            partition_name: planned.partition.name.as_str().into(),
        };
    }
    gptman::GPT::write_protective_mbr_into(file, SECTOR_BYTES)?;
    table.write_into(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::plan::tests::{disk, partition, plan_of};
    use crate::image::tool::tests::run;
    use crate::template::model::FileSystem;

    /// sgdisk (package gdisk) finds no problem and reads back what was asked for.
    #[test]
    fn sgdisk_agrees() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let mut esp = partition("boot", "esp", Some(FileSystem::Fat32), 1, Some(65));
        esp.flags = vec!["esp".into(), "boot".into(), "no_auto".into()];
        let mut root = partition("root", "linux-root-amd64", Some(FileSystem::Ext4), 65, None);
        root.mount_point = Some("/".into());
        root.name = "Wurzel ✓".into();
        root.flags = vec!["legacy_boot".into(), "grow_file_system".into()];
        let plan = plan_of(&disk(Some(128), vec![esp, root]));
        let mut file = File::create_new(&path).unwrap();
        file.set_len(plan.size_bytes).unwrap();
        // gptman reads back what it writes.
        drop(file);
        file = File::options().read(true).write(true).open(&path).unwrap();
        write(&mut file, &path, &plan).unwrap();
        let path = path.to_str().unwrap();
        let verified = run("gdisk", "sgdisk", &["-v", path]);
        assert!(verified.contains("No problems found"), "{verified}");
        let first = run("gdisk", "sgdisk", &["-i", "1", path]);
        assert!(
            first.contains("(EFI system partition)") && first.contains("Attribute flags: 8000000000000000"),
            "{first}"
        );
        assert!(
            first.contains("First sector: 2048 ") && first.contains("Last sector: 133119 "),
            "{first}"
        );
        let second = run("gdisk", "sgdisk", &["-i", "2", path]);
        assert!(
            second.contains("(Linux x86-64 root (/))") && second.contains("Attribute flags: 0800000000000004"),
            "{second}"
        );
        assert!(
            second.contains("Wurzel ✓") && second.contains("Last sector: 260095 "),
            "{second}"
        );
        let unique = plan.partitions[1].uuid.to_string().to_uppercase();
        assert!(second.contains(&unique), "{second}");
    }
}
