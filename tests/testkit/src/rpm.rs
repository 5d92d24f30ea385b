//! Small RPM repositories: packages from one line each, made by `rpmbuild` and `createrepo_c`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package from a line such as `a 1:2-3; Requires: b >= 2, (c or d); Provides: e = 1; Files: /usr/bin/a`.
/// What stands before a semicolon and a blank is a tag of the spec file; `Files` are made, empty.
fn subpackage(line: &str) -> (String, String) {
    let mut parts = line.split("; ").map(str::trim);
    let (name, evr) = parts
        .next()
        .and_then(|head| head.split_once(' '))
        .expect("name and version");
    let (epoch, vr) = evr.split_once(':').unwrap_or(("0", evr));
    let (version, release) = vr.rsplit_once('-').expect("a release");
    let mut tags = format!("%package -n {name}\nVersion: {version}\nRelease: {release}\nSummary: {name}\n");
    if epoch != "0" {
        let _ = writeln!(tags, "Epoch: {epoch}");
    }
    let (mut files, mut arch) = (Vec::new(), "noarch");
    for part in parts {
        let (tag, value) = part.split_once(": ").expect("a tag");
        match tag {
            "Files" => files = value.split(", ").collect(),
            "Arch" => arch = value,
            _ => tags += &format!("{tag}: {value}\n"),
        }
    }
    if arch == "noarch" {
        tags += "BuildArch: noarch\n";
    }
    let mut text = format!("{tags}%description -n {name}\n{name}\n%files -n {name}\n");
    text.extend(files.iter().map(|file| format!("{file}\n")));
    let install: String = files
        .iter()
        .map(|file| format!("mkdir -p %{{buildroot}}$(dirname {file})\ntouch %{{buildroot}}{file}\n"))
        .collect();
    (text, install)
}

/// Builds `packages` into `directory`. Those of one name are built one after the other.
pub fn build(directory: &Path, packages: &[&str]) {
    let mut specs: Vec<Vec<&str>> = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for line in packages {
        let name = line.split(' ').next().unwrap_or_default();
        let number = seen.entry(name).and_modify(|number| *number += 1).or_insert(0);
        if specs.len() <= *number {
            specs.push(Vec::new());
        }
        specs[*number].push(line);
    }
    for lines in specs {
        let scratch = tempfile::tempdir_in(directory).unwrap();
        let (mut subpackages, mut install) = (String::new(), String::new());
        for (text, files) in lines.iter().map(|line| subpackage(line)) {
            subpackages += &text;
            install += &files;
        }
        let spec = format!(
            "Name: fixture\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\n%description\nx\n\
             {subpackages}\n%install\nmkdir -p %{{buildroot}}\n{install}"
        );
        let path = scratch.path().join("fixture.spec");
        fs::write(&path, spec).unwrap();
        let top = format!("_topdir {}", scratch.path().display());
        let mut command = Command::new("rpmbuild");
        command.args(["-bb", "--quiet", "--nodeps", "--target", "x86_64-linux"]);
        for definition in [
            &*top,
            "_build_id_links none",
            "__os_install_post %{nil}",
            "debug_package %{nil}",
        ] {
            command.args(["--define", definition]);
        }
        let output = command.arg(&path).env("HOME", scratch.path()).output();
        let output = output.expect("this test needs rpmbuild (package rpm)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for arch in fs::read_dir(scratch.path().join("RPMS")).unwrap() {
            for package in fs::read_dir(arch.unwrap().path()).unwrap() {
                let package = package.unwrap();
                fs::rename(package.path(), directory.join(package.file_name())).unwrap();
            }
        }
    }
}

/// Makes the indexes of the packages in `directory`, and of the groups that a `comps.xml` there has.
pub fn index(directory: &Path) {
    let mut command = Command::new("createrepo_c");
    command.args(["--quiet", "--no-database", "--general-compress-type=gz"]);
    let comps = directory.join("comps.xml");
    if comps.exists() {
        command.arg("--groupfile").arg(comps);
    }
    let output = command
        .arg(directory)
        .output()
        .expect("this test needs createrepo_c (package createrepo-c)");
    assert!(output.status.success(), "{output:?}");
}

/// Signs all packages and the metadata in `directory` with the key `user` of the GnuPG directory `home`.
pub fn sign(directory: &Path, home: &Path, user: &str) {
    let mut command = Command::new("rpmsign");
    command
        .args(["--define", "__gpg /usr/bin/gpg", "--define"])
        .arg(format!("_gpg_name {user}"))
        .arg("--define")
        .arg(format!("_gpg_path {}", home.display()))
        .arg("--addsign");
    command.args(packages(directory));
    let output = command.output().expect("this test needs rpmsign (package rpm)");
    assert!(output.status.success(), "{output:?}");
    index(directory);
    sign_metadata(directory, home, user);
}

/// Signs the metadata alone.
pub fn sign_metadata(directory: &Path, home: &Path, user: &str) {
    let repomd = directory.join("repodata/repomd.xml");
    let output = Command::new("gpg")
        .args([
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--homedir",
        ])
        .arg(home)
        .args(["--local-user", user, "--armor", "--detach-sign", "--output"])
        .arg(repomd.with_extension("xml.asc"))
        .arg(repomd)
        .output()
        .expect("this test needs gpg (package gnupg)");
    assert!(output.status.success(), "{output:?}");
}

/// The package files in `directory`.
pub fn packages(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "rpm"))
        .collect()
}

/// A GnuPG directory with the key `vendor@example.org`; its agent ends when it is dropped.
pub struct Key {
    home: tempfile::TempDir,
}

impl Key {
    /// Makes a new key.
    pub fn new() -> Self {
        // A short path: the agent's socket lies in it.
        let home = tempfile::Builder::new().prefix("oic-gpg").tempdir_in("/tmp").unwrap();
        let key = Self { home };
        key.gpg(&[
            "--passphrase",
            "",
            "--quick-generate-key",
            Self::USER,
            "ed25519",
            "sign",
            "never",
        ]);
        key
    }

    /// The user whose key it is.
    pub const USER: &'static str = "vendor@example.org";

    /// Returns the GnuPG directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the public key, armored.
    pub fn public(&self) -> Vec<u8> {
        self.gpg(&["--armor", "--export", Self::USER])
    }

    /// Returns the fingerprint in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let listed = self.gpg(&["--with-colons", "--list-keys", Self::USER]);
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::"));
        line.unwrap().trim_end_matches(':').to_owned()
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
                "--homedir",
            ])
            .arg(self.home.path())
            .args(arguments)
            .output()
            .expect("this test needs gpg (package gnupg)");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let mut kill = Command::new("gpgconf");
        let _ = kill
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--kill", "all"])
            .output();
    }
}
