//! Programs that a test runs, and how they end.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Returns Cargo's directory for files of tests and benches, the `CARGO_TARGET_TMPDIR` of the running program.
pub fn temporary() -> PathBuf {
    let program = std::env::current_exe().expect("the path of the running test");
    // target/{profile}/deps/{program}
    let target = program
        .ancestors()
        .nth(3)
        .expect("a test lies below the target directory");
    let directory = target.join("tmp");
    std::fs::create_dir_all(&directory).expect("the directory for files of tests");
    directory
}

/// How a run ended.
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// From a collected output.
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON on standard output; panics with all output if the run failed.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Panics unless the run failed with `code` and a message that has all of `words`.
    #[track_caller]
    pub fn assert_fails(&self, code: i32, words: &[&str]) {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// Runs a foreign tool; panics unless it succeeds. Returns its standard output.
#[track_caller]
pub fn tool(program: &str, args: &[impl AsRef<OsStr>]) -> String {
    let output = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed (scripts/host-packages test installs it): {error}"));
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{program}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout.into_owned()
}
