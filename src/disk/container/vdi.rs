//! VDI (VirtualBox, `src/VBox/Storage/VDICore.h`, header version 1.1): a map of the blocks.

use std::sync::Arc;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::super::DiskError;
use super::super::area::Area;
use super::super::medium::Medium;
use super::mapped::{Map, Mapped, Place};
use crate::image::containers::vdi::Header;

const HEADER: &str = "the header of VDI";
const MAP: &str = "the map of VDI";
const SIGNATURE: u32 = 0xbeda_107f;
/// The entries of blocks that are not in the file; they read as zeros.
const ABSENT: u32 = u32::MAX;
const ZERO: u32 = u32::MAX - 1;

#[derive(Debug)]
struct Vdi {
    file: Area,
    map_offset: u64,
    data_offset: u64,
    block_bytes: u64,
    blocks: u64,
}

/// Returns whether a file that begins with `start` is a VDI.
pub(super) fn is_at(start: &[u8]) -> bool {
    Header::read_from_prefix(start).is_ok_and(|(header, _)| header.signature == SIGNATURE)
}

/// Opens the disk in `file`.
pub(super) fn open(file: Area) -> Result<Arc<dyn Medium>, DiskError> {
    let header: Header = file.record(HEADER, 0)?;
    if header.version.get() >> 16 != 1 {
        return Err(DiskError::Unsupported("oic does not read a VDI of this version".into()));
    }
    // 1 grows, 2 is complete; others depend on a parent.
    if !matches!(header.kind.get(), 1 | 2) || header.uuid_of_parent != [0; 16] {
        return Err(DiskError::Unsupported("oic does not read a VDI with a parent".into()));
    }
    let block_bytes = u64::from(header.block_bytes.get());
    if !block_bytes.is_power_of_two() || block_bytes < 512 || header.block_extra_bytes != 0 {
        return Err(file.damaged(HEADER, 0, "its block size is impossible"));
    }
    let map = Vdi {
        map_offset: header.map_offset.get().into(),
        data_offset: header.data_offset.get().into(),
        block_bytes,
        blocks: header.blocks.get().into(),
        file: file.clone(),
    };
    let size_bytes = header.size_bytes.get();
    if size_bytes > map.blocks * block_bytes {
        return Err(file.damaged(HEADER, 0, "its map is too short for the disk"));
    }
    Ok(Arc::new(Mapped::new(file, map, (size_bytes, block_bytes))))
}

impl Map for Vdi {
    fn place(&self, block: u64) -> Result<Place, DiskError> {
        let entry: U32 = self.file.record(MAP, self.map_offset + block * 4)?;
        Ok(match entry.get() {
            ABSENT | ZERO => Place::Zeros,
            place => Place::At(self.data_offset + u64::from(place) * self.block_bytes),
        })
    }
}
