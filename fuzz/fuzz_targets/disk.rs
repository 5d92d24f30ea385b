//! Formats of disk images, and the partition tables in them; checksums of tables are not compared here.
//!
//! Invariant: a partition lies within the disk, and what lies within the disk is read or refused.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oic::disk::area::Area;
use oic::disk::container;
use oic::disk::medium::Memory;
use oic::disk::table::Table;

fuzz_target!(|bytes: &[u8]| {
    let Ok((_, medium)) = container::open(Arc::new(Memory::new(bytes))) else { return };
    let disk = Area::whole(medium);
    let mut piece = vec![0; 100_000];
    for offset in [0, 1 << 20, disk.size_bytes().saturating_sub(100_000)] {
        if offset + 100_000 <= disk.size_bytes() {
            let _ = disk.read("a piece", offset, &mut piece);
        }
    }
    let Ok(Some(table)) = Table::read(&disk) else { return };
    for partition in &table.partitions {
        if let Ok(area) = table.area(&disk, partition) {
            assert!(area.start() + area.size_bytes() <= disk.size_bytes());
        }
    }
});
