//! The division of the tree among the partitions.
//!
//! The directory below a mount point belongs to the partition mounted there;
//! the partition above keeps the directory itself, empty.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};

use super::content::Source;
use super::plan::{DiskPlan, PlanError, PlannedPartition};
use crate::durable::PathError;
use crate::root::Root;

/// The mode of mount points that are made.
const MOUNT_POINT_MODE: Mode = Mode::from_raw_mode(0o755);

/// The contents of one partition.
#[derive(Debug, Clone)]
pub struct PartitionSource {
    /// Number of the partition.
    pub number: u32,
    /// The directory of the tree whose contents it gets, from the tree's root; `None` if it gets no directory.
    pub path: Option<PathBuf>,
    /// Mount points below that directory (from the tree's root), which are empty directories here.
    pub excluded: Vec<PathBuf>,
    /// Additional files, by their path on the partition (FAT only); they replace those of the tree.
    pub extra: Vec<(PathBuf, Source)>,
}

/// Returns the sources of all partitions of `plan`, in its order.
pub fn sources(plan: &DiskPlan) -> Vec<PartitionSource> {
    let mount_points: Vec<&Path> = plan.partitions.iter().filter_map(mount_point).collect();
    plan.partitions
        .iter()
        .map(|planned| {
            let path = mount_point(planned);
            // A mount point below an excluded one need not be excluded.
            let inside = |inner: &Path, outer: &Path| inner != outer && inner.starts_with(outer);
            let below = |outer| mount_points.iter().copied().filter(move |inner| inside(inner, outer));
            let excluded = path.map_or(Vec::new(), |path| {
                below(path)
                    .filter(|inner| !below(path).any(|between| inside(inner, between)))
                    .map(Path::to_owned)
                    .collect()
            });
            PartitionSource {
                number: planned.number,
                path: path.map(Path::to_owned),
                excluded,
                extra: Vec::new(),
            }
        })
        .collect()
}

fn mount_point(planned: &PlannedPartition) -> Option<&Path> {
    planned.partition.mount_point.as_deref().map(Path::new)
}

/// Makes sure, before the tree is frozen, that every mount point of `plan` is a
/// directory in the tree at `root`; missing ones are made with mode 0755.
///
/// # Errors
/// If a mount point is not a directory or cannot be made.
pub fn ensure_mount_points(plan: &DiskPlan, root: &Root) -> Result<(), PathError> {
    for path in plan.partitions.iter().filter_map(mount_point) {
        let mut parent = PathBuf::from("/");
        for part in path.strip_prefix("/").unwrap_or(path) {
            let directory = root.open_at(&parent, rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY)?;
            parent.push(part);
            let made = rustix::fs::mkdirat(&directory, part, MOUNT_POINT_MODE)
                .and_then(|()| rustix::fs::chmodat(&directory, part, MOUNT_POINT_MODE, AtFlags::empty()));
            match made {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(PathError::on("create", root.describe(&parent))(errno.into())),
            }
        }
        root.resolve_directory(path)?;
    }
    Ok(())
}

/// Adds the files `extra` to the EFI system partition among `sources`, which are those of `plan`.
///
/// # Errors
/// [`PlanError`] if the plan has no such partition.
pub fn add_to_esp(
    sources: &mut [PartitionSource],
    plan: &DiskPlan,
    extra: Vec<(PathBuf, Source)>,
) -> Result<(), PlanError> {
    let number = plan.esp()?.number;
    if let Some(source) = sources.iter_mut().find(|source| source.number == number) {
        source.extra.extend(extra);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::plan::tests::{disk, partition, plan_of};
    use crate::model::{FileSystem, PartitionType};

    #[test]
    fn each_subtree_has_one_partition() {
        let mounted = |id: &str, at: u64, path: &str| {
            let mut p = partition(id, PartitionType::Linux, Some(FileSystem::Ext4), at, Some(at + 10));
            p.mount_point = Some(path.into());
            p
        };
        let parts = vec![
            mounted("efi", 1, "/boot/efi"),
            mounted("root", 11, "/"),
            mounted("boot", 21, "/boot"),
            mounted("home", 31, "/home"),
            partition("spare", PartitionType::Linux, None, 41, Some(42)),
        ];
        let plan = plan_of(&disk(Some(100), parts));
        let found = sources(&plan);
        let excluded: Vec<Vec<_>> = found.iter().map(|s| s.excluded.clone()).collect();
        let none: Vec<PathBuf> = Vec::new();
        let [boot, home, efi] = ["/boot", "/home", "/boot/efi"].map(PathBuf::from);
        assert_eq!(
            excluded,
            [none.clone(), vec![boot, home], vec![efi], none.clone(), none]
        );
        assert_eq!(found[4].path, None);
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        ensure_mount_points(&plan, &root).unwrap();
        assert!(tree.path().join("boot/efi").is_dir() && tree.path().join("home").is_dir());
        std::os::unix::fs::symlink("/etc", tree.path().join("opt")).unwrap();
        ensure_mount_points(&plan, &root).unwrap();
    }
}
