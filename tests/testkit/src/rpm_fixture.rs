//! The RPM distribution of `tests/rpm_fixture`, made on first use and kept under `target/`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{sha256, source_root, temporary};

/// Seconds; when the repositories were made, as they say.
pub const EPOCH: u64 = 1_760_000_000;

/// Packages of the default template of azl3 and of its base.
pub const SYSTEM: [&str; 22] = [
    "core-packages-container",
    "filesystem",
    "bash",
    "coreutils",
    "systemd",
    "systemd-udev",
    "systemd-networkd",
    "systemd-resolved",
    "dbus",
    "kmod",
    "iproute",
    "iputils",
    "shadow-utils",
    "util-linux",
    "e2fsprogs",
    "dracut",
    "systemd-boot",
    "ca-certificates",
    "azurelinux-release",
    "openssh-server",
    "openssl",
    "kernel",
];

/// The distribution; made anew when what it is made from has changed.
pub fn directory() -> PathBuf {
    let sources = source_root().join("tests/rpm_fixture");
    let parent = temporary().join("rpm-fixture");
    fs::create_dir_all(&parent).unwrap();
    let lock = File::create(parent.join("lock")).unwrap();
    lock.lock().unwrap();
    let target = parent.join(digest(&sources));
    if !target.exists() {
        for old in fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().path()) {
            if old.is_dir() {
                fs::remove_dir_all(&old).unwrap();
            }
        }
        let output = Command::new(sources.join("make")).arg(&target).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "the RPM distribution cannot be made (scripts/host-packages test installs what it needs): {said}"
        );
    }
    target
}

/// A digest of all files below `directory`.
fn digest(directory: &Path) -> String {
    let (mut files, mut open) = (BTreeSet::new(), vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => drop(files.insert(path)),
            }
        }
    }
    let content = files.iter().map(|path| {
        let name = path.strip_prefix(directory).unwrap().display().to_string();
        format!("{name} {}\n", sha256(fs::read(path).unwrap()))
    });
    sha256(content.collect::<String>())
}

/// Opens the index of a `kind` (`primary`, `filelists`) of `repository`, unpacked.
pub fn index(repository: &Path, kind: &str) -> BufReader<impl std::io::Read> {
    let suffix = format!("-{kind}.xml.gz");
    let entries = fs::read_dir(repository.join("repodata")).unwrap();
    let path = entries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(&suffix))
        .unwrap();
    BufReader::new(flate2::read::MultiGzDecoder::new(File::open(path).unwrap()))
}

/// What `dnf --installroot` makes of exactly the package `files`, with `/proc` and `/dev` for their scripts.
pub fn dnf(files: &[PathBuf], root: &Path) {
    let script = "mkdir -p -m 555 \"$1/proc\" && mkdir -p \"$1/dev\" && mount -t proc proc \"$1/proc\" \
        && mount --rbind /dev \"$1/dev\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--fork", "sh", "-c", script, "sh"])
        .arg(root)
        .args(["dnf", "--assumeyes", "--quiet", "--noplugins", "--installroot"])
        .arg(root)
        .args(["--releasever=3", "--disablerepo=*", "--setopt=install_weak_deps=0"])
        .args([
            "--setopt=localpkg_gpgcheck=0",
            "--setopt=reposdir=/nonexistent",
            "install",
        ])
        .args(files)
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .env("LC_ALL", "C.UTF-8");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "dnf: {said}");
}

/// Writes provider data like oic's own, but that the fixture's key signs the repositories.
pub fn write_providers(target: &Path) {
    let own = source_root().join("data/providers");
    for provider in [
        "azure-linux/azl3",
        "edge-microvisor-toolkit/emt3",
        "redhat-compatible-distro/el10",
    ] {
        let text = fs::read_to_string(own.join(provider).join("provider.yml")).unwrap();
        let mut changed = String::new();
        let mut in_keys = false;
        for line in text.lines() {
            in_keys &= line.starts_with("      ");
            if !in_keys {
                changed += &format!("{line}\n");
            }
            if line == "    keys:" {
                changed += "      - file: fixture.asc\n";
                in_keys = true;
            }
        }
        let directory = target.join("providers").join(provider);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("provider.yml"), changed).unwrap();
    }
    fs::create_dir_all(target.join("keys")).unwrap();
    fs::copy(directory().join("RPM-GPG-KEY-fixture"), target.join("keys/fixture.asc")).unwrap();
}

/// A URL's path without percent-encoding.
pub fn decoded(path: &str) -> String {
    let (first, rest) = path
        .split_once('%')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Some(rest) = rest else { return first.to_owned() };
    let (digits, rest) = rest.split_at(2);
    let character = char::from(u8::from_str_radix(digits, 16).unwrap());
    format!("{first}{character}{}", decoded(rest))
}
