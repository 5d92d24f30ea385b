//! Packages are installed by the target's own apt, from a pool, in one transaction.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{debian, image};
use std::fs;
use std::path::{Path, PathBuf};

use image::{Image, install_packages as run, pool};
use oic::install::InstallError;
use oic::package::ResolvedPackage;

const SYSTEM: [&str; 9] = [
    "systemd-sysv",
    "udev",
    "dbus",
    "systemd-resolved",
    "openssh-server",
    "sudo",
    "initramfs-tools",
    "linux-image-cloud-amd64",
    "zstd",
];

#[test]
fn a_whole_system() {
    let (base, _) = debian::oracle();
    let image = Image::over(&base);
    let (pool, packages) = pool(debian::download(&base, &SYSTEM));
    let report = run(&image, &pool, &packages, &SYSTEM).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.packages, packages.len() as u64);

    assert_no_residue(&image);
    let chroot = |arguments: &[&str]| {
        debian::run(
            std::process::Command::new("chroot").arg(image.root()).args(arguments),
            "coreutils",
        )
    };
    assert_eq!(chroot(&["dpkg", "--audit"]), "");
    let mut manual: Vec<_> = chroot(&["apt-mark", "showmanual"]).lines().map(str::to_owned).collect();
    manual.retain(|name| packages.iter().any(|package| package.name == *name));
    let mut expected = SYSTEM.map(str::to_owned);
    expected.sort();
    assert_eq!(manual, expected);
    for package in &packages {
        let version = chroot(&[
            "dpkg-query",
            "--show",
            "--showformat=${Version} ${db:Status-Status}",
            &package.name,
        ]);
        assert_eq!(version, format!("{} installed", package.version));
    }
    assert!(chroot(&["lsinitramfs", &initrd(&image.root())]).contains("usr/bin/udevadm"));
}

/// The initrd that each kernel must have.
fn initrd(root: &Path) -> String {
    let names: Vec<_> = fs::read_dir(root.join("boot"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let initrds: Vec<_> = names.iter().filter(|name| name.starts_with("initrd.img-")).collect();
    assert_eq!(initrds.len(), 1, "{names:?}");
    format!("/boot/{}", initrds[0])
}

/// Nothing of the sandbox or of apt's private state may be in the image.
fn assert_no_residue(image: &Image) {
    let upper = image.upper();
    for path in [
        "cdrom",
        "run",
        "tmp",
        "proc",
        "sys",
        "dev",
        "usr/sbin/policy-rc.d",
        "var/cache/apt",
        "var/lib/apt/lists",
        "var/log/apt",
        "var/lib/dpkg/updates",
    ] {
        let empty = match fs::read_dir(upper.join(path)) {
            Ok(mut entries) => entries.next().is_none(),
            Err(_) => fs::symlink_metadata(upper.join(path)).is_err(),
        };
        assert!(empty, "{path} stayed in the image");
    }
}

/// Builds a package whose post-installation script is `script`.
fn make_package(directory: &Path, name: &str, depends: &str, script: &str) -> (ResolvedPackage, PathBuf) {
    make_version(directory, (name, "1:2"), depends, script)
}

/// Builds a package of a name and version.
fn make_version(
    directory: &Path,
    (name, version): (&str, &str),
    depends: &str,
    script: &str,
) -> (ResolvedPackage, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = directory.join(name);
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDepends: {depends}\nDescription: test\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::write(tree.join("DEBIAN/postinst"), format!("#!/bin/sh\nset -e\n{script}\n")).unwrap();
    fs::set_permissions(tree.join("DEBIAN/postinst"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(tree.join("DEBIAN"), fs::Permissions::from_mode(0o755)).unwrap();
    let pool = directory.join("pool");
    fs::create_dir_all(&pool).unwrap();
    let file = pool.join(format!("{name}.deb"));
    debian::run(
        std::process::Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Znone", "--build"])
            .arg(tree)
            .arg(&file),
        "dpkg",
    );
    let (package, _) = debian::package(
        &debian::run(std::process::Command::new("dpkg-deb").arg("--field").arg(&file), "dpkg"),
        &file,
    );
    (package, file)
}

#[test]
fn a_failing_script_is_named_with_its_output() {
    let (base, _) = debian::oracle();
    let image = Image::over(&base);
    let directory = tempfile::tempdir().unwrap();
    let good = make_package(directory.path(), "oic-good", "libc6", "echo fine; echo also >&2");
    let bad = make_package(
        directory.path(),
        "oic-bad",
        "oic-good",
        "echo cannot open the database >&2; exit 3",
    );
    let (pool, packages) = pool(vec![good, bad]);
    let error = run(&image, &pool, &packages, &["oic-bad"]).unwrap_err();
    let InstallError::Script(failure) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(failure.package, "oic-bad");
    let message = error.to_string();
    assert!(
        message.contains("cannot open the database") && message.contains("exit status 3"),
        "{message}"
    );
    assert!(!message.contains("fine"), "{message}");
}

/// The resolution decides on versions: by a pin, an older one than the base has.
#[test]
fn an_older_version_replaces_a_newer_one() {
    let (base, _) = debian::oracle();
    let image = Image::over(&base);
    for version in ["1:2", "0.9"] {
        let directory = tempfile::tempdir().unwrap();
        let (pool, packages) = pool(vec![make_version(directory.path(), ("oic-old", version), "libc6", "")]);
        run(&image, &pool, &packages, &["oic-old"]).unwrap();
        let status = fs::read_to_string(image.root().join("var/lib/dpkg/status")).unwrap();
        let stanza = status
            .split("\n\n")
            .find(|stanza| stanza.starts_with("Package: oic-old\n"))
            .unwrap();
        assert!(stanza.contains(&format!("\nVersion: {version}\n")), "{stanza}");
    }
}

#[test]
fn scripts_run_without_services_network_and_questions() {
    let (base, of_base) = debian::oracle();
    let image = Image::over(&base);
    let directory = tempfile::tempdir().unwrap();
    let script = "{ echo $DEBIAN_FRONTEND $SOURCE_DATE_EPOCH; /usr/sbin/policy-rc.d x start || echo $?
        cut -d: -f1 -s /proc/net/dev | tr -d ' '; umask; test ! -e /proc/self/fd/3 || echo leak
        uname -r; cat /etc/machine-id; grep -c . /proc/swaps; } > /root/seen";
    let mut packages = vec![
        make_package(directory.path(), "oic-needed", "libc6", ""),
        make_package(directory.path(), "oic-look", "oic-needed", script),
    ];
    // A resolution also lists what the base has already.
    let hostname = of_base
        .into_iter()
        .find(|(package, _)| package.name == "hostname")
        .unwrap();
    fs::copy(
        &hostname.1,
        directory.path().join("pool").join(hostname.1.file_name().unwrap()),
    )
    .unwrap();
    packages.push(hostname);
    let (pool, packages) = pool(packages);
    let report = run(&image, &pool, &packages, &["oic-look"]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.packages, 2);
    let states = fs::read_to_string(image.root().join("var/lib/apt/extended_states")).unwrap();
    assert_eq!(
        states,
        "Package: oic-needed\nArchitecture: amd64\nAuto-Installed: 1\n\n"
    );
    let seen = fs::read_to_string(image.root().join("root/seen")).unwrap();
    let expected = format!(
        "noninteractive {}\n101\nlo\n0022\n6.12.0\n6f69632d6275696c642d6d616368696e\n1\n",
        debian::EPOCH
    );
    assert_eq!(seen, expected);
    assert_no_residue(&image);
}

#[test]
fn what_apt_refuses_is_told_in_its_words() {
    let (base, _) = debian::oracle();
    let image = Image::over(&base);
    let directory = tempfile::tempdir().unwrap();
    let (pool, mut packages) = pool(vec![make_package(directory.path(), "oic-lonely", "oic-absent", "")]);
    let message = run(&image, &pool, &packages, &[]).unwrap_err().to_string();
    assert!(message.contains("held broken packages"), "{message}");
    packages[0].version = "9".into();
    let message = run(&image, &pool, &packages, &[]).unwrap_err().to_string();
    assert!(
        message.contains("Version '9' for 'oic-lonely' was not found"),
        "{message}"
    );
    fs::remove_file(image.root().join("usr/bin/apt-get")).unwrap();
    assert!(matches!(
        run(&image, &pool, &packages, &[]),
        Err(InstallError::NoProgram { .. })
    ));
}
