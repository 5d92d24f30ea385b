//! A temporary GnuPG home for tests: the other implementation signs, oic verifies.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A temporary `GNUPGHOME`; on drop its agent ends and its files are removed.
#[derive(Debug)]
pub(crate) struct Gpg {
    home: tempfile::TempDir,
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut kill = Command::new("gpgconf");
        kill.arg("--homedir").arg(self.home.path()).args(["--kill", "all"]);
        let _ = kill.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Gpg {
    pub(crate) fn new() -> Self {
        // A short path: the agent's socket lies in it (sun_path holds 108 bytes).
        let home = tempfile::Builder::new().prefix("oic-gpg").tempdir_in("/tmp").unwrap();
        Self { home }
    }

    /// Makes a home with one ed25519 key, `name@example.org`.
    pub(crate) fn with_key(name: &str) -> Self {
        let gpg = Self::new();
        gpg.generate(name, "ed25519", "never", &[]);
        gpg
    }

    pub(crate) fn generate(&self, name: &str, algorithm: &str, expiry: &str, options: &[&str]) {
        let user = format!("{name} <{name}@example.org>");
        let generate = [
            "--passphrase",
            "",
            "--quick-generate-key",
            &user,
            algorithm,
            "sign",
            expiry,
        ];
        self.run(&[options, &generate].concat(), b"");
    }

    /// Runs gpg with `input` on its standard input and returns its standard output.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Vec<u8> {
        let file = self.home.path().join("input");
        std::fs::write(&file, input).unwrap();
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"])
            .args(arguments)
            .stdin(std::fs::File::open(file).unwrap())
            .output()
            .expect("gpg is needed by this test: install the package gnupg");
        assert!(
            output.status.success(),
            "gpg: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Returns the certificate `name` in binary form.
    pub(crate) fn export(&self, name: &str) -> Vec<u8> {
        self.run(&["--export", &format!("{name}@example.org")], b"")
    }

    pub(crate) fn clear_sign(&self, name: &str, text: &[u8]) -> Vec<u8> {
        self.run(&["--local-user", &format!("{name}@example.org"), "--clear-sign"], text)
    }

    pub(crate) fn detach_sign(&self, name: &str, armor: bool, data: &[u8]) -> Vec<u8> {
        let user = format!("{name}@example.org");
        let form = if armor { "--armor" } else { "--no-armor" };
        self.run(&["--local-user", &user, form, "--detach-sign"], data)
    }

    /// Returns the path of the home, which has files such as a revocation certificate.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }
}
