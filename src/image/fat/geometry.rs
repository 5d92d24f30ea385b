//! The division of a partition into the parts of a FAT file system.

use super::Kind;
use crate::image::file_system::FileSystemError;

/// Bytes of a sector on most disks.
pub(super) const SECTOR_BYTES: u64 = 512;
/// Bytes of a directory entry.
pub(super) const ENTRY_BYTES: u64 = 32;
/// Entries of FAT16's root directory, which has a place of its own.
const FAT16_ROOT_ENTRIES: u32 = 512;

/// The sizes of the parts of a FAT file system, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a sector.
    pub(super) sector_bytes: u64,
    /// Whether table entries have 32 bits.
    pub(super) is_fat32: bool,
    /// All sectors of the file system.
    pub(super) total_sectors: u32,
    /// Sectors before the first table.
    pub(super) reserved_sectors: u32,
    /// Sectors of each of the two tables.
    pub(super) table_sectors: u32,
    /// Entries in the fixed root directory; 0 on FAT32.
    pub(super) root_entries: u32,
    /// Sectors in a cluster.
    pub(super) cluster_sectors: u32,
    /// Clusters in the data area.
    pub(super) clusters: u32,
}

impl Geometry {
    /// Divides `size_bytes` for `kind` into sectors of 512 bytes.
    ///
    /// # Errors
    /// As [`Self::with_sectors`].
    #[cfg(test)]
    pub(super) fn of(kind: Kind, size_bytes: u64) -> Result<Self, FileSystemError> {
        Self::with_sectors(kind, SECTOR_BYTES, size_bytes)
    }

    /// Divides `size_bytes` for `kind` into sectors of `sector_bytes`.
    ///
    /// # Errors
    /// [`FileSystemError::Size`] if no cluster size gives a number of clusters for this kind of FAT (the number alone decides
    /// the kind).
    pub(super) fn with_sectors(kind: Kind, sector_bytes: u64, size_bytes: u64) -> Result<Self, FileSystemError> {
        let is_fat32 = kind == Kind::Fat32;
        let fail = |what| FileSystemError::Size { size_bytes, what };
        let total_sectors = u32::try_from(size_bytes / sector_bytes).map_err(|_| fail("large for FAT (2 TiB)"))?;
        // FAT32: the cluster sizes of mkfs.fat(8) by size, smaller if that gives too few clusters.
        let preferred: &[u32] = match size_bytes >> 20 {
            _ if !is_fat32 && sector_bytes == SECTOR_BYTES => &[4, 8, 16, 32, 64, 2, 1],
            // Clusters as large as sectors, and at most of 32 KiB.
            _ if sector_bytes != SECTOR_BYTES => &[1, 2, 4, 8],
            0..=260 => &[1],
            261..8192 => &[8, 4, 2, 1],
            8192..16384 => &[16],
            16384..32768 => &[32],
            _ => &[64],
        };
        let (least, most) = if is_fat32 {
            (65_525, 0x0fff_fff5)
        } else {
            (4_085, 65_524)
        };
        let mut too_few = false;
        for &cluster_sectors in preferred {
            match Self::with_cluster((is_fat32, sector_bytes), total_sectors, cluster_sectors) {
                Some(geometry) if (least..=most).contains(&geometry.clusters) => return Ok(geometry),
                Some(geometry) if geometry.clusters > most => {}
                _ => too_few = true,
            }
        }
        Err(fail(match (is_fat32, too_few) {
            (true, true) => "small for FAT32",
            (true, false) => "large for FAT32",
            (false, true) => "small for FAT16",
            (false, false) => "large for FAT16",
        }))
    }

    fn with_cluster((is_fat32, sector_bytes): (bool, u64), total_sectors: u32, cluster_sectors: u32) -> Option<Self> {
        let (reserved_sectors, root_entries) = if is_fat32 { (32, 0) } else { (1, FAT16_ROOT_ENTRIES) };
        let root_sectors = root_entries * ENTRY_BYTES as u32 / sector_bytes as u32;
        let rest = total_sectors.checked_sub(reserved_sectors + root_sectors)?;
        // The two tables and the clusters share the rest: each cluster costs its own
        // sectors and one entry in both tables; two entries more are reserved.
        let entry_bytes = if is_fat32 { 4 } else { 2 };
        let per_cluster = u64::from(cluster_sectors) * sector_bytes + 2 * entry_bytes;
        let fitting = (u64::from(rest) * sector_bytes) / per_cluster;
        let mut table_sectors = u32::try_from(((fitting + 2) * entry_bytes).div_ceil(sector_bytes)).ok()?;
        if is_fat32 {
            // Puts clusters on multiples of their size.
            table_sectors = table_sectors.next_multiple_of(cluster_sectors);
        }
        let clusters = rest.checked_sub(2 * table_sectors)? / cluster_sectors;
        Some(Self {
            sector_bytes,
            is_fat32,
            total_sectors,
            reserved_sectors,
            table_sectors,
            root_entries,
            cluster_sectors,
            clusters,
        })
    }

    /// Returns the bytes of a cluster.
    pub(super) fn cluster_bytes(&self) -> u64 {
        u64::from(self.cluster_sectors) * self.sector_bytes
    }

    /// Returns the offset of table 0 or 1, in bytes from the start of the file system.
    pub(super) fn table_offset_bytes(&self, table: u32) -> u64 {
        (u64::from(self.reserved_sectors) + u64::from(table) * u64::from(self.table_sectors)) * self.sector_bytes
    }

    /// Returns the offset of `cluster`, in bytes from the start of the file system; cluster 0 stands for FAT16's fixed
    /// root directory.
    pub(super) fn cluster_offset_bytes(&self, cluster: u32) -> u64 {
        let root = self.table_offset_bytes(2);
        match cluster.checked_sub(2) {
            Some(index) => root + u64::from(self.root_entries) * ENTRY_BYTES + u64::from(index) * self.cluster_bytes(),
            None => root,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_clusters_fits_the_kind_and_the_tables() {
        for mib in [
            2_u64, 3, 8, 16, 33, 34, 64, 100, 259, 260, 261, 300, 512, 1024, 2047, 8192, 20_000, 70_000,
        ] {
            for kind in [Kind::Fat16, Kind::Fat32] {
                let Ok(g) = Geometry::of(kind, mib << 20) else {
                    assert!(
                        if kind == Kind::Fat32 {
                            mib < 34
                        } else {
                            !(3..=2047).contains(&mib)
                        },
                        "{mib}"
                    );
                    continue;
                };
                let entry = if g.is_fat32 { 4 } else { 2 };
                assert!(u64::from(g.table_sectors) * 512 >= (u64::from(g.clusters) + 2) * entry);
                assert!(g.cluster_offset_bytes(g.clusters + 2) <= mib << 20);
                assert_eq!(g.is_fat32, g.clusters >= 65_525);
            }
        }
    }
}
