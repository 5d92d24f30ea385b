//! The partition table of an MBR (UEFI specification 2.10, 5.2.1), and the chain of records of logical partitions,
//! which lie in the extended partition of the fourth entry.
//!
//! Places are in sectors alone: the old form by cylinders says "beyond", as in the MBR that protects a GPT.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, Unaligned};

use super::plan::{DiskPlan, Entry, PlannedPartition, SECTOR_BYTES};

/// Type of the extended partition, and of the links between records.
const EXTENDED: u8 = 0x05;
/// Status of the partition that a BIOS boots from.
pub(crate) const ACTIVE: u8 = 0x80;
/// A place by cylinder, head and sector that cannot be expressed.
const BEYOND: [u8; 3] = [0xfe, 0xff, 0xff];

/// The first sector of a disk, or of the room of a logical partition.
#[derive(Debug, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Sector {
    pub(crate) code: [u8; 440],
    pub(crate) signature: U32,
    pub(crate) unused: [u8; 2],
    pub(crate) entries: [Record; 4],
    pub(crate) end: [u8; 2],
}

/// An entry in such a sector.
#[derive(Debug, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Record {
    pub(crate) status: u8,
    pub(crate) first: [u8; 3],
    pub(crate) code: u8,
    pub(crate) last: [u8; 3],
    pub(crate) first_lba: U32,
    pub(crate) sectors: U32,
}

const _: () = assert!(size_of::<Sector>() == SECTOR_BYTES as usize);

/// Makes the tables of `plan`, whose disk has this `signature`: sectors, each with its offset in bytes.
pub fn tables(plan: &DiskPlan, signature: u32) -> Vec<(u64, Vec<u8>)> {
    let mut main = sector();
    main.signature = U32::new(signature);
    let mut chain: Vec<(&PlannedPartition, u8, u64)> = Vec::new();
    for planned in &plan.partitions {
        match planned.entry {
            Entry::Primary { code, is_active } => {
                let record = record(code, planned.first_lba, planned.last_lba);
                let status = if is_active { ACTIVE } else { 0 };
                if let Some(entry) = main.entries.get_mut(planned.number.saturating_sub(1) as usize) {
                    *entry = Record { status, ..record };
                }
            }
            Entry::Logical { code, record_lba } => chain.push((planned, code, record_lba)),
            // Such a plan has another table.
            Entry::Gpt { .. } => {}
        }
    }
    let extended_lba = chain.first().map_or(0, |(_, _, record_lba)| *record_lba);
    if let Some((last, ..)) = chain.last() {
        main.entries[3] = record(EXTENDED, extended_lba, last.last_lba);
    }
    let mut tables = vec![(0, main.as_bytes().to_vec())];
    for (place, (planned, code, record_lba)) in chain.iter().enumerate() {
        let mut sector = sector();
        sector.entries[0] = record(*code, planned.first_lba - record_lba, planned.last_lba - record_lba);
        if let Some((next, _, next_lba)) = chain.get(place + 1) {
            sector.entries[1] = record(EXTENDED, next_lba - extended_lba, next.last_lba - extended_lba);
        }
        tables.push((record_lba * SECTOR_BYTES, sector.as_bytes().to_vec()));
    }
    tables
}

fn sector() -> Sector {
    Sector {
        end: [0x55, 0xaa],
        ..Sector::new_zeroed()
    }
}

/// Makes an entry for the sectors `first` to `last`; a plan with such a table has fewer than 2^32.
fn record(code: u8, first: u64, last: u64) -> Record {
    Record {
        status: 0,
        first: BEYOND,
        code,
        last: BEYOND,
        first_lba: U32::new(first as u32),
        sectors: U32::new((last + 1 - first) as u32),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::image::plan::Table;
    use crate::image::plan::tests::{disk, partition, plan_of};
    use crate::image::tool::tests::run;
    use crate::model::{Disk, FileSystem, PartitionFlag, PartitionTable, PartitionType};

    /// Writes the tables of `disk` and returns the lines of `sfdisk -d` (package fdisk) without the device's name.
    fn dumped(disk: &Disk) -> (DiskPlan, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let plan = plan_of(disk);
        let Table::Mbr { signature } = plan.table else {
            panic!("{plan:?}")
        };
        let file = File::create_new(&path).unwrap();
        file.set_len(plan.size_bytes).unwrap();
        for (offset_bytes, bytes) in tables(&plan, signature) {
            file.write_all_at(&bytes, offset_bytes).unwrap();
        }
        let path = path.to_str().unwrap();
        let verified = run("fdisk", "sfdisk", &["--verify", path]);
        assert!(verified.contains("No errors detected"), "{verified}");
        let dump = run("fdisk", "sfdisk", &["-d", path]).replace(path, "");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        (plan, dump.lines().map(words).filter(|line| !line.is_empty()).collect())
    }

    fn mbr(size_mib: u64, partitions: Vec<crate::model::Partition>) -> Disk {
        Disk {
            table: PartitionTable::Mbr,
            ..disk(Some(size_mib), partitions)
        }
    }

    #[test]
    fn sfdisk_reads_primary_partitions() {
        let mut esp = partition("boot", PartitionType::Esp, Some(FileSystem::Fat32), 1, Some(65));
        esp.flags = vec![PartitionFlag::Esp, PartitionFlag::Boot];
        let mut root = partition("root", PartitionType::RootAmd64, Some(FileSystem::Ext4), 65, None);
        root.mount_point = Some("/".into());
        let (plan, dump) = dumped(&mbr(128, vec![esp, root]));
        let Table::Mbr { signature } = plan.table else { panic!() };
        assert_ne!(signature, 0);
        let expected = [
            "label: dos".to_owned(),
            format!("label-id: {signature:#010x}"),
            "device:".into(),
            "unit: sectors".into(),
            "sector-size: 512".into(),
            "1 : start= 2048, size= 131072, type=ef, bootable".into(),
            "2 : start= 133120, size= 129024, type=83".into(),
        ];
        assert_eq!(dump, expected);
        assert_eq!(plan.partitions[1].partuuid, format!("{signature:08x}-02"));
        assert_eq!(plan.esp().unwrap().number, 1);
    }

    #[test]
    fn sfdisk_reads_logical_partitions() {
        let part = |id, kind, fs, start, end| partition(id, kind, fs, start, end);
        let mut root = part("root", PartitionType::Linux, Some(FileSystem::Ext4), 34, Some(64));
        root.mount_point = Some("/".into());
        let data = |id, start, end| part(id, PartitionType::Linux, Some(FileSystem::Ext4), start, end);
        let mut close = data("close", 102, Some(110));
        close.start_bytes -= (1 << 20) - 512;
        let (plan, dump) = dumped(&mbr(
            128,
            vec![
                part("fat", PartitionType::Linux, Some(FileSystem::Fat16), 1, Some(34)),
                root,
                part("swap", PartitionType::Swap, Some(FileSystem::Swap), 64, Some(70)),
                part("lvm", PartitionType::Lvm, None, 75, Some(90)),
                part("raid", PartitionType::Raid, None, 91, Some(101)),
                close,
                data("rest", 111, None),
            ],
        ));
        let expected = [
            "1 : start= 2048, size= 67584, type=e",
            "2 : start= 69632, size= 61440, type=83",
            "3 : start= 131072, size= 12288, type=82",
            "4 : start= 151552, size= 110592, type=5",
            "5 : start= 153600, size= 30720, type=8e",
            "6 : start= 186368, size= 20480, type=fd",
            "7 : start= 206849, size= 18431, type=83",
            "8 : start= 227328, size= 34816, type=83",
        ];
        assert_eq!(dump[5..], expected);
        let numbers: Vec<_> = plan.partitions.iter().map(|planned| planned.number).collect();
        assert_eq!(numbers, [1, 2, 3, 5, 6, 7, 8]);
        assert!(plan.partitions[3].partuuid.ends_with("-05"));
    }
}
