//! The template's files win over everything that oic cleans or writes.

use std::path::Path;

use super::*;
use crate::base;
use crate::cancel::Cancel;
use crate::model::*;
use crate::package::{Arch, Sha256};

/// Places of the template's files, each of which oic cleans or writes itself.
const PLACES: [&str; 24] = [
    "/tmp/payload",
    "/tmp/deep/er/payload",
    "/var/tmp/payload",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/fstab",
    "/etc/resolv.conf",
    "/etc/machine-id",
    "/etc/image-id",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
    "/etc/systemd/system/ssh-host-keys.service",
    "/etc/systemd/network/99-default.network",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/iscsi/initiatorname.iscsi",
    "/var/lib/apt/lists/keep",
    "/var/lib/apt/lists/auxfiles/keep",
    "/var/cache/apt/archives/keep",
    "/var/log/journal/README",
    "/var/log/apt/README",
    "/var/lib/dpkg/status-old",
    "/var/lib/dbus/machine-id",
];

fn template(files: Vec<AdditionalFile>) -> Template {
    Template {
        image: ImageInfo {
            name: "edge".into(),
            version: "1".into(),
        },
        target: Target {
            os: "debian".into(),
            dist: "debian13".into(),
            arch: Arch::X86_64,
            image_type: ImageType::Raw,
        },
        container: Container::default(),
        disk: Disk::default(),
        system: SystemConfig {
            name: "edge".into(),
            hostname: Some("edge-node".into()),
            additional_files: files,
            allow_secrets: vec!["/etc/ssl/private/allowed.key".into(), "/etc/nvme/hostnqn".into()],
            ..SystemConfig::default()
        },
        repositories: Vec::new(),
        stated: Vec::new(),
    }
}

fn settings(root: &Path, template: &Template) {
    let cancel = Cancel::default();
    let source = AptSource {
        own: true,
        ..AptSource::default()
    };
    let request = ConfigureRequest {
        root,
        env: &[],
        policy: None,
        initrd: None,
        template,
        fstab: &[],
        sources: &vec![source],
        epoch: 0,
        seed: Sha256::of("seed"),
        network: None,
        package_cache: Path::new(""),
        helper: Path::new(""),
    };
    configure(&request, Part::Settings, Work::quiet(&cancel)).unwrap_or_else(|error| panic!("{error}"));
}

/// A root with the programs whose presence makes oic write or clean something.
fn image() -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    for program in [
        "/usr/lib/systemd/systemd",
        "/usr/lib/systemd/systemd-resolved",
        "/usr/sbin/sshd",
        "/usr/bin/ssh-keygen",
    ] {
        root.write(program, "", 0o755).unwrap();
    }
    (directory, root)
}

#[test]
fn the_templates_files_win_over_what_oic_cleans_and_writes() {
    let places = PLACES.iter().map(ToString::to_string);
    let of_finish = finish::MACHINE_FILES.iter().map(ToString::to_string);
    let of_base = base::CLEANED_FILES.iter().map(ToString::to_string);
    let inside = finish::CLEARED.iter().chain(&base::CLEARED);
    let inside = inside.map(|directory| format!("{directory}/any/file"));
    let mut places: Vec<String> = places.chain(of_finish).chain(of_base).chain(inside).collect();
    places.sort();
    places.dedup();
    let file = |place: &String| AdditionalFile {
        source: FileSource::Embedded(b"the user's"),
        destination: place.clone(),
        owner: None,
        mode: None,
    };
    let (_directory, root) = image();
    settings(root.path(), &template(places.iter().map(file).collect()));
    for place in &places {
        let content = root.read(place).unwrap();
        assert_eq!(content.as_deref(), Some(b"the user's".as_slice()), "{place}");
    }
}

#[test]
fn without_them_the_same_places_are_cleaned() {
    let (_directory, root) = image();
    let cleaned = [
        "/tmp/payload",
        "/var/tmp/payload",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssl/private/ssl-cert-snakeoil.key",
        "/root/.bash_history",
        "/var/log/journal/README",
        "/var/lib/apt/lists/keep",
    ];
    let kept = ["/etc/ssl/private/allowed.key", "/etc/nvme/hostnqn"];
    for place in cleaned.into_iter().chain(kept) {
        root.write(place, "drawn", 0o644).unwrap();
    }
    settings(root.path(), &template(Vec::new()));
    for place in cleaned {
        assert!(!root.exists(place).unwrap(), "{place}");
    }
    for place in kept {
        assert!(root.exists(place).unwrap(), "{place}");
    }
    assert!(root.exists("/etc/systemd/system/ssh-host-keys.service").unwrap());
    assert_eq!(root.read("/etc/machine-id").unwrap().unwrap(), b"");
}

#[test]
fn commands_of_the_first_boot_become_units() {
    let (_directory, root) = image();
    let mut template = template(Vec::new());
    let on_boot = |text: &str, network: bool| Configuration {
        network,
        when: Some(When::FirstBoot),
        env: vec![("A".into(), "b".into())],
        ..Configuration::from(text)
    };
    template.system.commands = vec![on_boot("one\ntwo", false), on_boot("three", true)];
    settings(root.path(), &template);
    let read = |path: &str| String::from_utf8(root.read(path).unwrap().unwrap()).unwrap();
    assert_eq!(read("/var/lib/oic/first-boot/1"), "export A='b'\none\ntwo\n");
    assert_eq!(root.mode("/var/lib/oic/first-boot").unwrap().unwrap() & 0o7777, 0o700);
    assert!(
        read("/etc/systemd/system/first-boot-1.service").contains("ExecStart=/bin/bash /var/lib/oic/first-boot/1\n")
    );
    assert!(read("/etc/systemd/system/first-boot-2.service").contains("network-online.target first-boot-1.service\n"));
    let link = root.read_link("/etc/systemd/system/multi-user.target.wants/first-boot-2.service");
    assert_eq!(link.unwrap().unwrap(), Path::new("../first-boot-2.service"));
}
