//! The `oic` program; the library contains everything it does.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

use std::process::ExitCode;

use oic::layers::LayerRequest;
use oic::{cli, durable, emulator, mount, sandbox};

fn main() -> ExitCode {
    cli::limits::prepare();
    durable::take_own_umask();
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        // Child processes of a build that oic itself starts; single-threaded at this point.
        Some(first) if first == sandbox::CHILD_COMMAND => sandbox::child_main(arguments),
        // QEMU, in the same way.
        Some(first) if first == emulator::CHILD_COMMAND => emulator::child_main(arguments),
        Some(first) if first == mount::server::CHILD_COMMAND => {
            cli::log_server();
            mount::server::child_main::<LayerRequest>()
        }
        _ => cli::main(),
    }
}
