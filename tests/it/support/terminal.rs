//! A program at a terminal that script(1) gives it, and the answers to its questions as if a person typed them.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Prepares `line`, a command for the shell, in `directory`.
pub fn command(line: &str, directory: &Path) -> Command {
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    script
}

/// Runs a [`command`], which must succeed: waits for each question, and types its answer.
pub fn answer(mut script: Command, answers: &[(&str, &str)]) {
    let mut script = script.spawn().expect("this test needs script (package bsdutils)");
    let (mut stdin, mut stdout) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    for (question, answer) in answers {
        let mut shown = Vec::new();
        while !shown.ends_with(question.as_bytes()) {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            shown.push(byte[0]);
        }
        // What is typed before the terminal stops to show it is thrown away (tcsetattr(3), TCSAFLUSH).
        std::thread::sleep(Duration::from_millis(300));
        writeln!(stdin, "{answer}").unwrap();
    }
    assert!(script.wait().unwrap().success());
}
