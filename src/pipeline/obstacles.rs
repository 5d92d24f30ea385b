//! What a build would refuse before any work, for those who only ask.

use std::path::Path;

use crate::boot::{self, BootError};
use crate::hint::Hint;
use crate::image::plan::{self, PlanError};
use crate::provider::known_problems;
use crate::provider::mirror::Mirrors;
use crate::template::{Loaded, check_buildable};
use crate::yaml::{Finding, Findings};

/// Finds out what [`super::build`] would refuse `loaded` for. What is wrong in itself is an error; what this version or
/// this machine cannot do, although others can, is a warning. Packages come from `mirrors`; nothing is downloaded.
pub fn obstacles(loaded: &Loaded, mirrors: &Mirrors) -> Findings {
    let mut obstacles = Findings::new();
    for finding in check_buildable(loaded).iter() {
        obstacles.push(finding.clone().as_warning());
    }
    let (disk, target, system) = (&loaded.template.disk, &loaded.template.target, &loaded.template.system);
    let has_disk = target.image_type.has_disk();
    if has_disk
        && obstacles.iter().count() == 0
        && let Err(error) = plan::check(disk, target.arch, system.bootloader.boot_type)
    {
        obstacles.push(of_plan(&error, loaded.file()));
    }
    if has_disk
        && let Err(error) = boot::check(system, target.arch)
        && let BootError::GrubCommandLine(reason) = &error
    {
        let finding = Finding::without_position(loaded.file(), "systemConfig.kernel.cmdline", reason.to_string());
        obstacles.push(advised(finding, error.hint()));
    }
    for problem in known_problems(&loaded.provider, mirrors, &loaded.template) {
        let finding = Finding::without_position(loaded.file(), "target", problem.to_string());
        obstacles.push(advised(finding, problem.hint()).as_warning());
    }
    obstacles
}

/// Words the reason why a disk cannot be laid out.
fn of_plan(error: &PlanError, file: &Path) -> Finding {
    let finding = |field: &str, message: String| advised(Finding::without_position(file, field, message), error.hint());
    match error {
        PlanError::Field { field, reason, .. } => finding(field, reason.clone()),
        PlanError::Unsupported { field, what, .. } => {
            finding(field, format!("{what} is not supported yet")).as_warning()
        }
    }
}

fn advised(finding: Finding, hint: Option<Hint>) -> Finding {
    match hint {
        Some(hint) => finding.hint(hint.to_string()),
        None => finding,
    }
}
