//! Fields of a template that change the image, on Debian 12: what is asked for is in the image.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::program::{Oic, Shown};
use oic_testkit::Steps;
use oic_testkit::qemu::Machine;

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// What the template gives all machines of the image.
const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "secret word";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICt8i8Bfh5tUmfFEDF+oIHGCEzXvPiZRzcmdq4ebgT4R bea@example.org";

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
        "#!/bin/sh\n[ \"$1\" = prereqs ] || cp /usr/share/early \"$DESTDIR/etc/mine\"\n",
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let digest = oic::package::Sha256::of(fs::read(&hook).unwrap());
    let script = oic.work_dir.join("script");
    fs::write(&script, "#!/bin/sh\necho ${who} $${x}\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
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
  machineId: {MACHINE_ID}
  packages: [openssh-server, oic-local, sudo, "iputils-*g", tzdata, locales, console-setup, -systemd-timesyncd]
  groups:
    - {{name: lab, gid: 1500}}
    - {{name: web, gid: 802, system: true}}
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
       sudo: true, groups: [video, lab], uid: 1300, expire: 2030-06-30, sshKeys: ["{KEY}"]}}
    - {{name: ann, password: "{PASSWORD}", sudo: true}}
    - {{name: web, system: true, uid: 801}}
    - {{name: gone, password: "{PASSWORD}", locked: true}}
    - {{name: yes, password: "{PASSWORD}", hash_algo: yescrypt, startupScript: /usr/bin/id}}
  network:
    interfaces:
      - {{name: enp9s0, addresses: [192.0.2.7/24], routes: [{{to: default, via: 192.0.2.1}}], nameservers: [192.0.2.53]}}
  additionalFiles:
    - {{local: hook, final: /etc/initramfs-tools/hooks/mine}}
    - {{content: "plain ${{HOME}}\n", final: /etc/plain}}
    - {{content: "who ${{who}}\n", template: true, final: /etc/filled, owner: "bea:lab", mode: "0640"}}
    - {{local: script, template: true, final: /usr/local/bin/filled}}
    - {{url: "file://{}", sha256: {digest}, final: /usr/share/fetched}}
    - {{directory: true, final: /srv/empty, owner: web, mode: "0750"}}
  configurations:
    - cmd: |
        echo "${{HOME}} $GREETING" > /etc/cmd-ran
        echo "${{HOME}} ${{who}}" >> /etc/cmd-ran
      env: {{GREETING: "hello ${{who}}"}}
    - {{cmd: "cat /proc/net/dev > /etc/net-dev", network: true}}
    - {{cmd: "sha256sum /boot/initrd.img-* > /etc/initrd-sum", when: last}}
    - {{cmd: "echo early > /usr/share/early", when: beforeInitrd}}
    - {{cmd: "touch /first-boot-ran; echo the first boot is here > /dev/console", when: firstBoot}}
  kernel:
    version: "6.1"
    enableExtraModules: "uas no-such-module"
    cmdline: console=ttyS0
    uki: false
"##,
        packages.display(),
        hook.display()
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
    steps.check("commands", || commands(tree, &read));
    steps.check("files", || files(tree, &fs::read(&hook).unwrap()));
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
    steps.check("keys", || keys(&tree.join("srv/bea/.ssh")));
    steps.check("apt", || apt(tree, &read));
    steps.check("disk", || disk(&read("etc/fstab"), &build.join("fields-12.raw")));
    steps.check("initrd", || initrd(&tree.join("boot")));
    steps.check("secrets", || secrets(tree, &read));
    steps.check("boot", || boot(tree, &build.join("fields-12.raw")));
}

/// Each has its content, owner and mode.
fn files(tree: &Path, fetched: &[u8]) {
    for (path, content, owner, mode) in [
        ("etc/plain", &b"plain ${HOME}\n"[..], (0, 0), 0o644),
        ("etc/filled", b"who test\n", (1300, 1500), 0o640),
        ("usr/local/bin/filled", b"#!/bin/sh\necho test ${x}\n", (0, 0), 0o755),
        ("usr/share/fetched", fetched, (0, 0), 0o644),
        ("srv/empty", b"", (801, 802), 0o750),
    ] {
        let metadata = fs::metadata(tree.join(path)).unwrap();
        let found = ((metadata.uid(), metadata.gid()), metadata.permissions().mode() & 0o7777);
        assert_eq!(found, (owner, mode), "{path}");
        match metadata.is_dir() {
            true => assert_eq!(fs::read_dir(tree.join(path)).unwrap().count(), 0, "{path}"),
            false => assert_eq!(fs::read(tree.join(path)).unwrap(), content, "{path}"),
        }
    }
}

/// Each ran at its time, with what it asked for.
fn commands(tree: &Path, read: &dyn Fn(&str) -> String) {
    assert!(read("etc/cmd-ran").contains(" hello test\n"));
    assert!(read("etc/net-dev").lines().count() > 3, "loopback alone");
    let output = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let sum = read("etc/initrd-sum");
    let (sum, path) = sum.trim_end().split_once("  ").unwrap();
    let now = output(Command::new("sha256sum").arg(tree.join(&path[1..])));
    assert!(now.starts_with(sum), "the initrd was made after the last command");
    assert!(!tree.join("first-boot-ran").exists());
    assert_eq!(
        read("var/lib/oic/first-boot/1"),
        "touch /first-boot-ran; echo the first boot is here > /dev/console\n"
    );
    let mut enabled = Command::new("chroot");
    enabled.arg(tree).arg("systemctl");
    assert_eq!(
        output(enabled.args(["is-enabled", "first-boot-1.service"])),
        "enabled\n"
    );
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
            .filter_map(|line| line.strip_prefix(group)?.rsplit(':').next())
            .any(|members| members.split(',').any(|member| member == "bea"))
    };
    assert!(has("sudo:") && has("video:") && has("lab:x:1500:"), "{groups}");
    assert!(passwd.contains("bea:x:1300:"), "{passwd}");
    assert!(passwd.contains("web:x:801:802::/:/usr/sbin/nologin\n"), "{passwd}");
    let shadow = read("etc/shadow");
    let fields_of = |user: &str| -> Vec<&str> {
        let line = shadow.lines().find(|line| line.starts_with(&format!("{user}:")));
        line.unwrap().split(':').collect()
    };
    let gone = fields_of("gone");
    assert!(gone[1].starts_with("!$6$") && gone[7] == "1", "{gone:?}");
    let date = Command::new("date").args(["-u", "-d", "2030-06-30", "+%s"]).output();
    let seconds: u64 = String::from_utf8(date.unwrap().stdout).unwrap().trim().parse().unwrap();
    assert_eq!(fields_of("bea")[7], (seconds / 86_400).to_string());
    for (user, start) in [("bea", "$2b$"), ("yes", "$y$")] {
        let fields = fields_of(user);
        assert!(fields[1].starts_with(start), "{shadow}");
        assert_eq!(crypt(PASSWORD, fields[1]), fields[1]);
        assert_eq!(fields[4] == "90", user == "bea", "{shadow}");
    }
}

/// The keys are in a file that sshd accepts for its owner alone.
fn keys(directory: &Path) {
    let file = directory.join("authorized_keys");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{KEY}\n"));
    for (path, mode) in [(directory, 0o700), (&file, 0o600)] {
        let metadata = fs::metadata(path).unwrap();
        let found = (metadata.uid(), metadata.permissions().mode() & 0o7777);
        assert_eq!(found, (1300, mode), "{}", path.display());
    }
    let shown = Command::new("ssh-keygen").arg("-lf").arg(&file).output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
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

/// mtools reads the entry of the Boot Loader Specification; firmware and loader start the kernel that it names.
fn boot(tree: &Path, image: &Path) {
    let esp = format!("{}@@1M", image.display());
    let read = |path: &str| {
        let output = Command::new("mcopy")
            .args(["-n", "-i", &esp, path, "-"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{path}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let names = fs::read_dir(tree.join("boot")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let version = names
        .find_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned()))
        .unwrap();
    let table = Command::new("sgdisk").args(["-i", "4"]).arg(image).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let uuid = table
        .lines()
        .find_map(|line| line.strip_prefix("Partition unique GUID: "));
    let options = format!("root=PARTUUID={} console=ttyS0", uuid.unwrap().to_lowercase());
    let entry = String::from_utf8(read(&format!("::loader/entries/debian-{version}.conf"))).unwrap();
    let directory = format!("debian/{version}");
    let fields: Vec<_> = entry
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .collect();
    let expected = [
        ("title", "Debian GNU/Linux 12 (bookworm)".to_owned()),
        ("version", version.clone()),
        ("sort-key", "debian".to_owned()),
        ("options", options.clone()),
        ("linux", format!("/{directory}/linux")),
        ("initrd", format!("/{directory}/initrd")),
    ];
    let found: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.trim().to_owned()))
        .collect();
    assert_eq!(found, expected, "{entry}");
    for (there, here) in [("vmlinuz", "linux"), ("initrd.img", "initrd")] {
        let file = fs::read(tree.join(format!("boot/{there}-{version}"))).unwrap();
        assert!(read(&format!("::{directory}/{here}")) == file, "{there}");
    }
    assert_eq!(read("::loader/entries.srel"), b"type1\n");
    let unified = Command::new("mdir")
        .args(["-b", "-i", &esp, "::EFI/Linux"])
        .output()
        .unwrap();
    assert!(!unified.status.success(), "a unified kernel image beside the entry");
    let mut machine = Machine::boot(image);
    for text in [
        "Linux version 6.1.",
        &options,
        "Run /init as init process",
        "the first boot is here",
    ] {
        machine.wait_for(text, BOOT_LIMIT);
    }
    // The prompt may have come before that.
    machine.type_line("");
    machine.log_in("ann", PASSWORD, BOOT_LIMIT);
    running(&mut machine);
}

/// What the template asks for holds in the machine that runs.
fn running(machine: &mut Machine) {
    // Later calls ask for no password and say nothing of their own.
    let (code, said) = machine.run(&format!("echo '{PASSWORD}' | sudo -S -v"), COMMAND_LIMIT);
    assert_eq!(code, 0, "{said}");
    let wrong: Vec<String> = [
        ("hostname", "test-host"),
        ("cat /etc/machine-id", MACHINE_ID),
        ("ls /first-boot-ran", "/first-boot-ran"),
        ("sudo -n ls /var/lib/oic/first-boot", ""),
        ("date -d 2026-01-01 '+%Z %A'", "CET Donnerstag"),
        ("echo $LANG", "de_DE.UTF-8"),
        ("grep XKBLAYOUT /etc/default/keyboard", "XKBLAYOUT=\"ch\""),
        ("systemctl is-active keyboard-setup.service", "active"),
        ("cat /proc/sys/vm/swappiness", "10"),
        ("tr '\\t' ' ' < /proc/sys/net/ipv4/ip_local_port_range", "1024 65000"),
        ("grep -c '^br_netfilter ' /proc/modules", "1"),
        ("systemctl is-active getty@tty2.service", "active"),
        ("systemctl is-enabled apt-daily.timer; true", "disabled"),
        ("systemctl is-enabled apt-daily-upgrade.timer; true", "masked"),
        ("systemctl is-active apt-daily.timer; true", "inactive"),
        ("id -u bea", "1300"),
        ("getent group lab", "lab:x:1500:bea"),
        ("getent passwd web", "web:x:801:802::/:/usr/sbin/nologin"),
        ("sudo -n getent shadow bea | cut -d: -f5,8", "90:22095"),
        ("sudo -n passwd -S gone | cut -d' ' -f2", "L"),
        ("stat -c '%U %G %a' /etc/filled", "bea lab 640"),
        ("sudo -n cat /etc/filled", "who test"),
        ("stat -c '%U %G %a %F' /srv/empty", "web web 750 Verzeichnis"),
        ("sudo -n stat -c '%U %a' /srv/bea/.ssh/authorized_keys", "bea 600"),
        (
            "cat /sys/class/net/lo/operstate; findmnt -n -o FSTYPE /srv/data",
            "unknown\next4",
        ),
        ("/sbin/swapon --noheadings --show=TYPE", "partition"),
        ("ls /etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key"),
        ("systemctl is-active ssh.service", "active"),
        ("systemctl --failed --no-legend --plain --no-pager", ""),
    ]
    .iter()
    .filter_map(|(command, expected)| {
        let (code, output) = machine.run(command, COMMAND_LIMIT);
        let is_right = (code, output.as_str()) == (0, *expected);
        (!is_right).then(|| format!("{command}: {code} {output:?} instead of {expected:?}"))
    })
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What each machine draws for itself is not in the image.
fn secrets(tree: &Path, read: &dyn Fn(&str) -> String) {
    let names = fs::read_dir(tree.join("etc/ssh")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let keys: Vec<_> = names.filter(|name| name.starts_with("ssh_host_")).collect();
    assert!(keys.is_empty(), "{keys:?}");
    for path in [
        "var/lib/systemd/random-seed",
        "var/lib/systemd/credential.secret",
        "var/lib/dbus/machine-id",
    ] {
        let is_link = fs::read_link(tree.join(path)).is_ok();
        assert!(is_link || !tree.join(path).exists(), "{path}");
    }
    assert_eq!(read("etc/machine-id"), format!("{MACHINE_ID}\n"));
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
