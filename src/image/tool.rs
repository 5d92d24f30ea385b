//! Running a helper program of the host: absolute path, fixed environment,
//! stoppable, and the end of its stderr goes into the error.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cancel::{Cancel, Cancelled};

/// Where programs are looked for; the caller's `PATH` has no say.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
/// How much of a program's stderr an error shows.
const TAIL_BYTES: usize = 4096;

/// Why a helper program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("{program} is not installed; it is needed for {purpose}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// The package that holds it.
        package: &'static str,
        /// The field or step that asks for it.
        purpose: String,
    },
    /// It could not be started or watched.
    #[error("cannot run {}: {source}", program.display())]
    Run {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It said no.
    #[error("{} failed ({status}): {stderr}", program.display())]
    Failed {
        /// Its path.
        program: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ToolError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { package, .. } => Some(format!("install the package {package}")),
            _ => None,
        }
    }
}

/// Finds `program` of `package` on the host; `purpose` is the field or step that needs it.
///
/// # Errors
/// [`ToolError::Missing`].
pub fn find(program: &'static str, package: &'static str, purpose: &str) -> Result<PathBuf, ToolError> {
    let mut paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(program));
    paths.find(|path| path.is_file()).ok_or_else(|| ToolError::Missing {
        program,
        package,
        purpose: purpose.to_owned(),
    })
}

/// Runs `program` to its end with an environment of `environment` alone, and
/// gives the end of its stderr.
///
/// # Errors
/// [`ToolError`]; a cancelled or failed program has ended when this returns.
pub fn run(
    program: &Path,
    arguments: &[&OsStr],
    environment: &[(&str, &OsStr)],
    cancel: &Cancel,
) -> Result<String, ToolError> {
    cancel.check()?;
    let fail = |source| ToolError::Run {
        program: program.to_owned(),
        source,
    };
    tracing::debug!(?program, ?arguments, "run");
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || stderr.map(tail).unwrap_or_default());
    let status = wait(&mut child, cancel);
    let stderr = reader.join().unwrap_or_default();
    match status.map_err(fail)? {
        None => Err(Cancelled.into()),
        Some(status) if status.success() => Ok(stderr),
        Some(status) => Err(ToolError::Failed {
            program: program.to_owned(),
            status,
            stderr,
        }),
    }
}

/// Waits for the end of `child`; `None` if it was killed because of `cancel`.
fn wait(child: &mut Child, cancel: &Cancel) -> std::io::Result<Option<std::process::ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if cancel.is_cancelled() {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The last [`TAIL_BYTES`] that `stream` gives, without blank lines.
fn tail(mut stream: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; TAIL_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(TAIL_BYTES));
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs a program of `package` that must succeed; its stdout and stderr.
    pub fn run(package: &str, program: &str, arguments: &[&str]) -> String {
        let (ok, text) = run_any(package, program, arguments);
        assert!(ok, "{program} {arguments:?}: {text}");
        text
    }

    /// Runs a program of `package`; whether it succeeded, its stdout and stderr.
    pub fn run_any(package: &str, program: &str, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", DIRECTORIES.join(":"))
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap_or_else(|error| panic!("this test needs {program}: install {package} ({error})"));
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn errors_carry_the_end_of_stderr() {
        let shell = find("sh", "dash", "a test").unwrap();
        let script = OsStr::new("seq 5000 >&2; echo the end >&2; exit 3");
        let error = super::run(&shell, &[OsStr::new("-c"), script], &[], &Cancel::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("the end") && text.len() < 5000 && text.contains("exit status: 3"),
            "{text}"
        );
        let missing = find("no-such-program", "nothing", "disk.artifacts[0]").unwrap_err();
        assert!(missing.to_string().contains("needed for disk.artifacts[0]"));
    }

    #[test]
    fn cancelling_kills() {
        let cancel = Cancel::default();
        let stop = cancel.clone();
        let begun = std::time::Instant::now();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            stop.cancel();
        });
        let sleep = find("sleep", "coreutils", "a test").unwrap();
        let error = super::run(&sleep, &[OsStr::new("60")], &[], &cancel).unwrap_err();
        assert!(matches!(error, ToolError::Cancelled(_)));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
