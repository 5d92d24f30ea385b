//! The disks of a machine, as sysfs shows them (kernel, `Documentation/ABI/stable/sysfs-block`), and the choice of one.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::{By, Choice, InstallError};
use crate::durable::PathError;
use crate::model::DiskStrategy;

/// The unit of `size` in sysfs, in bytes.
const SECTOR_BYTES: u64 = 512;
/// The first and the last bytes that a disk without data has as zeros: all known signatures lie there.
const SIGNATURE_BYTES: u64 = 1 << 20;
/// Names of disks: SCSI and ATA, virtio, Xen, NVMe, cards.
const NAMES: [&str; 6] = ["sd", "vd", "xvd", "hd", "nvme", "mmcblk"];

/// Where the kernel tells about the machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where sysfs is mounted.
    pub sys: PathBuf,
    /// Where the processes are.
    pub proc: PathBuf,
    /// Where devices are.
    pub dev: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
        }
    }
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name in the kernel.
    pub name: String,
    /// The path of its device.
    pub device: PathBuf,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The name of its model, if it has one.
    pub model: String,
    /// Whether it can be taken out, or is behind USB.
    pub is_removable: bool,
    is_rotating: bool,
    is_read_only: bool,
    /// Whether something of it is mounted, swapped to, or part of another device.
    is_used: bool,
    partitions: usize,
    /// Whether its first and last MiB are zeros.
    is_blank: bool,
    /// The lower, the faster its interface.
    interface: u8,
}

impl Machine {
    /// Lists the disks, in the order of their names.
    ///
    /// # Errors
    /// If sysfs cannot be read.
    pub fn disks(&self) -> Result<Vec<Disk>, PathError> {
        let block = self.sys.join("block");
        let on = || PathError::on("list", &block);
        let used = self.used()?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&block).map_err(on())? {
            names.extend(entry.map_err(on())?.file_name().into_string());
        }
        names.sort_by_key(|name| (name.len(), name.clone()));
        let is_disk = |name: &&String| {
            let is_part_of_card = name.contains("boot") || name.contains("rpmb");
            NAMES.iter().any(|start| name.starts_with(start)) && !is_part_of_card
        };
        names
            .iter()
            .filter(is_disk)
            .map(|name| self.disk(name, &used))
            .collect()
    }

    fn disk(&self, name: &str, used: &BTreeSet<String>) -> Result<Disk, PathError> {
        let at = self.sys.join("block").join(name);
        let text = |path: &str| text(&at.join(path));
        let is_set = |path: &str| Ok::<_, PathError>(text(path)? == "1");
        let size_bytes = text("size")?.parse().unwrap_or(0_u64).saturating_mul(SECTOR_BYTES);
        let way = fs::canonicalize(&at).map_err(PathError::on("find", &at))?;
        let way = way.to_string_lossy();
        let mut parts = vec![at.clone()];
        for entry in fs::read_dir(&at).map_err(PathError::on("list", &at))? {
            let path = entry.map_err(PathError::on("list", &at))?.path();
            if path.join("partition").exists() {
                parts.push(path);
            }
        }
        let mut is_used = false;
        for part in &parts {
            is_used |= used.contains(&self::text(&part.join("dev"))?) || used.contains(&name_of(part));
            is_used |= has_entries(&part.join("holders"))?;
        }
        let device = self.dev.join(name);
        Ok(Disk {
            name: name.to_owned(),
            size_bytes,
            model: text("device/model")?,
            is_removable: is_set("removable")? || way.contains("/usb"),
            is_rotating: is_set("queue/rotational")?,
            is_read_only: is_set("ro")?,
            is_used,
            partitions: parts.len() - 1,
            is_blank: is_blank(&device, size_bytes).map_err(PathError::on("read", &device))?,
            device,
            interface: interface(name, &way),
        })
    }

    /// Lists what the system uses: numbers of mounted devices, and names of devices that are swapped to.
    fn used(&self) -> Result<BTreeSet<String>, PathError> {
        let mounts = self.proc.join("self/mountinfo");
        let mounts = fs::read_to_string(&mounts).map_err(PathError::on("read", &mounts))?;
        let numbers = mounts.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
        let mut used: BTreeSet<_> = numbers.map(str::to_owned).collect();
        let swaps = text(&self.proc.join("swaps"))?;
        let names = swaps
            .lines()
            .skip(1)
            .filter_map(|line| line.split_ascii_whitespace().next());
        used.extend(names.filter_map(|path| Some(path.rsplit('/').next()?.to_owned())));
        Ok(used)
    }
}

/// Reads a file of sysfs without its end of line; empty if it does not exist.
fn text(path: &Path) -> Result<String, PathError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => Ok(text.map_err(PathError::on("read", path))?.trim().to_owned()),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn has_entries(path: &Path) -> Result<bool, PathError> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        entries => Ok(entries.map_err(PathError::on("list", path))?.next().is_some()),
    }
}

/// Returns the place of an interface among all, the fastest first.
fn interface(name: &str, way: &str) -> u8 {
    let order = [
        name.starts_with("nvme"),
        way.contains("/virtio") || name.starts_with("xvd"),
        way.contains("/ata"),
        way.contains("/mmc"),
        way.contains("/usb"),
    ];
    let place = order.iter().position(|is_it| *is_it).unwrap_or(order.len());
    u8::try_from(place).unwrap_or(u8::MAX)
}

/// Says whether the beginning and the end of `device` are zeros.
fn is_blank(device: &Path, size_bytes: u64) -> io::Result<bool> {
    let mut file = File::open(device)?;
    let mut part = Vec::new();
    for start in [0, size_bytes.saturating_sub(SIGNATURE_BYTES)] {
        file.seek(SeekFrom::Start(start))?;
        part.clear();
        file.by_ref().take(SIGNATURE_BYTES).read_to_end(&mut part)?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Disk {
    /// Lists what speaks against taking the disk for an image of `size_bytes`.
    fn obstacles(&self, size_bytes: u64, choice: &Choice) -> Vec<String> {
        let mut obstacles = Vec::new();
        let mut add = |holds: bool, what: String| obstacles.extend(holds.then_some(what));
        add(self.is_used, "is used by the running system".into());
        add(self.is_read_only, "is read-only".into());
        let (has, needs) = (self.size_bytes >> 20, size_bytes.div_ceil(1 << 20));
        add(
            self.size_bytes < size_bytes,
            format!("is too small ({has} MiB of {needs} MiB)"),
        );
        add(choice.exclude_removable && self.is_removable, "is removable".into());
        add(
            choice.require_empty && self.partitions > 0,
            format!("has {} partitions", self.partitions),
        );
        add(
            choice.require_empty && self.partitions == 0 && !self.is_blank,
            "has data".into(),
        );
        if let By::Path(path) = &choice.by {
            let is_it = *path == self.device || fs::canonicalize(path).is_ok_and(|real| real == self.device);
            add(!is_it, format!("is not {}", path.display()));
        }
        obstacles
    }
}

/// Chooses one of `disks` for an image of `size_bytes`.
///
/// # Errors
/// [`InstallError::NoDisk`].
pub(super) fn choose(disks: Vec<Disk>, size_bytes: u64, choice: &Choice) -> Result<Disk, InstallError> {
    let (mut suitable, mut others) = (Vec::new(), Vec::new());
    for disk in disks {
        let obstacles = disk.obstacles(size_bytes, choice);
        match obstacles.is_empty() {
            true => suitable.push(disk),
            false => others.push((disk.name, obstacles)),
        }
    }
    // All of these are stable: of equals, the first by name is taken.
    match choice.by {
        By::Strategy(DiskStrategy::Largest) => suitable.sort_by_key(|disk| Reverse(disk.size_bytes)),
        By::Strategy(DiskStrategy::Fastest) => {
            suitable.sort_by_key(|disk| (disk.interface, disk.is_rotating, Reverse(disk.size_bytes)));
        }
        By::Strategy(DiskStrategy::First) | By::Path(_) => {}
    }
    suitable.into_iter().next().ok_or(InstallError::NoDisk(others))
}
