//! Statistics of the layers of a mount.

use serde::{Deserialize, Serialize};

use super::packages::PackageCounts;
use crate::snapshot::SnapshotStats;

/// What was taken from the layers: the snapshot's counts for the base, and the packages of the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStats {
    /// The base; zeros without one.
    #[serde(flatten)]
    pub base: SnapshotStats,
    /// Packages in the pool.
    pub packages_total: u64,
    /// Times that a package was opened.
    pub packages_opened: u64,
    /// Packages that were fetched to be opened.
    pub packages_fetched: u64,
}

impl LayerStats {
    /// Joins the counts of base and pool.
    pub(super) fn new(base: SnapshotStats, packages: PackageCounts) -> Self {
        Self {
            base,
            packages_total: packages.total,
            packages_opened: packages.opened,
            packages_fetched: packages.fetched,
        }
    }

    /// Returns the sum of these counts and those of a `later` mount of the same base.
    #[must_use]
    pub fn with(self, later: &Self) -> Self {
        let (base, next) = (self.base, later.base);
        Self {
            base: SnapshotStats {
                // Both mounts have mostly read the same files.
                files_touched: base.files_touched.max(next.files_touched),
                bytes_inflated: base.bytes_inflated.saturating_add(next.bytes_inflated),
                members_inflated: base.members_inflated.saturating_add(next.members_inflated),
                members_ahead: base.members_ahead.saturating_add(next.members_ahead),
                ..next
            },
            packages_opened: self.packages_opened.saturating_add(later.packages_opened),
            packages_fetched: self.packages_fetched.saturating_add(later.packages_fetched),
            ..*later
        }
    }
}

impl From<SnapshotStats> for LayerStats {
    fn from(base: SnapshotStats) -> Self {
        Self::new(base, PackageCounts::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_a_count_is_refused() {
        let stats = LayerStats {
            base: SnapshotStats {
                files_touched: 1,
                ..SnapshotStats::default()
            },
            packages_opened: 2,
            ..LayerStats::default()
        };
        let mut json = serde_json::to_value(stats).unwrap();
        assert_eq!(json["files_touched"], 1);
        assert_eq!(serde_json::from_value::<LayerStats>(json.clone()).unwrap(), stats);
        json.as_object_mut().unwrap().remove("members_total");
        assert!(serde_json::from_value::<LayerStats>(json).is_err());
    }
}
