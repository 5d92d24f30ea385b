//! Fields of a template that change the image, on Debian 12: what is asked for is in the image.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::{Oic, Shown};
use oic_testkit::Steps;

const PASSWORD: &str = "secret word";

/// A directory with one package, as a user has it.
fn local_packages(directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control =
        "Package: oic-local\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: a\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::create_dir_all(tree.join("usr/share/oic-local")).unwrap();
    fs::write(tree.join("usr/share/oic-local/file"), "local\n").unwrap();
    // What other people's packages do: draw a key, and talk to a service manager.
    let script = "#!/bin/sh\nset -e\nmkdir -p /etc/oic-local\n\
        printf -- '-----BEGIN PRIVATE KEY-----\\nMIIB\\n' > /etc/oic-local/key.pem\n\
        systemctl daemon-reload\nsystemctl enable --now fstrim.timer\n";
    fs::write(tree.join("DEBIAN/postinst"), script).unwrap();
    fs::set_permissions(tree.join("DEBIAN/postinst"), fs::Permissions::from_mode(0o755)).unwrap();
    let packages = directory.join("packages");
    fs::create_dir_all(packages.join("below")).unwrap();
    let built = Command::new("dpkg-deb")
        .args(["--build", "--root-owner-group"])
        .args([tree, packages.join("below")])
        .output();
    assert!(built.unwrap().status.success());
    packages
}

/// crypt(3), through perl.
fn crypt(text: &str, hash: &str) -> String {
    let output = Command::new("perl")
        .args(["-e", "print crypt($ARGV[0], $ARGV[1])", text, hash])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn what_a_template_asks_for_is_in_the_image() {
    let oic = Oic::new("fields");
    let hints = oic::repo::sources::debian_mirrors(Path::new("/etc/apt"));
    let mirror = hints
        .debian
        .expect("apt sources of this host that name a Debian mirror");
    let keyring = "/usr/share/keyrings/debian-archive-bookworm-automatic.gpg";
    let packages = local_packages(&oic.work_dir);
    let hook = oic.work_dir.join("hook");
    fs::write(
        &hook,
        "#!/bin/sh\n[ \"$1\" = prereqs ] || echo mine > \"$DESTDIR/etc/mine\"\n",
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let template = format!(
        r##"
image: {{name: fields, version: "1.0"}}
target: {{os: debian, dist: debian12, arch: x86_64, imageType: raw}}
packageRepositories:
  - codename: bookworm-backports
    url: {mirror}
    pkey: file://{keyring}#B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8
    priority: 100
  - codename: mine
    path: {}
    pkey: "[trusted=yes]"
disk:
  name: d
  size: 3GiB
  partitions:
    - {{id: boot, type: esp, start: 1MiB, end: 201MiB, fsType: fat32, fsLabel: START, mountPoint: /boot/efi}}
    - {{id: swap, flags: [swap, no_auto], start: 201MiB, end: 265MiB, fsType: linux-swap, fsLabel: spare}}
    - {{id: data, typeUUID: 3b8f8425-20e0-4f3b-907f-1a25a76f98e8, start: 265MiB, end: 300MiB, fsType: ext4,
       fsLabel: data, mountPoint: /srv/data, mountOptions: "noatime,nodev"}}
    - {{id: root, type: linux-root-amd64, start: 300MiB, end: "0", fsType: ext4, mountPoint: /}}
systemConfig:
  name: fields
  hostname: "${{who}}-host"
  packages: [oic-local, sudo, "iputils-*g", tzdata, locales, console-setup, -systemd-timesyncd]
  debconf:
    - {{package: locales, question: locales/locales_to_be_generated, type: multiselect, value: en_GB.UTF-8 UTF-8}}
    - {{package: dash, question: dash/sh, type: boolean, value: "true"}}
  services: {{enable: [getty@tty2], disable: [apt-daily.timer], mask: [apt-daily-upgrade.timer]}}
  timezone: Europe/Berlin
  locale: de_DE.UTF-8
  keymap: sg
  sysctl: {{vm.swappiness: 10, net.ipv4.ip_local_port_range: "1024 65000"}}
  kernelModules: [br_netfilter]
  users:
    - {{name: bea, password: "{PASSWORD}", hash_algo: bcrypt, passwordMaxAge: 90, home: /srv/bea, shell: /bin/sh,
       sudo: true, groups: [video, lab]}}
    - {{name: yes, password: "{PASSWORD}", hash_algo: yescrypt, startupScript: /usr/bin/id}}
  network:
    interfaces:
      - {{name: enp9s0, addresses: [192.0.2.7/24], routes: [{{to: default, via: 192.0.2.1}}], nameservers: [192.0.2.53]}}
  additionalFiles:
    - {{local: hook, final: /etc/initramfs-tools/hooks/mine}}
  configurations:
    - cmd: 'echo "${{HOME}} ${{who}}" > /etc/cmd-ran'
  kernel:
    version: "6.1"
    enableExtraModules: "uas no-such-module"
"##,
        packages.display()
    );
    let path = oic.work_dir.join("fields.yml");
    fs::write(&path, template).unwrap();
    // Not from the mirror that the tests share: an image gets no source on the build host.
    let args = [
        "build",
        path.to_str().unwrap(),
        "--var",
        "who=test",
        "--mirror",
        &mirror,
    ];
    let report = oic.run(&[&args[..], &["--format", "json"]].concat()).json();
    oic.assert_clean();
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("has no module no-such-module") && !warnings.contains("module uas"),
        "{warnings}"
    );
    assert!(
        warnings.contains("/etc/oic-local/key.pem (package oic-local) is a private key"),
        "{warnings}"
    );

    let build = oic.work_dir.join("debian-debian12-x86_64/imagebuild/fields");
    let shown = Shown::image(&oic, "debian-debian12-x86_64", "fields");
    let tree = shown.root();
    let read = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    let mut steps = Steps::new();
    steps.check("variables", || {
        assert_eq!(read("etc/hostname"), "test-host\n");
        assert!(read("etc/cmd-ran").ends_with(" test\n"));
    });
    steps.check("network", || {
        let expected = "[Match]\nName=enp9s0\n\n[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\nDNS=192.0.2.53\n";
        assert_eq!(read("etc/systemd/network/10-enp9s0.network"), expected);
        assert!(
            !tree.join("etc/systemd/network/99-default.network").exists(),
            "the default beside it"
        );
        let enabled = tree.join("etc/systemd/system/multi-user.target.wants/systemd-networkd.service");
        assert!(enabled.symlink_metadata().is_ok());
    });
    steps.check("packages", || {
        assert!(
            tree.join("etc/systemd/system/timers.target.wants/fstrim.timer")
                .symlink_metadata()
                .is_ok()
        );
        assert_eq!(read("usr/share/oic-local/file"), "local\n");
        assert!(tree.join("usr/bin/ping").exists(), "iputils-ping, by its pattern");
        assert!(
            !tree.join("usr/lib/systemd/systemd-timesyncd").exists(),
            "it is left out"
        );
    });
    steps.check("machine", || machine(tree, &read));
    steps.check("users", || users(&read));
    steps.check("apt", || apt(tree, &read));
    steps.check("disk", || disk(&read("etc/fstab"), &build.join("fields-12.raw")));
    steps.check("initrd", || initrd(&tree.join("boot")));
}

/// Services, time zone, language, keyboard, and what the kernel gets.
fn machine(tree: &Path, read: &dyn Fn(&str) -> String) {
    let link = |path: &str| fs::read_link(tree.join(path)).ok();
    for (unit, state) in [
        ("getty@tty2.service", "enabled"),
        ("apt-daily.timer", "disabled"),
        ("apt-daily-upgrade.timer", "masked"),
    ] {
        let mut systemctl = Command::new("systemctl");
        let said = systemctl
            .arg("--root")
            .arg(tree)
            .args(["is-enabled", unit])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), state, "{unit}");
    }
    let zone = link("etc/localtime");
    assert_eq!(zone.as_deref(), Some(Path::new("../usr/share/zoneinfo/Europe/Berlin")));
    assert!(read("etc/timezone") == "Europe/Berlin\n" && tree.join("usr/share/zoneinfo/Europe/Berlin").exists());
    assert_eq!(read("etc/default/locale"), "LANG=de_DE.UTF-8\n");
    let archive = Command::new("localedef")
        .arg("--list-archive")
        .arg(tree.join("usr/lib/locale/locale-archive"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&archive.stdout),
        "de_DE.utf8\nen_GB.utf8\n",
        "by locale and debconf"
    );
    let keyboard = read("etc/default/keyboard");
    assert!(
        keyboard.contains("XKBLAYOUT=\"ch\"\nXKBVARIANT=\"de_nodeadkeys\"\n"),
        "{keyboard}"
    );
    let sysctl = read("etc/sysctl.d/90-template.conf");
    assert_eq!(
        sysctl,
        "vm.swappiness = 10\nnet.ipv4.ip_local_port_range = 1024 65000\n"
    );
    assert_eq!(read("etc/modules-load.d/template.conf"), "br_netfilter\n");
}

fn users(read: &dyn Fn(&str) -> String) {
    let passwd = read("etc/passwd");
    assert!(
        passwd.contains(":/srv/bea:/bin/sh\n") && passwd.contains(":/home/yes:/usr/bin/id\n"),
        "{passwd}"
    );
    let groups = read("etc/group");
    let has = |group: &str| {
        groups
            .lines()
            .any(|line| line.starts_with(group) && line.ends_with(":bea"))
    };
    assert!(has("sudo:") && has("video:") && has("lab:"), "{groups}");
    let shadow = read("etc/shadow");
    for (user, start) in [("bea", "$2b$"), ("yes", "$y$")] {
        let fields: Vec<_> = shadow
            .lines()
            .find(|l| l.starts_with(user))
            .unwrap()
            .split(':')
            .collect();
        assert!(fields[1].starts_with(start), "{shadow}");
        assert_eq!(crypt(PASSWORD, fields[1]), fields[1]);
        assert_eq!(fields[4] == "90", user == "bea", "{shadow}");
    }
}

/// apt itself reads what was written.
fn apt(root: &Path, read: &dyn Fn(&str) -> String) {
    let sources = read("etc/apt/sources.list.d/package-repositories.sources");
    assert!(sources.contains("Suites: bookworm-backports\n"), "{sources}");
    assert!(
        sources.contains("Signed-By: /etc/apt/keyrings/bookworm-backports.gpg\n"),
        "{sources}"
    );
    assert!(
        !sources.contains("packages"),
        "a directory of the build host: {sources}"
    );
    assert!(read("etc/apt/sources.list.d/debian.sources").contains("bookworm-updates"));
    let etc = root.join("etc/apt");
    let mut show = Command::new("gpg");
    show.args(["--show-keys", "--with-colons"]);
    let keys = show.arg(etc.join("keyrings/bookworm-backports.gpg")).output().unwrap();
    assert!(String::from_utf8_lossy(&keys.stdout).contains("B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8"));
    let policy = Command::new("apt-cache")
        .arg("policy")
        .arg(format!("-oDir::Etc={}", etc.display()))
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&policy.stderr).into_owned();
    assert!(policy.status.success() && complaints.is_empty(), "{complaints}");
    let preferences = read("etc/apt/preferences.d/bookworm-backports");
    assert!(
        preferences.ends_with("Pin: release n=bookworm-backports\nPin-Priority: 100\n"),
        "{preferences}"
    );
}

fn disk(fstab: &str, image: &Path) {
    let entries: Vec<Vec<&str>> = fstab
        .lines()
        .filter(|line| line.starts_with("PARTUUID="))
        .map(|line| line.split_whitespace().skip(1).collect())
        .collect();
    assert!(entries.contains(&vec!["none", "swap", "defaults", "0", "0"]), "{fstab}");
    assert!(
        entries.contains(&vec!["/srv/data", "ext4", "noatime,nodev", "0", "2"]),
        "{fstab}"
    );
    let info = |number: &str| {
        let output = Command::new("sgdisk").args(["-i", number]).arg(image).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let swap = info("2");
    assert!(
        swap.contains("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"),
        "the type that the flag means: {swap}"
    );
    assert!(swap.contains("Attribute flags: 8000000000000000"), "{swap}");
    assert!(info("3").contains("3B8F8425-20E0-4F3B-907F-1A25A76F98E8"));
    let label = |offset_mib: u64| {
        let output = Command::new("blkid")
            .args(["-p", "-s", "LABEL", "-o", "value", "-O"])
            .arg((offset_mib << 20).to_string())
            .arg(image)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!([label(1), label(201), label(265)], ["START", "spare", "data"]);
}

/// The module is in the initrd, and in the list of what it loads.
fn initrd(boot: &Path) {
    let mut names = fs::read_dir(boot)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.starts_with("initrd.img-")).unwrap();
    assert!(name.starts_with("initrd.img-6.1."), "kernel.version: {name}");
    let bytes = fs::read(boot.join(name)).unwrap();
    let contents = zstd::decode_all(bytes.as_slice()).unwrap();
    let has = |text: &str| contents.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("kernel/drivers/usb/storage/uas.ko"));
    assert!(has("etc/mine"), "a hook that came after the initrd was made first");
    assert!(
        has("sbin/fsck.ext4") && has("sbin/logsave"),
        "the check of the root file system"
    );
    assert!(has("\nuas \n") || has("\nuas\n") || has("\0uas"));
}
