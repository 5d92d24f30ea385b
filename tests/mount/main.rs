//! Mounts, seen by real programs. Needs root, FUSE and overlayfs.
//!
//! This program is its own mount server (`__mount`), and its tests run one after the other
//! in a private mount namespace: whatever fails, nothing stays mounted on the machine.
//! Arguments as for other tests: names select; `measure` runs only when named.

// Clippy takes only `#[test]` functions for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod content;
mod cow;
mod foreign;
mod lower;
mod measure;
mod memory;
mod overlay;
mod pool;
mod posix;
mod programs;
mod server;
mod stress;
mod support;

use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == oic::mount::server::CHILD_COMMAND)
    {
        return support::serve();
    }
    let tests: Vec<Test> = [
        lower::TESTS,
        overlay::TESTS,
        cow::TESTS,
        content::TESTS,
        pool::TESTS,
        posix::TESTS,
        programs::TESTS,
        stress::TESTS,
        server::TESTS,
        measure::TESTS,
    ]
    .concat();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    oic::mount::namespace::enter_private().expect("these tests need root (CAP_SYS_ADMIN)");
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut failed = Vec::new();
    for (name, test) in tests {
        let selected = wanted.iter().any(|wanted| name.contains(wanted.as_str()));
        let is_extra = name.starts_with("measure");
        if !selected && (!wanted.is_empty() || is_extra) {
            continue;
        }
        print!("test {name} ... ");
        let _ = std::io::stdout().flush();
        let start = Instant::now();
        let passed = panic::catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!(
            "{} ({} ms)",
            if passed { "ok" } else { "FAILED" },
            start.elapsed().as_millis()
        );
        if !passed {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}
