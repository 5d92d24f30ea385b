//! The division of the tree among the partitions.
//!
//! The directory below a mount point belongs to the partition mounted there;
//! the partition above keeps the directory itself, empty.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};

use super::content::{Promise, Source};
use super::file_system::FileSystem;
use super::kinds;
use super::luks::Encryption;
use super::plan::{DiskPlan, FixedRoot, PlanError, PlannedPartition};
use super::verity::{Identity, RootHash};
use crate::durable::PathError;
use crate::root::Root;

/// A directory that services with `PrivateTmp=` need before anything is mounted on a root that is never written; they
/// cannot make it there.
const EARLY: &str = "/var/tmp";
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
    /// Another content, encrypted.
    Encrypted {
        /// The keys.
        encryption: Encryption,
        /// That content.
        inner: Box<Content>,
    },
    /// The hash tree of another partition.
    HashTree {
        /// That partition, by its place in the plan.
        of: usize,
        /// UUID and salt of the tree.
        identity: Identity,
        /// The root hash in hexadecimal digits, for contents that name it.
        root: Promise,
    },
}

/// The order in which contents are written: each needs others of lower ranks only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Needs none.
    Independent,
    /// Needs the content that it is computed of.
    Computed,
    /// Needs what others are computed to be.
    Naming,
}

impl Rank {
    /// All ranks, in order.
    pub const ALL: [Self; 3] = [Self::Independent, Self::Computed, Self::Naming];
}

impl Content {
    /// Returns its rank.
    pub fn rank(&self) -> Rank {
        match self {
            Self::Nothing => Rank::Independent,
            Self::HashTree { .. } => Rank::Computed,
            Self::Encrypted { inner, .. } => inner.rank(),
            Self::Files { grafts, .. } => {
                let is_promised = |graft: &Graft| matches!(&graft.from, Origin::File(source) if source.is_promised());
                match grafts.iter().any(is_promised) {
                    true => Rank::Naming,
                    false => Rank::Independent,
                }
            }
        }
    }
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
    /// An empty directory with the attributes of this directory of the image's tree, a path from the tree's root; with
    /// mode 0755 and root's if the tree does not have it.
    Empty(PathBuf),
    /// One file that is not in the tree.
    File(Source),
}

/// Returns the contents of the partitions of `plan`, in its order.
pub fn contents(plan: &DiskPlan) -> Vec<Content> {
    let fixed = plan.fixed.as_ref();
    let mut mount_points: Vec<&Path> = plan.partitions.iter().filter_map(mount_point).collect();
    mount_points.extend(fixed.iter().flat_map(|fixed| &fixed.kept).map(Path::new));
    let of_partition = |(place, planned): (usize, &PlannedPartition)| {
        let hash_tree = fixed.and_then(|fixed| Some((fixed.data, fixed.hash_tree?)));
        if let Some((of, hash_tree)) = hash_tree.filter(|(_, hash_tree)| hash_tree.place == place) {
            return Content::HashTree {
                of,
                identity: hash_tree.identity,
                root: Promise::new(RootHash::DIGITS),
            };
        }
        // The plan has refused kinds without a writer.
        let Some(file_system) = planned
            .partition
            .file_system
            .and_then(|kind| kinds::for_sectors(kind, planned.sector_bytes))
        else {
            return Content::Nothing;
        };
        let own = mount_point(planned).map(|path| part(path, Path::new("/"), &mount_points));
        let mut grafts: Vec<Graft> = own.into_iter().collect();
        if fixed.is_some_and(|fixed| fixed.data == place) {
            grafts.push(empty(EARLY, EARLY));
        }
        if let Some(fixed) = fixed.filter(|fixed| fixed.store == place) {
            grafts.extend(kept(fixed, &mount_points));
        }
        Content::Files { file_system, grafts }
    };
    plan.partitions.iter().enumerate().map(of_partition).collect()
}

/// Returns the promise of the root hash of the hash tree among `contents`, if there is one.
pub fn root_hash(contents: &[Content]) -> Option<&Promise> {
    contents.iter().find_map(|content| match content {
        Content::HashTree { root, .. } => Some(root),
        Content::Nothing | Content::Files { .. } | Content::Encrypted { .. } => None,
    })
}

/// Puts the directory `path` of the tree, without what belongs to others of `mount_points`, at `to` on a partition.
fn part(path: &Path, to: &Path, mount_points: &[&Path]) -> Graft {
    Graft {
        from: Origin::Tree {
            path: path.to_owned(),
            excluded: excluded(path, mount_points),
        },
        to: to.to_owned(),
    }
}

/// Lists what the partition for changes beside a root that is never written holds, besides what is mounted from it: the directories
/// that are written there, and empty ones for the changes to `/etc`.
fn kept(fixed: &FixedRoot, mount_points: &[&Path]) -> Vec<Graft> {
    let parts = fixed.kept.iter().map(Path::new);
    let parts = parts.map(|path| part(path, path, mount_points));
    parts.chain(FixedRoot::ETC.map(|to| empty("/etc", to))).collect()
}

/// Puts an empty directory like `like` of the tree at `to` on a partition.
fn empty(like: &str, to: &str) -> Graft {
    Graft {
        from: Origin::Empty(like.into()),
        to: to.into(),
    }
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

/// Encrypts `content`.
pub fn encrypt(content: &mut Content, encryption: Encryption) {
    let inner = Box::new(std::mem::replace(content, Content::Nothing));
    *content = Content::Encrypted { encryption, inner };
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
                _ => panic!("{content:?}"),
            },
            _ => panic!("{content:?}"),
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
