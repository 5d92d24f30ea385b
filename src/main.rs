//! The `oic` program: see the library for everything it does.

use std::process::ExitCode;

use oic::{cli, mount, pipeline, sandbox};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        // Children of a build, started by itself; single-threaded at this point.
        Some(first) if first == sandbox::CHILD_COMMAND => sandbox::child_main(arguments),
        Some(first) if first == mount::server::CHILD_COMMAND => {
            cli::log_server();
            mount::server::child_main(pipeline::serve::open_layers)
        }
        _ => cli::main(),
    }
}
