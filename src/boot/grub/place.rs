//! Files as GRUB finds them: a file system by its UUID, and a path on it.

use std::path::Path;

use crate::boot::BootError;
use crate::image::plan::{DiskPlan, PlannedPartition, Table};
use crate::model::FileSystem;

use super::quote;

/// A file or directory on one of the disk's file systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// UUID of the file system, as GRUB writes it.
    pub uuid: String,
    /// The modules that read the table and the file system.
    pub modules: [&'static str; 2],
    /// The path on the file system, with a `/` at its beginning.
    pub path: String,
}

impl Place {
    /// Finds the file `path` of the image among the file systems of `plan`.
    ///
    /// # Errors
    /// [`BootError::Name`] if the path is not a text.
    pub fn of(plan: &DiskPlan, path: &Path) -> Result<Self, BootError> {
        let name = || BootError::Name(path.to_owned());
        let mounted = plan.partitions.iter().filter_map(|planned| {
            let point = planned.partition.mount_point.as_deref()?;
            let rest = path.strip_prefix(point).ok()?;
            Some((point.len(), planned, rest))
        });
        // A plan has a root.
        let (_, planned, rest) = mounted.max_by_key(|(length, ..)| *length).ok_or_else(name)?;
        let rest = rest.to_str().filter(|rest| !rest.contains(char::is_control));
        let table = match plan.table {
            Table::Gpt => "part_gpt",
            Table::Mbr { .. } => "part_msdos",
        };
        Ok(Self {
            uuid: uuid(planned),
            modules: [table, module(planned.partition.file_system)],
            path: format!("/{}", rest.ok_or_else(name)?),
        })
    }

    /// Returns the path as a word of a GRUB script.
    pub fn word(&self) -> String {
        quote::word(&self.path)
    }
}

/// Returns the UUID of the file system of `planned` as GRUB writes it: of FAT, the volume's serial number.
pub fn uuid(planned: &PlannedPartition) -> String {
    match planned.partition.file_system {
        Some(FileSystem::Fat16 | FileSystem::Fat32) => {
            let [a, b, c, d, ..] = *planned.fs_uuid.as_bytes();
            format!("{a:02X}{b:02X}-{c:02X}{d:02X}")
        }
        _ => planned.fs_uuid.to_string(),
    }
}

/// Returns the name of the module that reads a file system.
fn module(file_system: Option<FileSystem>) -> &'static str {
    match file_system.map(FileSystem::fstab_type) {
        Some("ext2" | "ext3" | "ext4") | None => "ext2",
        Some("vfat") => "fat",
        Some(other) => other,
    }
}
