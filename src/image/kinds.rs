//! The file systems that the image writer makes, by their kind in a template.

use super::file_system::FileSystem;
use super::{erofs, ext4, fat, swap};
use crate::model;

/// Returns the writer of `kind` for a disk with sectors of `sector_bytes`, 512 or 4,096; `None` if this version has none.
pub fn for_sectors(kind: model::FileSystem, sector_bytes: u64) -> Option<&'static dyn FileSystem> {
    match (kind, sector_bytes) {
        (model::FileSystem::Fat16, 4096) => Some(&fat::LargeSectors(fat::Kind::Fat16)),
        (model::FileSystem::Fat32, 4096) => Some(&fat::LargeSectors(fat::Kind::Fat32)),
        _ => of(kind),
    }
}

/// Returns the writer of `kind`; `None` if this version has none.
pub fn of(kind: model::FileSystem) -> Option<&'static dyn FileSystem> {
    Some(match kind {
        model::FileSystem::Fat16 => &fat::Kind::Fat16,
        model::FileSystem::Fat32 => &fat::Kind::Fat32,
        model::FileSystem::Ext2 => &ext4::Kind::Ext2,
        model::FileSystem::Ext3 => &ext4::Kind::Ext3,
        model::FileSystem::Ext4 => &ext4::Kind::Ext4,
        model::FileSystem::Erofs => &erofs::Erofs,
        model::FileSystem::Swap => &swap::Swap,
        model::FileSystem::Xfs => return None,
    })
}
