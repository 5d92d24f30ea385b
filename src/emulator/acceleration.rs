//! Whether KVM runs a machine, or QEMU emulates its processor.
//!
//! That `/dev/kvm` exists says little: nested virtualization stops at some instructions of a firmware, and some settings of
//! a processor cannot be made. So a machine with the same firmware is started, and asked how it does after a moment.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::arguments;
use super::firmware::Uefi;
use super::run::Launcher;
use super::{EmulatorError, program};
use crate::package::Arch;

/// The device of KVM.
const DEVICE: &str = "/dev/kvm";
/// The time for which the machine of the trial runs its firmware.
const TRIAL: Duration = Duration::from_millis(300);
/// The time in which it has to answer and end.
const ANSWER: Duration = Duration::from_secs(10);
/// What the user types into the monitor, and its answer if all is well.
const QUESTION: &[u8] = b"info status\nquit\n";
const RUNNING: &str = "VM status: running";

/// The wish of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// KVM if it works.
    Auto,
    /// KVM, or no machine.
    Kvm,
    /// Emulation.
    Emulation,
}

/// Returns whether KVM runs a machine of `launcher` with the firmware `uefi`, or a BIOS. Trying takes half a second, and
/// nothing where the device does not exist.
///
/// # Errors
/// If the user wishes KVM and it does not work, or QEMU is not installed.
pub fn choose(launcher: &Launcher, uefi: Option<&Uefi>, wish: Wish) -> Result<bool, EmulatorError> {
    if wish == Wish::Emulation {
        return Ok(false);
    }
    let problem = match obstacle(launcher.arch) {
        Some(problem) => Some(problem.to_owned()),
        None => trial(launcher, uefi)?,
    };
    match problem {
        None => Ok(true),
        Some(problem) if wish == Wish::Kvm => Err(EmulatorError::NoKvm(problem)),
        Some(problem) => {
            tracing::debug!(problem, "KVM is not used");
            Ok(false)
        }
    }
}

/// Says what is missing for KVM with machines of `arch`.
fn obstacle(arch: Arch) -> Option<&'static str> {
    if program(arch).strip_prefix("qemu-system-") != Some(std::env::consts::ARCH) {
        return Some("the processor of this host is of another architecture");
    }
    let device = std::fs::File::options().read(true).write(true).open(Path::new(DEVICE));
    match device.map_err(|error| error.kind()) {
        Ok(_) => None,
        Err(std::io::ErrorKind::NotFound) => Some("/dev/kvm does not exist"),
        Err(std::io::ErrorKind::PermissionDenied) => Some("/dev/kvm is for the group kvm only"),
        Err(_) => Some("/dev/kvm cannot be opened"),
    }
}

/// Runs a machine for a moment; returns what went wrong.
fn trial(launcher: &Launcher, uefi: Option<&Uefi>) -> Result<Option<String>, EmulatorError> {
    let mut command = launcher.command(&arguments::of_probe(launcher.arch, uefi));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = launcher.start(&mut command)?;
    if process.wait(TRIAL)?.is_none()
        && let Some(mut monitor) = process.child().stdin.take()
    {
        // A machine that fails just now says so by its end.
        if let Err(error) = monitor.write_all(QUESTION) {
            tracing::debug!(%error, "the monitor does not listen");
        }
    }
    let Some(status) = process.wait(ANSWER)? else {
        return Ok(Some("the machine hangs".into()));
    };
    if !status.success() {
        let mut told = String::new();
        if let Some(errors) = process.child().stderr.take() {
            errors
                .take(4096)
                .read_to_string(&mut told)
                .map_err(EmulatorError::process("read what QEMU says"))?;
        }
        return match launcher.check(status) {
            Err(error @ EmulatorError::NoProgram { .. }) => Err(error),
            _ => Ok(Some(told.lines().next().unwrap_or("QEMU failed").to_owned())),
        };
    }
    let mut answer = String::new();
    if let Some(output) = process.child().stdout.take() {
        output
            .take(64 << 10)
            .read_to_string(&mut answer)
            .map_err(EmulatorError::process("read what QEMU says"))?;
    }
    Ok((!answer.contains(RUNNING)).then(|| "it stops at an instruction of the firmware".to_owned()))
}
