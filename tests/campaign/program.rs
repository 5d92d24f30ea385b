//! The program, started, watched and ended.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// The longest that a command may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(180);

/// A running command, the leader of a process group.
pub struct Running {
    child: Child,
    group: Pid,
    output: PathBuf,
    begun: Instant,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Whether it had to be killed because it did not end.
    pub hung: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The time that it took.
    pub took: Duration,
}

impl Ended {
    /// Returns the value of a field of the JSON on standard output, as text; empty if there is none.
    pub fn field(&self, pointer: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.stdout).unwrap_or_default();
        json.pointer(pointer)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    }
}

impl Running {
    /// Starts `command`; its output goes to files in `directory`.
    pub fn start(mut command: Command, directory: &Path) -> Self {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let output = directory.join(format!("output-{number}"));
        let file = |name: &str| File::create(output.with_extension(name)).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let group = Pid::from_raw(child.id().try_into().unwrap());
        Self {
            child,
            group,
            output,
            begun: Instant::now(),
        }
    }

    /// Sends it a signal; whether it still runs does not matter.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.group, signal);
    }

    /// Waits for so long after its start, or until it ends.
    pub fn wait_until(&mut self, after: Duration) {
        while self.begun.elapsed() < after && self.ended().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; kills its group if that takes too long.
    pub fn end(mut self) -> Ended {
        let mut hung = false;
        let status = loop {
            match self.ended() {
                Some(status) => break status,
                None if self.begun.elapsed() > LIMIT => {
                    hung = true;
                    let _ = killpg(self.group, Signal::SIGKILL);
                    break self.child.wait().unwrap();
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let took = self.begun.elapsed();
        let text = |name: &str| {
            let path = self.output.with_extension(name);
            let bytes = fs::read(&path).unwrap_or_default();
            let _ = fs::remove_file(path);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ended {
            code: status.code(),
            hung,
            stdout: text("out"),
            stderr: text("err"),
            took,
        }
    }
}

/// Lists the processes that run `program`, by their numbers.
pub fn processes_of(program: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number: &u32| fs::read_link(format!("/proc/{number}/exe")).is_ok_and(|exe| exe == program))
        .collect()
}
