//! A root that is never written, verified or of a file system that cannot be: its partition, that of its hash tree, and
//! the partition that keeps what changes.

use super::entry;
use super::{DiskPlan, Entry, PlanError, PlannedPartition};
use crate::image::kinds;
use crate::image::seed::ImageSeed;
use crate::image::verity::{self, Identity, RootHash};
use crate::model::{FileSystem, PartitionFlag, PartitionTable, PartitionType};
use crate::package::{Arch, Sha256};

/// The mount points that a partition for what changes may have; the first one that exists counts.
const STORES: [&str; 2] = ["/opt", "/var"];
/// The directories, besides `/etc`, that can be written although the root cannot.
const KEPT: [&str; 2] = ["/var", "/home"];

/// A root that is never written, and what can be written beside it. Partitions by their place in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedRoot {
    /// The root.
    pub data: usize,
    /// Its hash tree, if it is verified.
    pub hash_tree: Option<HashTree>,
    /// The partition that keeps what changes.
    pub store: usize,
    /// The directories of the tree that lie on that partition, at the same path from its top.
    pub kept: Vec<&'static str>,
}

/// The hash tree of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashTree {
    /// Its partition.
    pub place: usize,
    /// Its UUID and salt.
    pub identity: Identity,
}

impl FixedRoot {
    /// The place of the changes to `/etc` on the partition that keeps them, in directories of overlayfs: the changed files,
    /// and files on their way there.
    pub const ETC: [&'static str; 2] = ["/overlay/etc/upper", "/overlay/etc/work"];
}

/// Finds out whether the root among `partitions` is never written, and makes the entries of a verified one; `None` if it
/// is written.
///
/// # Errors
/// [`PlanError`] if something that such a root needs is missing or too small.
pub(super) fn of(
    partitions: &mut [PlannedPartition],
    table: PartitionTable,
    arch: Arch,
    seed: &ImageSeed,
) -> Result<Option<FixedRoot>, PlanError> {
    let at = |path: &str| partitions.iter().position(|planned| planned.is_mounted_at(path));
    // A plan always has a root.
    let Some(data) = at("/") else {
        return Ok(None);
    };
    let kept = KEPT.into_iter().filter(|path| at(path).is_none()).collect();
    let tree = partitions.iter().position(|planned| planned.partition.is_hash_tree);
    let kind = partitions.get(data).and_then(|planned| planned.partition.file_system);
    if tree.is_none() && kind.is_none_or(FileSystem::is_written) {
        return Ok(None);
    }
    let store = store(partitions)?;
    if let Some(tree) = tree {
        verify(partitions, (data, tree), table, arch)?;
    }
    let identity = || Identity {
        uuid: seed.uuid("hash tree"),
        salt: Sha256::of(seed.uuid("salt of the hash tree")).0,
    };
    Ok(Some(FixedRoot {
        data,
        hash_tree: tree.map(|place| HashTree {
            place,
            identity: identity(),
        }),
        store,
        kept,
    }))
}

/// Checks that partition `tree` can hold the hash tree of partition `data`, and gives both the types of a verified root.
fn verify(
    partitions: &mut [PlannedPartition],
    (data, tree): (usize, usize),
    table: PartitionTable,
    arch: Arch,
) -> Result<(), PlanError> {
    if table != PartitionTable::Gpt {
        let reason = "a verified root is found by identifiers that an MBR does not have";
        return Err(PlanError::field("disk.partitionTableType", reason).with_hint("use `partitionTableType: gpt`"));
    }
    check_size(partitions, data, tree)?;
    let (of_data, of_tree) = PartitionType::verified_root_of(arch).unzip();
    set_entry(partitions, data, of_data);
    set_entry(partitions, tree, of_tree);
    Ok(())
}

/// Checks that the hash tree of partition `data` fits into partition `tree`.
fn check_size(partitions: &[PlannedPartition], data: usize, tree: usize) -> Result<(), PlanError> {
    let (Some(of), Some(planned)) = (partitions.get(data), partitions.get(tree)) else {
        return Ok(());
    };
    let needed_mib = verity::size_bytes(of.size_bytes()).div_ceil(1 << 20);
    if planned.size_bytes() >= verity::size_bytes(of.size_bytes()) {
        return Ok(());
    }
    let reason = format!(
        "the hash tree of {:?}, which has {} MiB, needs {needed_mib} MiB, and the partition has {} MiB",
        of.partition.id,
        of.size_bytes() >> 20,
        planned.size_bytes() >> 20
    );
    let hint = format!("make the partition at least {needed_mib} MiB long");
    Err(PlanError::field(entry::at(partitions, tree, "end"), reason).with_hint(hint))
}

/// Finds the partition that keeps what changes.
fn store(partitions: &[PlannedPartition]) -> Result<usize, PlanError> {
    let found = STORES
        .iter()
        .find_map(|path| partitions.iter().position(|planned| planned.is_mounted_at(path)));
    let Some(store) = found else {
        let reason = "the root is never written, and no partition is there for what changes";
        let hint = "add a partition with `mountPoint: /opt` and `fsType: ext4`";
        return Err(PlanError::field("disk.partitions", reason).with_hint(hint));
    };
    let kind = partitions.get(store).and_then(|planned| planned.partition.file_system);
    let is_written = kind.is_some_and(FileSystem::is_written);
    match is_written && kind.and_then(kinds::of).is_some_and(|writer| writer.is_unix()) {
        true => Ok(store),
        false => {
            let reason = "what changes beside a root that is never written needs a file system that keeps owners and permissions, and is written";
            Err(PlanError::field(entry::at(partitions, store, "fsType"), reason).with_hint("use `fsType: ext4`"))
        }
    }
}

/// Makes the partition at `place` one of type `kind`, unless its template names another one than plain data, and one that
/// is not written.
fn set_entry(partitions: &mut [PlannedPartition], place: usize, kind: Option<PartitionType>) {
    let Some(planned) = partitions.get_mut(place) else {
        return;
    };
    let is_plain = planned.partition.kind == PartitionType::Linux && planned.partition.type_uuid.is_none();
    if let Entry::Gpt {
        type_uuid, attributes, ..
    } = &mut planned.entry
    {
        if let Some(kind) = kind.filter(|_| is_plain) {
            *type_uuid = kind.guid();
        }
        *attributes |= PartitionFlag::ReadOnly.attribute_bits().unwrap_or_default();
    }
}

impl DiskPlan {
    /// Returns the plan with the identifiers that the partitions of a verified root get from their content.
    pub fn with_root_hash(&self, root: RootHash) -> Self {
        let mut plan = self.clone();
        let (data, tree) = root.partition_uuids();
        let verified = |fixed: &FixedRoot| Some((fixed.data, fixed.hash_tree?.place));
        let places = self.fixed.as_ref().and_then(verified);
        for (place, identifier) in places.into_iter().flat_map(|(of, above)| [(of, data), (above, tree)]) {
            if let Some(planned) = plan.partitions.get_mut(place)
                && let Entry::Gpt { uuid, .. } = &mut planned.entry
            {
                *uuid = identifier;
                planned.partuuid = identifier.to_string();
            }
        }
        plan
    }
}
