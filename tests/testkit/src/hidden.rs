//! Tests that run a part of themselves in a process of its own, as a test that does nothing unless it is asked.

use std::process::Command;

use crate::Finished;

/// Prepares a run of the test `name` (its full path) of the program that is running, and of no other test.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of the running test"));
    command.args(["--exact", name, "--nocapture"]);
    command
}

/// Runs `command`, made by [`command`], and returns its output; panics unless exactly one test ran and passed.
///
/// After a renaming no test has the name, which libtest takes for a success.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    let finished = Finished::of(&command.output().expect("the program of this test"));
    assert_passed(&finished);
    finished
}

/// Panics unless the output is that of a program in which exactly one test ran and passed.
#[track_caller]
pub fn assert_passed(finished: &Finished) {
    let passed = finished.code == Some(0) && finished.stdout.contains("test result: ok. 1 passed");
    assert!(passed, "stdout: {}\nstderr: {}", finished.stdout, finished.stderr);
}
