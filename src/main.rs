//! The `oic` program: see the library for everything it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == oic::sandbox::CHILD_COMMAND)
    {
        return oic::sandbox::child_main(arguments);
    }
    ExitCode::SUCCESS
}
