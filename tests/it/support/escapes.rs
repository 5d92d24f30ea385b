//! A sandbox from which programs try to escape.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use oic::cancel::Cancel;
use oic::sandbox::{Bind, Command, Sandbox, SandboxError, SandboxSpec};

/// The root directory of a sandbox, with links into the host's `/usr`.
pub struct Root {
    pub directory: tempfile::TempDir,
    pub spec: SandboxSpec,
}

impl Root {
    /// Makes one with each kind of place that a sandbox can have; `program` is oic.
    pub fn new(program: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        for name in ["root", "var/tmp", "outside"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("oic-control"), "").unwrap();
        let mut spec = SandboxSpec::new(root);
        spec.helper = program.to_owned();
        for (source, target, read_only) in [("/usr".into(), "/usr", true), (root.join("outside"), "/bound", false)] {
            spec.binds.push(Bind {
                source,
                target: target.into(),
                read_only,
            });
        }
        spec.scratch.push("/scratch".into());
        Self { directory, spec }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn run(&self, command: &Command) -> (Result<(), SandboxError>, Vec<String>) {
        let mut lines = Vec::new();
        let result =
            Sandbox::new(self.spec.clone()).run(command, &mut |line| lines.push(line.to_owned()), &Cancel::default());
        (result.map(drop), lines)
    }

    /// The output of a command that must succeed.
    pub fn output<const N: usize>(&self, argv: [&str; N]) -> Vec<String> {
        let (result, lines) = self.run(&Command::new(argv));
        result.unwrap_or_else(|error| panic!("{error}"));
        lines
    }

    /// Compiles C to `name` in the root directory.
    pub fn compile(&self, source: &Path, name: &str, options: &[&str]) {
        let status = std::process::Command::new("cc")
            .args(options)
            .arg("-o")
            .arg(self.path().join(name))
            .arg(source)
            .status();
        assert!(status.unwrap().success());
    }

    /// Makes all attempts of `tests/data/escapes.c`; returns their number, and lines about each wrong answer.
    pub fn attempts(&self) -> (u64, Vec<String>) {
        let source = oic_testkit::source_root().join("tests/data/escapes.c");
        self.compile(&source, "escapes", &["-O1", "-pthread"]);
        let mut lines = self.output(["/escapes"]);
        let last = lines.pop().unwrap_or_default();
        let counts: Vec<_> = last.split(' ').collect();
        match counts[..] {
            ["ATTEMPTS", attempts, "WRONG", "0"] => (attempts.parse().unwrap(), Vec::new()),
            ["ATTEMPTS", attempts, "WRONG", _] => (attempts.parse().unwrap(), lines),
            _ => panic!("{last}"),
        }
    }
}
