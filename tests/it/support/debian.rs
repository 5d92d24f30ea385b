//! A real Debian 13 for tests: packages from the host's mirror, and the tree that
//! mmdebstrap makes of them. Kept under `target/`, so that only the first run downloads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oic::durable::FileLock;
use oic::package::{ResolvedPackage, Sha256};

use super::mirror;

/// What the base is asked for; the same names as the provider's base list.
pub const BASE: &str = "dpkg,apt,debianutils,init-system-helpers,dash,mount,sysvinit-utils,gzip,bash,util-linux,tar,\
    base-files,base-passwd,sed,bsdutils,coreutils,findutils,grep,login,perl-base,diffutils,libc-bin,hostname,\
    ncurses-bin,ncurses-base";

/// Seconds; after the newest package of the release is fine for tests.
pub const EPOCH: u64 = 1_760_000_000;

/// The directory of everything below; made on first use.
pub fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian13");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Runs a program that must succeed; a missing one is named with its package.
pub fn run(command: &mut Command, package: &str) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; this test needs the package {package}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The Debian mirror that the host itself uses.
pub fn mirror() -> String {
    let sources = fs::read_dir("/etc/apt/sources.list.d")
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut texts: Vec<_> = sources
        .filter(|path| path.extension().is_some_and(|extension| extension == "sources"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    texts.sort();
    texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("URIs:"))
        .flat_map(str::split_whitespace)
        .find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
        .expect("the host has no Debian mirror in /etc/apt/sources.list.d/*.sources")
        .to_owned()
}

/// Returns what changes whenever the archive does.
fn state_of_archive() -> String {
    oic_testkit::sha256(mirror::in_release("trixie"))
}

fn source_line() -> String {
    format!("deb {} trixie main", mirror())
}

/// The tree that `mmdebstrap --variant=custom` makes, and the packages it was made of.
pub fn oracle() -> (PathBuf, Vec<(ResolvedPackage, PathBuf)>) {
    let directory = directory();
    let _lock = FileLock::exclusive(directory.join("oracle.lock")).unwrap();
    let (tree, debs) = (directory.join("mmdebstrap"), directory.join("base-debs"));
    // Made again when the archive has changed.
    let (done, archive) = (directory.join("oracle.done"), state_of_archive());
    if fs::read_to_string(&done).is_ok_and(|made| made == archive) {
        return (tree, packages(&debs.join("archives")));
    }
    for path in [&tree, &debs] {
        oic::durable::remove_tree(path).unwrap();
    }
    fs::create_dir(&debs).unwrap();
    run(
        mmdebstrap_command()
            .args(["--skip=essential/unlink", &format!("--include={BASE}")])
            .arg(format!(
                "--customize-hook=copy-out /var/cache/apt/archives {}",
                debs.display()
            ))
            .args([Path::new("trixie"), &tree])
            .arg(source_line()),
        "mmdebstrap",
    );
    fs::write(done, archive).unwrap();
    (tree, packages(&debs.join("archives")))
}

/// mmdebstrap with exactly the packages that are listed for it, as root.
fn mmdebstrap_command() -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args([
        "--quiet",
        "--mode=root",
        "--variant=custom",
        "--keyring=/usr/share/keyrings",
    ]);
    command
}

/// Makes the tree `target` with the base and `names` by mmdebstrap. What is in the directory `archives` is not downloaded
/// again.
pub fn mmdebstrap(target: &Path, names: &[&str], archives: &Path) {
    let own = directory().join("base-debs/archives");
    let copy_in = |from: &Path| format!("--setup-hook=sync-in {} /var/cache/apt/archives", from.display());
    run(
        mmdebstrap_command()
            .args([
                "--skip=essential/unlink,download/empty",
                &format!("--include={BASE},{}", names.join(",")),
            ])
            // The tree is thrown away.
            .arg("--dpkgopt=force-unsafe-io")
            .arg("--setup-hook=mkdir -p \"$1/var/cache/apt/archives\"")
            .args([copy_in(&own), copy_in(archives)])
            .args([Path::new("trixie"), target])
            .arg(source_line()),
        "mmdebstrap",
    );
}

/// Downloads `names` and what they need on top of the base `root`, and returns the packages.
pub fn download(root: &Path, names: &[&str]) -> Vec<(ResolvedPackage, PathBuf)> {
    let directory = directory().join("apt");
    let _lock = FileLock::exclusive(directory.with_extension("lock")).unwrap();
    let asked = oic_testkit::sha256(names.join("+"));
    let archives = directory.join(format!("{}@{}", &asked[..16], &state_of_archive()[..16]));
    for part in ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "lists/partial", "cache"] {
        fs::create_dir_all(directory.join(part)).unwrap();
    }
    fs::create_dir_all(archives.join("partial")).unwrap();
    fs::write(directory.join("sources.list"), source_line()).unwrap();
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        let d = directory.display();
        for option in [
            format!("Dir::Etc={d}/etc/apt"),
            format!("Dir::Etc::SourceList={d}/sources.list"),
            format!("Dir::State::Lists={d}/lists"),
            format!("Dir::State::Status={}/var/lib/dpkg/status", root.display()),
            format!("Dir::Cache={d}/cache"),
            format!("Dir::Cache::Archives={}", archives.display()),
            "Dir::Etc::TrustedParts=/usr/share/keyrings".into(),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=root".into(),
            "APT::Install-Recommends=false".into(),
            "Acquire::Languages=none".into(),
        ] {
            command.arg("-o").arg(option);
        }
        run(command.arg("-qq").args(arguments), "apt")
    };
    if fs::read_dir(&archives).unwrap().count() < 3 {
        apt(&["update"]);
        apt(&[&["--yes", "--download-only", "install"], names].concat());
    }
    packages(&archives)
}

/// The packages in a directory, what a package needs before it (except in cycles).
fn packages(directory: &Path) -> Vec<(ResolvedPackage, PathBuf)> {
    let mut found = BTreeMap::new();
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
    {
        let control = run(Command::new("dpkg-deb").arg("--field").arg(&path), "dpkg");
        let (package, needs) = package(&control, &path);
        found.insert(package.name.clone(), (package, needs, path));
    }
    let mut order = Vec::new();
    let names: Vec<_> = found.keys().cloned().collect();
    for name in names {
        visit(&name, &mut found, &mut order);
    }
    order
}

type Found = BTreeMap<String, (ResolvedPackage, Vec<String>, PathBuf)>;

fn visit(name: &str, found: &mut Found, order: &mut Vec<(ResolvedPackage, PathBuf)>) {
    if let Some((package, needs, path)) = found.remove(name) {
        needs.iter().for_each(|need| visit(need, found, order));
        order.push((package, path));
    }
}

/// What the control file of the package at `path` says, and the names it needs.
pub fn package(control: &str, path: &Path) -> (ResolvedPackage, Vec<String>) {
    let field = |name: &str| {
        let start = format!("{name}: ");
        control
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap_or_default()
            .to_owned()
    };
    let needs = format!("{}, {}", field("Pre-Depends"), field("Depends"));
    let needs = needs
        .split(',')
        .filter_map(|need| {
            need.split(['|', '(', ':', ' '])
                .find(|word| !word.is_empty())
                .map(str::to_owned)
        })
        .collect();
    let bytes = fs::read(path).unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    let sha256 = Sha256::of(&bytes);
    let package = ResolvedPackage {
        name: field("Package"),
        version: field("Version"),
        architecture: field("Architecture"),
        repository: "trixie".into(),
        path: file.into(),
        size_bytes: bytes.len() as u64,
        installed_size_bytes: 0,
        checksum: sha256.into(),
        stanza: format!(
            "{}\nFilename: ./{file}\nSize: {}\nSHA256: {sha256}\n",
            control.trim_end(),
            bytes.len()
        ),
    };
    (package, needs)
}

/// Unpacks a package as mmdebstrap does.
pub fn unpack(file: &Path, root: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut deb = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(file)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let tar = Command::new("tar")
        .arg("-C")
        .arg(root)
        .args(["--keep-directory-symlink", "--extract", "--file", "-"])
        .stdin(deb.stdout.take().ok_or("no pipe")?)
        .status()?;
    if deb.wait()?.success() && tar.success() {
        Ok(())
    } else {
        Err("dpkg-deb or tar failed".into())
    }
}
