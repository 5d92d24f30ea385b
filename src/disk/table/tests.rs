//! sfdisk (package fdisk) writes tables, and says what is in them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::medium::Memory;
use super::*;
use crate::image::tool::tests::run;

const DISK_BYTES: u64 = 64 << 20;

/// Lets sfdisk write what `script` says to a disk in `directory`.
fn disk(directory: &Path, script: &str) -> std::path::PathBuf {
    let path = directory.join("disk.raw");
    File::create(&path).unwrap().set_len(DISK_BYTES).unwrap();
    let mut sfdisk = Command::new("/sbin/sfdisk");
    sfdisk.arg("-q").arg(&path).stdin(Stdio::piped());
    let mut sfdisk = sfdisk.spawn().expect("this test needs sfdisk: install fdisk");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    path
}

fn read(bytes: &[u8]) -> Result<Option<Table>, DiskError> {
    Table::read(&Area::whole(Arc::new(Memory::new(bytes))))
}

/// Compares a table with `sfdisk -J`.
fn compare(path: &Path, table: &Table) {
    let json = run("fdisk", "sfdisk", &["-J", path.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let json = &json["partitiontable"];
    match table.kind {
        Kind::Gpt {
            disk,
            first_lba,
            last_lba,
            is_protected,
        } => {
            assert_eq!(json["id"].as_str().unwrap(), disk.to_string().to_uppercase());
            assert_eq!(
                (json["firstlba"].as_u64(), json["lastlba"].as_u64()),
                (Some(first_lba), Some(last_lba))
            );
            assert!(is_protected);
        }
        Kind::Mbr { signature } => assert_eq!(json["id"], format!("{signature:#010x}")),
    }
    let expected = json["partitions"].as_array().unwrap();
    // Linux numbers the extended partition, which holds no data.
    let expected: Vec<_> = expected.iter().filter(|entry| entry["type"] != "5").collect();
    assert_eq!(expected.len(), table.partitions.len(), "{table:?}");
    for (entry, partition) in expected.into_iter().zip(&table.partitions) {
        assert_eq!(entry["start"].as_u64(), Some(partition.first_lba));
        assert_eq!(entry["size"].as_u64(), Some(partition.sectors()));
        assert!(
            entry["node"]
                .as_str()
                .unwrap()
                .ends_with(&format!("raw{}", partition.number))
        );
        match &partition.kind {
            PartitionKind::Gpt { type_uuid, name, .. } => {
                assert_eq!(entry["type"].as_str().unwrap(), type_uuid.to_string().to_uppercase());
                assert_eq!(entry["uuid"].as_str().unwrap(), partition.part_uuid().to_uppercase());
                assert_eq!(entry["name"].as_str().unwrap_or_default(), name);
            }
            PartitionKind::Mbr { code, is_active, .. } => {
                assert_eq!(entry["type"], format!("{code:x}"));
                assert_eq!(entry["bootable"].as_bool().unwrap_or_default(), *is_active);
            }
        }
    }
}

const GPT: &str = "label: gpt\nsize=4M, type=uefi, name=\"boot ✓\"\nsize=8M, type=linux, name=root\n";

#[test]
fn sfdisk_agrees_on_a_gpt() {
    let directory = tempfile::tempdir().unwrap();
    let path = disk(directory.path(), GPT);
    let mut bytes = fs::read(&path).unwrap();
    let table = read(&bytes).unwrap().unwrap();
    compare(&path, &table);
    assert_eq!(table.notes, Vec::<String>::new());
    // One copy is enough, with a note.
    bytes[512 + 60] ^= 1;
    let second = read(&bytes).unwrap().unwrap();
    assert_eq!(second.partitions, table.partitions);
    assert!(
        second.notes[0].contains("the first copy of the GPT is damaged"),
        "{:?}",
        second.notes
    );
    assert!(second.notes[0].contains("byte 512"), "{:?}", second.notes);
    bytes[512..520].fill(0);
    assert!(read(&bytes).unwrap().unwrap().notes[0].contains("first copy of the GPT is missing"));
    let bytes = fs::read(&path).unwrap();
    let cut = read(&bytes[..32 << 20]).unwrap().unwrap();
    assert_eq!(cut.notes, ["the second copy of the GPT is missing"]);
    // Both damaged.
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 512;
    bytes[512 + 60] ^= 1;
    bytes[last + 60] ^= 1;
    assert!(
        read(&bytes)
            .unwrap_err()
            .to_string()
            .contains("the header of the GPT at byte 512")
    );
}

#[test]
fn sfdisk_agrees_on_an_mbr_with_logical_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "label: dos\nsize=4M, type=c, bootable\nsize=8M, type=83\ntype=5\nsize=3M\nsize=5M, type=82\nsize=2M\n";
    let path = disk(directory.path(), script);
    let bytes = fs::read(&path).unwrap();
    let table = read(&bytes).unwrap().unwrap();
    compare(&path, &table);
    assert_eq!(
        table
            .partitions
            .iter()
            .map(|partition| partition.number)
            .collect::<Vec<_>>(),
        [1, 2, 5, 6, 7]
    );
    let area = table.area(
        &Area::whole(Arc::new(Memory::new(&bytes[..8 << 20]))),
        &table.partitions[1],
    );
    assert!(
        area.unwrap_err()
            .to_string()
            .contains("partition 2 reaches behind the end")
    );
}

#[test]
fn what_has_no_table() {
    for bytes in [vec![], vec![0; 511], vec![0; 4096], vec![0xff; 1 << 16]] {
        assert_eq!(read(&bytes).unwrap(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// No damage makes the reader panic.
    #[test]
    fn damage_is_an_error_or_another_table(
        flips in prop::collection::vec((0..40_usize << 9, any::<u8>()), 1..6),
        is_mbr: bool,
        sectors in 1..80_usize,
    ) {
        static DISKS: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
        let disks = DISKS.get_or_init(|| {
            ["label: dos\nsize=4K\ntype=5\nsize=1K\nsize=1K\n", "label: gpt\nsize=1M\n"].map(|script| {
                let directory = tempfile::tempdir().unwrap();
                fs::read(disk(directory.path(), script)).unwrap()
            })
        });
        let mut bytes = disks[usize::from(!is_mbr)].clone();
        for (at, value) in flips {
            bytes[at] ^= value;
        }
        bytes.truncate(sectors * 1024);
        let _ = read(&bytes);
    }
}
