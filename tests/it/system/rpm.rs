//! The base and an image of `.rpm` packages equal what `dnf --installroot` makes of the same packages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{image, rpm_fixture, tree};
use oic_testkit::rpm_fixture::{EPOCH, SYSTEM};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::Image;
use oic::base::BaseRequest;
use oic::cancel::Cancel;
use oic::install::{InstallError, InstallReport, InstallRequest};
use oic::package::{Arch, ResolvedPackage};
use oic::repo::rpm::Rpm;
use oic::system::System as _;
use oic::work::Work;

const HELPER: &str = env!("CARGO_BIN_EXE_oic");

/// The base of azl3 below `directory`.
fn make_base(directory: &Path, packages: &[(ResolvedPackage, PathBuf)]) -> PathBuf {
    let root = directory.join("base");
    fs::create_dir(&root).unwrap();
    let request = BaseRequest {
        packages,
        root: &root,
        arch: Arch::X86_64,
        epoch: EPOCH,
        helper: Path::new(HELPER),
        unpack: &rpm_fixture::unpack,
    };
    let report = Rpm
        .bootstrap(&request, Work::quiet(&Cancel::default()))
        .unwrap_or_else(|error| panic!("{error}"));
    println!("{report:?}");
    assert_eq!(report.warnings, [""; 0]);
    root
}

fn install_packages(image: &Image, packages: &[(ResolvedPackage, PathBuf)]) -> Result<InstallReport, InstallError> {
    let pool = rpm_fixture::pool(packages);
    let packages: Vec<_> = packages.iter().map(|(package, _)| package.clone()).collect();
    let request = InstallRequest {
        root: &image.root(),
        packages: &packages,
        pool: Path::new("/cdrom/cache-repo"),
        pool_source: Some(pool.path()),
        temporary: Path::new(env!("CARGO_TARGET_TMPDIR")),
        arch: Arch::X86_64,
        foreign: &[],
        file_systems: &[],
        answers: &[],
        epoch: EPOCH,
        helper: Path::new(HELPER),
    };
    Rpm.install(&request, Work::quiet(&Cancel::default()))
}

/// Makes of exactly `packages` what dnf makes of them.
fn dnf(packages: &[(ResolvedPackage, PathBuf)], root: &Path) {
    let files: Vec<_> = packages.iter().map(|(_, file)| file.clone()).collect();
    oic_testkit::rpm_fixture::dnf(&files, root);
}

#[test]
fn base_and_system_equal_what_dnf_makes() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let of_base = rpm_fixture::packages("azl3", &["core-packages-container"]);
    let base = make_base(directory.path(), &of_base);
    let oracle = directory.path().join("dnf");
    fs::create_dir(&oracle).unwrap();
    dnf(&of_base, &oracle);
    assert_same(&oracle, &base);
    fs::remove_dir_all(&oracle).unwrap();

    let again = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let again = (make_base(again.path(), &of_base), again);
    assert_same_bytes(&base, &again.0);
    // Even a query writes beside the database: not into the base.
    assert_verified(&again.0, &of_base);

    let image = Image::over(&base);
    let all = rpm_fixture::packages("azl3", &SYSTEM);
    let names: BTreeSet<_> = of_base.iter().map(|(package, _)| package.checksum).collect();
    let more: Vec<_> = all
        .iter()
        .filter(|(package, _)| !names.contains(&package.checksum))
        .cloned()
        .collect();
    let report = install_packages(&image, &more).unwrap_or_else(|error| panic!("{error}"));
    println!("{report:?}");
    assert_eq!(report.packages, more.len() as u64);
    assert_eq!(report.warnings, [""; 0]);
    fs::create_dir(&oracle).unwrap();
    dnf(&all, &oracle);
    assert_same(&oracle, &image.root());
    assert_verified(&image.root(), &all);
    assert!(!image.upper().join("cdrom").exists(), "the pool stayed in the image");
}

/// Every path that may differ, or its directory, and why.
const ALLOWED: [(&str, &str); 10] = [
    (
        "var/lib/rpm",
        "the database: its format is that of the rpm that writes it",
    ),
    ("var/lib/dnf", "dnf's own history"),
    ("etc/dnf", "made by the host's dnf for itself"),
    ("var/cache/dnf", "dnf's own cache"),
    ("var/log", "logs"),
    ("root/.rpmdb", "where rpm as Debian packs it keeps the database"),
    ("var/cache/ldconfig/aux-cache", "a cache"),
    ("etc/.pwd.lock", "a lock"),
    ("etc/machine-id", "drawn by each machine when it first boots"),
    (
        "boot/initramfs",
        "made by oic when everything is installed; dnf makes none",
    ),
];

fn is_allowed(path: &Path) -> bool {
    let path = path.to_str().unwrap_or_default();
    let under = |place: &str| {
        path.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '-']))
    };
    ALLOWED.iter().any(|(place, _)| under(place))
}

fn assert_same(oracle: &Path, made: &Path) {
    let (expected, made) = (tree::scan(oracle), tree::scan(made));
    let at = |nodes: &BTreeMap<PathBuf, tree::Node>, path: &Path| format!("{:?}", nodes.get(path));
    let paths: BTreeSet<_> = expected.keys().chain(made.keys()).collect();
    let differences: Vec<_> = paths
        .into_iter()
        .filter(|path| expected.get(*path) != made.get(*path) && !is_allowed(path))
        .map(|path| {
            format!(
                "{}:\n  dnf {}\n  oic {}",
                path.display(),
                at(&expected, path),
                at(&made, path)
            )
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(expected.len() > 1000, "dnf made no system: {} files", expected.len());
}

/// Nothing depends on the clock: the database included.
fn assert_same_bytes(one: &Path, other: &Path) {
    let (one, other) = (tree::scan(one), tree::scan(other));
    let differences: Vec<_> = one.keys().filter(|path| one.get(*path) != other.get(*path)).collect();
    assert!(differences.is_empty() && one.len() == other.len(), "{differences:#?}");
}

/// The system's own rpm knows exactly `packages`, and finds every file as they brought it, but for configuration.
fn assert_verified(root: &Path, packages: &[(ResolvedPackage, PathBuf)]) {
    let rpm = |arguments: &[&str]| {
        let output = Command::new("chroot")
            .arg(root)
            .arg("rpm")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (_, known) = rpm(&["-qa", "--queryformat", "%{NAME} %{EVR} %{ARCH}\n"]);
    let known: BTreeSet<&str> = known.lines().collect();
    let expected: Vec<_> = packages
        .iter()
        .map(|(package, _)| format!("{} {} {}", package.name, package.version, package.architecture))
        .collect();
    assert_eq!(known, expected.iter().map(String::as_str).collect());
    let (_, found) = rpm(&["-Va"]);
    let wrong: Vec<_> = found.lines().filter(|line| line.get(11..12) != Some("c")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A package of one script, beside `directory`.
fn make_package(directory: &Path, name: &str, head: &str, script: &str) -> (ResolvedPackage, PathBuf) {
    let spec = format!(
        "Name: {name}\nEpoch: 1\nVersion: 2\nRelease: 3\nSummary: S\nLicense: MIT\nBuildArch: noarch\n{head}\n\
         %description\nD\n{script}\n%files\n"
    );
    let path = directory.join(format!("{name}.spec"));
    fs::write(&path, spec).unwrap();
    let built = Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", directory.display()))
        .arg(&path)
        .output()
        .expect("this test needs rpmbuild");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let file = directory.join(format!("RPMS/noarch/{name}-2-3.noarch.rpm"));
    let bytes = fs::read(&file).unwrap();
    let package = ResolvedPackage {
        name: name.into(),
        version: "1:2-3".into(),
        architecture: "noarch".into(),
        repository: "own".into(),
        path: format!("{name}.rpm"),
        size_bytes: bytes.len() as u64,
        installed_size_bytes: 0,
        checksum: oic::package::Sha256::of(&bytes).into(),
        stanza: String::new(),
    };
    (package, file)
}

#[test]
fn scriptlets_and_refusals_are_told_with_their_package() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let base = make_base(
        directory.path(),
        &rpm_fixture::packages("azl3", &["core-packages-container"]),
    );
    let make = |name: &str, head: &str, script: &str| make_package(directory.path(), name, head, script);

    let seen = make(
        "oic-look",
        "",
        "%post\n{ echo $SOURCE_DATE_EPOCH $KERNEL_INSTALL_BYPASS; cut -d: -f1 -s /proc/net/dev | tr -d ' '; umask; } > /root/seen",
    );
    let good = make("oic-good", "", "%post\necho fine");
    let bad = make(
        "oic-bad",
        "Requires: oic-good",
        "%post\necho cannot open the database >&2; exit 3",
    );
    let image = Image::over(&base);
    let report = install_packages(&image, &[seen, good, bad]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.packages, 3);
    let [warning] = &report.warnings[..] else {
        panic!("{report:?}")
    };
    assert!(
        warning.contains("oic-bad-1:2-3.noarch")
            && warning.contains("cannot open the database")
            && warning.contains("exit status 3"),
        "{warning}"
    );
    let seen = fs::read_to_string(image.root().join("root/seen")).unwrap();
    assert_eq!(seen, format!("{} 1\nlo\n0022\n", EPOCH));

    let image = Image::over(&base);
    let early = make("oic-early", "", "%pre\necho no room; exit 4");
    let error = install_packages(&image, &[early]).unwrap_err();
    let InstallError::Script(failure) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(failure.package, "oic-early-1:2-3.noarch");
    assert!(error.to_string().contains("no room"), "{error}");

    let lonely = make("oic-lonely", "Requires: oic-absent", "");
    let message = install_packages(&image, &[lonely]).unwrap_err().to_string();
    assert!(message.contains("oic-absent is needed by oic-lonely"), "{message}");

    let damaged = make("oic-damaged", "", "");
    let mut bytes = fs::read(&damaged.1).unwrap();
    let end = bytes.len() - 8;
    bytes[end] ^= 1;
    fs::write(&damaged.1, bytes).unwrap();
    assert!(
        install_packages(&image, &[damaged]).is_err(),
        "rpm still looks at digests"
    );

    fs::remove_file(image.root().join("usr/bin/rpm")).unwrap();
    let good = make("oic-good", "", "");
    let error = install_packages(&image, &[good]).unwrap_err();
    assert!(error.hint().unwrap().contains("add rpm"), "{error}");
}
