//! The file systems that the image writer makes, by their kind in a template.

use super::file_system::FileSystem;
use super::{erofs, ext4, fat, swap};
use crate::model;

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
