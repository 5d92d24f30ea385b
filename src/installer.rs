//! The installer of a live system: a disk image is written to a disk of this machine.
//!
//! Invariants: everything is checked before the first byte is written, and a disk that the system uses is never a target.

mod disks;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::durable::{self, PathError};
use crate::model::DiskStrategy;
use crate::words::Words as _;
use crate::work::Work;

pub use disks::{Disk, Machine};

/// Bound for the length of a plan in bytes.
const PLAN_LIMIT_BYTES: u64 = 64 << 10;

/// What a medium says about its installation.
#[derive(Debug, Clone, Deserialize)]
pub struct Plan {
    /// Name of the system.
    pub name: String,
    /// The disk image, from the top of the medium.
    image: PathBuf,
    /// Its size in bytes when it is unpacked.
    pub size_bytes: u64,
    /// The device, if the template names it.
    path: Option<PathBuf>,
    /// The word of a [`DiskStrategy`].
    strategy: Option<String>,
    exclude_removable: bool,
    require_empty: bool,
    /// The top of the medium.
    #[serde(skip)]
    top: PathBuf,
}

/// How a disk is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// This one, or the first by the strategy.
    pub by: By,
    /// Whether removable disks are left out.
    pub exclude_removable: bool,
    /// Whether disks with data are left out.
    pub require_empty: bool,
}

/// What a choice goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The path of the device.
    Path(PathBuf),
    /// A strategy.
    Strategy(DiskStrategy),
}

/// The reason why nothing was installed, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The plan is none.
    #[error("{}: {reason}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// No disk may be taken. Nothing was written.
    #[error("no disk is suitable, and nothing was written: {}", reasons(.0))]
    NoDisk(Vec<(String, Vec<String>)>),
    /// The image on the medium is not what the plan says.
    #[error("the disk image has {found_bytes} bytes in place of {size_bytes}: the medium is damaged")]
    Image {
        /// What the plan says.
        size_bytes: u64,
        /// What it has.
        found_bytes: u64,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] crate::cancel::Cancelled),
}

fn reasons(disks: &[(String, Vec<String>)]) -> String {
    if disks.is_empty() {
        return "this machine has none".into();
    }
    let disk = |(name, reasons): &(String, Vec<String>)| format!("{name} {}", reasons.join(", "));
    disks.iter().map(disk).collect::<Vec<_>>().join("; ")
}

impl Plan {
    /// Reads the plan `path`, which lies in a directory of the medium.
    ///
    /// # Errors
    /// [`InstallError`] if it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, InstallError> {
        let on = |error| PathError::on("read", path)(error);
        let file = durable::open_regular(path).map_err(on)?;
        let text = durable::read_at_most(file, PLAN_LIMIT_BYTES).map_err(on)?;
        let defect = |reason: String| InstallError::Plan {
            path: path.to_owned(),
            reason,
        };
        let mut plan: Self = serde_json::from_slice(&text).map_err(|error| defect(error.to_string()))?;
        plan.top = path.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned();
        let is_inside = plan
            .image
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        match is_inside && plan.size_bytes > 0 {
            true => Ok(plan),
            false => Err(defect("it names no disk image of the medium".into())),
        }
    }

    /// Says how the disk is chosen without a question; `None` if somebody has to be asked.
    pub fn choice(&self) -> Option<Choice> {
        let strategy = self.strategy.as_deref().and_then(DiskStrategy::named);
        let by = match &self.path {
            Some(path) => By::Path(path.clone()),
            None => By::Strategy(strategy?),
        };
        Some(Choice {
            by,
            exclude_removable: self.exclude_removable && self.path.is_none(),
            require_empty: self.require_empty,
        })
    }

    /// Returns the path of the disk image.
    fn image(&self) -> PathBuf {
        self.top.join(&self.image)
    }
}

/// Chooses a disk of `machine` for `plan`.
///
/// # Errors
/// [`InstallError::NoDisk`], with what speaks against each disk.
pub fn choose(machine: &Machine, plan: &Plan, choice: &Choice) -> Result<Disk, InstallError> {
    disks::choose(machine.disks()?, plan.size_bytes, choice)
}

/// Writes the image of `plan` to `disk`, and gives its last partition the rest of the disk.
///
/// # Errors
/// [`InstallError`]; if it is about writing, the disk may have a part of the image.
pub fn install(plan: &Plan, disk: &Disk, work: Work<'_>) -> Result<(), InstallError> {
    let image = plan.image();
    // Before anything is written.
    fs::metadata(&image).map_err(PathError::on("find", &image))?;
    write::image((&image, plan.size_bytes), &disk.device, work)
}

#[cfg(test)]
mod tests;
