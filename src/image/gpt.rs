//! The GUID partition table (UEFI specification 2.10, section 5.3): protective
//! MBR, primary table, backup table.

use std::io::{self, Read, Seek, SeekFrom, Write};

use uuid::Uuid;

use super::plan::{ALIGNMENT_BYTES, DiskPlan, Entry, gpt_bytes};

/// A partition, as its entry describes it.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Number in the table, from 1.
    pub number: u32,
    /// Partition GUID.
    pub uuid: Uuid,
    /// Type GUID.
    pub type_uuid: Uuid,
    /// Attribute bits.
    pub attributes: u64,
    /// First and last sector.
    pub sectors: (u64, u64),
    /// Name.
    pub name: String,
}

/// Makes the tables of `plan`: the bytes at the start and at the end of the disk, each with its offset in bytes.
///
/// # Errors
/// If GPT cannot describe the plan.
pub fn tables(plan: &DiskPlan) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let slots = plan.partitions.iter().filter_map(|planned| {
        // A plan with this table has no other entries.
        let Entry::Gpt {
            uuid,
            type_uuid,
            attributes,
        } = planned.entry
        else {
            return None;
        };
        Some(Slot {
            number: planned.number,
            uuid,
            type_uuid,
            attributes,
            sectors: (planned.first_lba, planned.last_lba),
            name: planned.partition.name.clone(),
        })
    });
    tables_of(
        (plan.size_bytes, plan.sector_bytes),
        plan.uuid,
        &slots.collect::<Vec<_>>(),
    )
}

/// Makes the tables of a disk (its size and that of its sectors, in bytes) with the partitions `slots`, as [`tables`] does.
///
/// # Errors
/// If GPT cannot describe them.
pub fn tables_of(
    (size_bytes, sector_bytes): (u64, u64),
    uuid: Uuid,
    slots: &[Slot],
) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let [start, end] = gpt_bytes(sector_bytes).map(|bytes| vec![0; bytes as usize]);
    let mut disk = Ends {
        size_bytes,
        start,
        end,
        position: 0,
    };
    write_tables(&mut disk, sector_bytes, uuid, slots).map_err(|error| match error {
        gptman::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    })?;
    let end = disk.end_offset();
    Ok(vec![(0, disk.start), (end, disk.end)])
}

/// The first and the last sectors of a disk that its tables take; all other sectors cannot be accessed.
struct Ends {
    size_bytes: u64,
    start: Vec<u8>,
    end: Vec<u8>,
    position: u64,
}

impl Ends {
    fn end_offset(&self) -> u64 {
        self.size_bytes.saturating_sub(self.end.len() as u64)
    }

    /// Returns the bytes from the position to the end of its part.
    fn here(&mut self) -> &mut [u8] {
        let (start, end) = (self.position as usize, self.position.checked_sub(self.end_offset()));
        match end {
            Some(at) => self.end.get_mut(at as usize..),
            None => self.start.get_mut(start..),
        }
        .unwrap_or_default()
    }
}

impl Read for Ends {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut here: &[u8] = self.here();
        let count = here.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.here().write(bytes)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size_bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

fn write_tables(file: &mut Ends, sector_bytes: u64, uuid: Uuid, slots: &[Slot]) -> Result<(), gptman::Error> {
    let mut table = gptman::GPT::new_from(file, sector_bytes, uuid.to_bytes_le())?;
    table.align = ALIGNMENT_BYTES / sector_bytes;
    for slot in slots {
        table[slot.number] = gptman::GPTPartitionEntry {
            partition_type_guid: slot.type_uuid.to_bytes_le(),
            unique_partition_guid: slot.uuid.to_bytes_le(),
            starting_lba: slot.sectors.0,
            ending_lba: slot.sectors.1,
            attribute_bits: slot.attributes,
            partition_name: slot.name.as_str().into(),
        };
    }
    gptman::GPT::write_protective_mbr_into(file, sector_bytes)?;
    table.write_into(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::image::plan::tests::{disk, partition, plan_of};
    use crate::image::tool::tests::run;
    use crate::model::{FileSystem, PartitionFlag, PartitionType, SectorSize};

    /// sgdisk (package gdisk) finds no problem and reads back what was asked for.
    #[test]
    fn sgdisk_agrees() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let mut esp = partition("boot", PartitionType::Esp, Some(FileSystem::Fat32), 1, Some(65));
        esp.flags = vec![PartitionFlag::Esp, PartitionFlag::Boot, PartitionFlag::NoAuto];
        let mut root = partition("root", PartitionType::RootAmd64, Some(FileSystem::Ext4), 65, None);
        root.mount_point = Some("/".into());
        root.name = "Wurzel ✓".into();
        root.flags = vec![PartitionFlag::LegacyBoot, PartitionFlag::GrowFileSystem];
        let plan = plan_of(&disk(Some(128), vec![esp, root]));
        let file = File::create_new(&path).unwrap();
        file.set_len(plan.size_bytes).unwrap();
        for (offset_bytes, bytes) in tables(&plan).unwrap() {
            file.write_all_at(&bytes, offset_bytes).unwrap();
        }
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
        let unique = plan.partitions[1].partuuid.to_uppercase();
        assert!(second.contains(&unique), "{second}");
    }

    /// fdisk (package fdisk) reads a table in sectors of 4096 bytes, and finds both copies where they belong.
    #[test]
    fn fdisk_agrees_on_large_sectors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let esp = partition("boot", PartitionType::Esp, Some(FileSystem::Fat32), 1, Some(301));
        let mut root = partition("root", PartitionType::RootAmd64, Some(FileSystem::Ext4), 301, None);
        root.mount_point = Some("/".into());
        let mut disk = disk(Some(400), vec![esp, root]);
        disk.sector_size = SectorSize::Bytes4096;
        let plan = plan_of(&disk);
        let file = File::create_new(&path).unwrap();
        file.set_len(plan.size_bytes).unwrap();
        for (offset_bytes, bytes) in tables(&plan).unwrap() {
            file.write_all_at(&bytes, offset_bytes).unwrap();
        }
        let told = run("fdisk", "fdisk", &["-b", "4096", "-l", path.to_str().unwrap()]);
        assert!(told.contains("Disklabel type: gpt"), "{told}");
        assert!(!told.contains("corrected") && !told.contains("corrupt"), "{told}");
        // The first and the last sector, and their number.
        let lines: Vec<String> = told
            .lines()
            .filter(|line| line.contains("disk.raw") && !line.starts_with("Disk "))
            .map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines, ["256 77055 76800", "77056 102143 25088"], "{told}");
    }
}
