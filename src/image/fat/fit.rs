//! How large a partition has to be for a tree.

use super::Kind;
use super::geometry::{ENTRY_BYTES, Geometry};
use super::name;
use super::tree::{Directory, Node, Tree};

/// Returns the size in MiB of the smallest partition of `kind` that takes `tree`, a label included; `None` if none does.
pub(super) fn least_mib(tree: &Tree, kind: Kind, sector_bytes: u64) -> Option<u64> {
    let fits = |mib: &u64| {
        Geometry::with_sectors(kind, sector_bytes, mib << 20).is_ok_and(|geometry| {
            let has_root = geometry.is_fat32 || slots(&tree.root) < u64::from(geometry.root_entries);
            let root_bytes = if geometry.is_fat32 {
                (slots(&tree.root) + 1) * ENTRY_BYTES
            } else {
                0
            };
            let cluster_bytes = geometry.cluster_bytes();
            let needed = root_bytes.div_ceil(cluster_bytes) + clusters(&tree.root, cluster_bytes);
            has_root && needed <= u64::from(geometry.clusters)
        })
    };
    let least = clusters(&tree.root, 1) >> 20;
    // Tables and cut-off clusters take a few percent.
    (least..=least.saturating_mul(2).saturating_add(64)).find(fits)
}

/// Returns the number of directory entries that the children of `directory` take.
pub(super) fn slots(directory: &Directory) -> u64 {
    directory.values().map(|entry| name::slots(&entry.name)).sum()
}

/// Returns the clusters of everything below `directory`.
fn clusters(directory: &Directory, cluster_bytes: u64) -> u64 {
    let of_entry = |node: &Node| match node {
        Node::File(source) => source.size_bytes().div_ceil(cluster_bytes),
        // Its entries for itself and its parent come on top.
        Node::Directory(children) => {
            ((slots(children) + 2) * ENTRY_BYTES).div_ceil(cluster_bytes) + clusters(children, cluster_bytes)
        }
    };
    directory.values().map(|entry| of_entry(&entry.node)).sum()
}
