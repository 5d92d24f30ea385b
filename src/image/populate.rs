//! The division of the tree among the partitions.
//!
//! The directory below a mount point belongs to the partition mounted there;
//! the partition above keeps the directory itself, empty.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};

use super::content::Source;
use super::file_system::FileSystem;
use super::kinds;
use super::plan::{DiskPlan, PlanError, PlannedPartition};
use crate::durable::PathError;
use crate::root::Root;

/// The mode of mount points that are made.
const MOUNT_POINT_MODE: Mode = Mode::from_raw_mode(0o755);

/// The content of one partition.
#[derive(Debug, Clone)]
pub enum Content {
    /// Zeros.
    Nothing,
    /// A file system.
    Files {
        /// Its writer.
        file_system: &'static dyn FileSystem,
        /// Its files. Of two files for one place the later one counts.
        grafts: Vec<Graft>,
    },
}

/// Files, and their place on a partition.
#[derive(Debug, Clone)]
pub struct Graft {
    /// The files.
    pub from: Origin,
    /// The place, from the top of the partition.
    pub to: PathBuf,
}

/// The origin of files on a partition.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The contents of a directory of the image's tree.
    Tree {
        /// The directory, from the tree's root.
        path: PathBuf,
        /// Directories below it (from the tree's root) that are empty on this partition.
        excluded: Vec<PathBuf>,
    },
    /// One file that is not in the tree.
    File(Source),
}

/// Returns the contents of the partitions of `plan`, in its order.
pub fn contents(plan: &DiskPlan) -> Vec<Content> {
    let mount_points: Vec<&Path> = plan.partitions.iter().filter_map(mount_point).collect();
    let of_partition = |planned: &PlannedPartition| {
        // The plan has refused kinds without a writer.
        let Some(file_system) = planned.partition.file_system.and_then(kinds::of) else {
            return Content::Nothing;
        };
        let graft = |path: &Path| Graft {
            from: Origin::Tree {
                path: path.to_owned(),
                excluded: excluded(path, &mount_points),
            },
            to: PathBuf::from("/"),
        };
        Content::Files {
            file_system,
            grafts: mount_point(planned).map(graft).into_iter().collect(),
        }
    };
    plan.partitions.iter().map(of_partition).collect()
}

/// Lists the mount points below `path` that are not below others of these.
fn excluded(path: &Path, mount_points: &[&Path]) -> Vec<PathBuf> {
    let inside = |inner: &Path, outer: &Path| inner != outer && inner.starts_with(outer);
    let below = || mount_points.iter().filter(|inner| inside(inner, path));
    below()
        .filter(|inner| !below().any(|between| inside(inner, between)))
        .map(|inner| inner.to_path_buf())
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

/// Adds `files`, by their path, to the EFI system partition among `contents`, which are those of `plan`.
///
/// # Errors
/// [`PlanError`] if the plan has no such partition.
pub fn add_to_esp(contents: &mut [Content], plan: &DiskPlan, files: Vec<(PathBuf, Source)>) -> Result<(), PlanError> {
    let esp = plan.esp()?.number;
    let place = plan.partitions.iter().position(|planned| planned.number == esp);
    if let Some(Content::Files { grafts, .. }) = place.and_then(|place| contents.get_mut(place)) {
        grafts.extend(files.into_iter().map(|(to, source)| Graft {
            from: Origin::File(source),
            to,
        }));
    }
    Ok(())
}

/// Empties the partition of `plan` at the sector `lba`, if there is one: something else will lie there.
pub fn leave_free(contents: &mut [Content], plan: &DiskPlan, lba: u64) {
    let here = |planned: &PlannedPartition| (planned.first_lba..=planned.last_lba).contains(&lba);
    if let Some(content) = plan
        .partitions
        .iter()
        .position(here)
        .and_then(|place| contents.get_mut(place))
    {
        *content = Content::Nothing;
    }
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
        let found = contents(&plan);
        assert!(matches!(found[4], Content::Nothing));
        let excluded = |content: &Content| match content {
            Content::Files { grafts, .. } => match &grafts[0].from {
                Origin::Tree { excluded, .. } => excluded.clone(),
                Origin::File(_) => panic!("{content:?}"),
            },
            Content::Nothing => panic!("{content:?}"),
        };
        let [boot, home, efi] = ["/boot", "/home", "/boot/efi"].map(PathBuf::from);
        let excluded: Vec<_> = found[..4].iter().map(excluded).collect();
        assert_eq!(excluded, [vec![], vec![boot, home], vec![efi], vec![]]);
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        ensure_mount_points(&plan, &root).unwrap();
        assert!(tree.path().join("boot/efi").is_dir() && tree.path().join("home").is_dir());
        std::os::unix::fs::symlink("/etc", tree.path().join("opt")).unwrap();
        ensure_mount_points(&plan, &root).unwrap();
    }
}
