//! `oic install`.

use std::io::{self, BufRead as _};
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::installer::{self, By, Choice, Disk, Machine, Plan};
use crate::work::Work;

use super::environment::processors;
use super::error::{CommandError, print_line};
use super::interrupt::Interrupt;
use super::progress;

/// Write the system of an installation medium to a disk of this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic install --plan /run/oic-medium/installer/plan.json                  as the medium says
  oic install --plan /run/oic-medium/installer/plan.json --disk /dev/vdb  to this disk

Live systems start it by themselves. Without a choice in the template it shows the disks and asks. A disk that the
running system uses is never taken, and one with data only if the template says so or the answer names it.")]
pub struct InstallArgs {
    /// The plan of the installation, in the directory installer of the medium
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    plan: PathBuf,
    /// This disk, which has to be empty, and no other
    #[arg(long, value_name = "DEVICE", value_hint = ValueHint::FilePath)]
    disk: Option<PathBuf>,
}

/// Installs, and says where to.
pub fn run(args: &InstallArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let plan = Plan::read(&args.plan).map_err(CommandError::failed)?;
    let machine = Machine::default();
    let given = args.disk.clone().map(|path| Choice {
        by: By::Path(path),
        exclude_removable: false,
        require_empty: true,
    });
    let choice = match given.or_else(|| plan.choice()) {
        Some(choice) => choice,
        None => ask(&machine, &plan)?,
    };
    let disk = installer::choose(&machine, &plan, &choice).map_err(CommandError::failed)?;
    print_line(&format!("installing {} to {}", plan.name, describe(&disk)))?;
    let (progress, cancel) = (progress::for_stderr(), interrupt.cancel());
    let work = Work {
        progress: &*progress,
        cancel: &cancel,
        threads: processors(),
    };
    installer::install(&plan, &disk, work).map_err(CommandError::failed)?;
    print_line(&format!("{} is installed on {}", plan.name, disk.device.display()))
}

fn describe(disk: &Disk) -> String {
    format!(
        "{} ({} MiB) {}",
        disk.device.display(),
        disk.size_bytes >> 20,
        disk.model
    )
}

/// Shows the disks, and asks for one. Its name has to be typed twice if it has data.
fn ask(machine: &Machine, plan: &Plan) -> Result<Choice, CommandError> {
    print_line(&format!("Installation of {}", plan.name))?;
    let disks = machine.disks().map_err(CommandError::failed)?;
    for disk in &disks {
        print_line(&format!("  {}", describe(disk)))?;
    }
    loop {
        let answer = line("Which disk? (its path, or nothing to end) ")?;
        if answer.is_empty() {
            return Err(CommandError::failed("nothing was installed, and nothing was written"));
        }
        let choice = |require_empty| Choice {
            by: By::Path(answer.clone().into()),
            exclude_removable: false,
            require_empty,
        };
        if installer::choose(machine, plan, &choice(true)).is_ok() {
            return Ok(choice(true));
        }
        match installer::choose(machine, plan, &choice(false)) {
            Ok(disk) => {
                let path = disk.device.display();
                let again = line(&format!(
                    "All data on {path} will be lost. Type {path} again to go on: "
                ))?;
                if again == answer {
                    return Ok(choice(false));
                }
            }
            Err(error) => print_line(&error.to_string())?,
        }
    }
}

/// Prints `question`, and reads a line.
fn line(question: &str) -> Result<String, CommandError> {
    print_line(question)?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(CommandError::failed)?;
    Ok(answer.trim().to_owned())
}
