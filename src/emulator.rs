//! RUN: a disk image, an initrd or a CD in a virtual machine of QEMU, which cannot change its files.
//!
//! The flow: [`subject::Subject::of`] (what is in the file) → [`firmware::find`], [`acceleration::choose`] and [`guest`]
//! (what the machine gets besides) → [`arguments::of`] (QEMU's command line) → [`run::run`] (its life, and what its console
//! says).
//!
//! Invariant: no process and no file outlives the one that started the machine.

pub mod acceleration;
pub mod arguments;
mod error;
pub mod expect;
pub mod firmware;
pub mod guest;
pub mod run;
pub mod subject;

use std::ffi::OsString;
use std::process::ExitCode;

use rustix::process::Signal;

use crate::package::Arch;

pub use error::EmulatorError;

/// The first argument of the processes that start QEMU: `PARENT PROGRAM ARGUMENTS…` follow.
pub const CHILD_COMMAND: &str = "__emulator";

/// Becomes the program that `arguments` name behind the process id of the parent; the kernel asks it to end when its
/// parent does.
pub fn child_main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    let (Some(parent), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::FAILURE;
    };
    if rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).is_err() {
        return ExitCode::FAILURE;
    }
    let own = std::os::unix::process::parent_id().to_string();
    if parent.to_str() != Some(&own) {
        // It ended before the kernel was asked.
        return ExitCode::FAILURE;
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    match error.kind() {
        std::io::ErrorKind::NotFound => ExitCode::from(run::NOT_FOUND),
        _ => ExitCode::FAILURE,
    }
}

/// Names the program that emulates machines of `arch`.
pub fn program(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Aarch64 => "qemu-system-aarch64",
        Arch::Armv7hl => "qemu-system-arm",
    }
}
