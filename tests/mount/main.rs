//! Mounts, seen by real programs. Needs root, FUSE and overlayfs.
//!
//! This program is its own mount server (`__mount`), and its tests run one after the other
//! in a private mount namespace: whatever fails, nothing stays mounted on the machine.
//! Arguments as for other tests. `--ignored measure` prints what a mount costs, and tests nothing.

// Clippy takes only `#[test]` functions for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod conformance;
mod content;
mod cow;
mod foreign;
mod lower;
mod measure;
mod memory;
mod overlay;
mod pool;
mod posix;
mod private;
mod privileges;
mod programs;
mod server;
mod stress;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

type Test = (&'static str, fn());

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(oic::mount::server::CHILD_COMMAND) {
        return support::serve();
    }
    let mut arguments = Arguments::from_args();
    // A test forks and looks at the processes of the program: only one may run.
    arguments.test_threads = Some(1);
    if !arguments.list {
        oic::mount::namespace::enter_private().expect("these tests need root (CAP_SYS_ADMIN)");
    }
    let tests: [&[Test]; 13] = [
        lower::TESTS,
        overlay::TESTS,
        cow::TESTS,
        content::TESTS,
        pool::TESTS,
        posix::TESTS,
        conformance::TESTS,
        access::TESTS,
        private::TESTS,
        privileges::TESTS,
        programs::TESTS,
        stress::TESTS,
        server::TESTS,
    ];
    let mut trials: Vec<_> = tests.concat().into_iter().map(trial).collect();
    trials.extend(measure::TESTS.iter().map(|&test| trial(test).with_ignored_flag(true)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial((name, test): Test) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
