//! Fields that the older tool has got in 2026: what is accepted, refused and warned of, and what a build says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use oic::model::{Interface, NetworkBackend};
use oic::provider::Providers;
use oic::template::{self, Loaded, TemplateSource, Variables};
use oic::yaml::Findings;

const HEAD: &str =
    "image: {name: t, version: '1.0'}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n";

fn load(text: &str) -> Result<Loaded, Findings> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yml");
    std::fs::write(&path, text).unwrap();
    template::load(
        &TemplateSource::File(path),
        &Providers::embedded().unwrap(),
        &Variables::new(),
    )
}

/// Loads `rest` behind the usual head and returns everything that is said about it, a line for each finding.
fn said(rest: &str) -> String {
    let findings = match load(&format!("{HEAD}{rest}")) {
        Ok(loaded) => loaded.warnings,
        Err(findings) => findings,
    };
    let lines = findings.iter().map(|finding| {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        format!("{}: {severity}: {}: {}\n", finding.line, finding.field, finding.message)
    });
    lines.collect()
}

/// Checks that each text is answered with a line that has these words, or with none.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let said = said(text);
        match *expected {
            "" => assert_eq!(said, "", "{text}"),
            expected => assert!(said.lines().any(|line| line.contains(expected)), "{text}\n{said}"),
        }
    }
}

#[test]
fn the_machines_own_settings() {
    let said = |text: &str, expected: &str| check(&[(&format!("systemConfig: {{{text}}}"), expected)]);
    for (text, expected) in [
        (
            "services: {enable: [ssh, fstrim.timer, getty@tty2.service], disable: ['-.mount'], mask: ['a\\\\x2db.mount']}",
            "disable[0]: \"-.mount\" is not valid",
        ),
        (
            "services: {enable: [a b]}",
            "services.enable[0]: \"a b\" is not valid: the name of a unit",
        ),
        ("services: {start: [a]}", "services.start: there is no such field"),
        (
            "services: {enable: [a], mask: [a.service]}",
            "error: systemConfig.services.mask[0]: is enabled too",
        ),
        ("machineId: uninitialized", ""),
        ("machineId: 0123456789abcdef0123456789abcdef", ""),
        (
            "machineId: '00000000000000000000000000000000'",
            "is neither empty nor uninitialized nor an id",
        ),
        ("machineId: 0123456789ABCDEF0123456789ABCDEF", "is neither empty"),
        ("timezone: America/Argentina/Buenos_Aires, packages: [tzdata]", ""),
        ("timezone: Etc/GMT+3, packages: [tzdata]", ""),
        ("timezone: /etc/passwd", "timezone: \"/etc/passwd\" is not valid"),
        ("timezone: ../Berlin", "timezone: \"../Berlin\" is not valid"),
        (
            "locale: de_DE.UTF-8",
            "warning: systemConfig.locale: needs the package locales",
        ),
        ("locale: sr_RS@latin, packages: [locales]", ""),
        ("locale: 'de DE'", "locale: \"de DE\" is not valid"),
        ("keymap: de-latin1, packages: [console-setup]", ""),
        ("keymap: a b", "keymap: \"a b\" is not valid"),
        (
            "sysctl: {vm.swappiness: 10, net.ipv4.conf.eth0/1.rp_filter: '1', -kernel.x: a b}",
            "",
        ),
        (
            "sysctl: {vm.swappiness: [10]}",
            "sysctl.vm.swappiness: expected a text, found a list",
        ),
        ("sysctl: {'a b': 1}", "\"a b\" is not valid: a kernel parameter"),
        ("sysctl: {kernel.domainname: \"a\\nb\"}", "must be a single line"),
        ("kernelModules: [br_netfilter, 'nf-x']", ""),
        ("kernelModules: [a b]", "kernelModules[0]: \"a b\" is not valid"),
    ] {
        said(text, expected);
    }
    let settings = "services: {enable: [ssh]}, sysctl: {b.c: 7, a.b: x}, timezone: UTC, kernelModules: [m]";
    let machine = load(&format!("{HEAD}systemConfig: {{{settings}}}"))
        .unwrap()
        .template
        .system
        .machine;
    assert_eq!(machine.services.enable, ["ssh.service"]);
    assert_eq!(format!("{:?}", machine.sysctl), r#"[("b.c", "7"), ("a.b", "x")]"#);
    assert_eq!(
        (machine.timezone.as_deref(), &machine.kernel_modules[..]),
        (Some("UTC"), &["m".to_owned()][..])
    );
}

#[test]
fn packages_that_are_left_out() {
    for (text, expected) in [
        ("packages: [-systemd-timesyncd, vim]", ""),
        ("removePackages: [systemd-timesyncd]", ""),
        ("packages: ['-lib*']", "packages[0]: \"-lib*\" is not valid"),
        ("packages: ['--x']", "packages[0]: \"--x\" is not valid"),
        (
            "removePackages: ['-x']",
            "removePackages[0]: \"-x\" is not valid: the name of a package",
        ),
        (
            "packages: [vim, -vim]",
            "packages[1]: leaves out \"vim\", which line 3 asks for",
        ),
        (
            "packages: ['vim=1'], removePackages: [vim]",
            "removePackages[0]: leaves out \"vim\"",
        ),
    ] {
        check(&[(&format!("systemConfig: {{{text}}}"), expected)]);
    }
    let loaded = load(&format!(
        "{HEAD}systemConfig:\n  packages:\n    - vim\n    - -systemd-timesyncd\n"
    ))
    .unwrap();
    let system = &loaded.template.system;
    assert!(system.packages.contains(&"vim".to_owned()) && system.packages.contains(&"systemd-sysv".to_owned()));
    assert!(
        !system.packages.iter().any(|name| name.contains("timesyncd")),
        "{:?}",
        system.packages
    );
    assert_eq!(system.removed_packages, ["systemd-timesyncd"]);
    assert!(!loaded.default_packages.iter().any(|name| name.contains("timesyncd")));
    assert_eq!(loaded.own_packages, ["vim"]);
    assert!(loaded.left_out_by("systemd-timesyncd").unwrap().ends_with("t.yml:6"));
    assert!(loaded.is_inherited("systemd-sysv") && !loaded.is_inherited("vim") && !loaded.is_inherited("libc6"));
    // What is printed is a template that leaves out the same.
    let again = load(&loaded.to_yaml().unwrap()).unwrap().template;
    assert_eq!(
        (again.system.packages, again.system.removed_packages),
        (system.packages.clone(), system.removed_packages.clone())
    );
}

#[test]
fn answers_to_questions() {
    let answer = |text: &str, expected: &str| check(&[(&format!("systemConfig: {{debconf: [{text}]}}"), expected)]);
    answer(
        "{package: postfix, question: postfix/main_mailer_type, type: select, value: No configuration}",
        "",
    );
    answer("{package: a, question: a/b, type: password}", "");
    answer("{package: a, question: a/b}", "debconf[0].type: is missing");
    answer("{package: A, question: a/b, type: note}", "package: \"A\" is not valid");
    answer(
        "{package: a, question: a b, type: note}",
        "question: \"a b\" is not valid",
    );
    answer(
        "{package: a, question: a/b, type: secret}",
        "\"secret\" is not a known value",
    );
    answer(
        "{package: a, question: a/b, type: string, value: 'xyz\\'}",
        "value: the value must be a single line",
    );
    let on_rpm = HEAD.replace("debian13", "azl3").replace("debian", "azure-linux");
    let text = "systemConfig: {debconf: [{package: a, question: a/b, type: note}]}";
    let findings = load(&format!("{on_rpm}{text}")).unwrap_err().to_string();
    assert!(findings.contains("ask no questions of debconf"), "{findings}");
    let secret = "systemConfig: {debconf: [{package: a, question: a/b, type: password, value: geheim}]}";
    let shown = load(&format!("{HEAD}{secret}"))
        .unwrap()
        .resolved(template::Scope::Full, false)
        .unwrap();
    assert!(shown.contains("question: a/b") && !shown.contains("geheim"), "{shown}");
}

#[test]
fn network() {
    let interfaces = |text: &str| format!("systemConfig: {{network: {{interfaces: [{text}]}}}}");
    let cases = [
        ("{name: eth0, dhcp4: true}", ""),
        ("{name: enp1s0.7, dhcp6: true, dhcp4: false, addresses: []}", ""),
        (
            "{name: a, addresses: [192.0.2.7/24, '2001:db8::7/64'], routes: [{to: default, via: 192.0.2.1}], nameservers: ['2001:db8::53']}",
            "",
        ),
        ("{dhcp4: true}", "network.interfaces[0].name: is missing"),
        (
            "{name: abcdefghijklmnop}",
            "interfaces[0].name: has 16 characters; 15 are allowed",
        ),
        ("{name: -a}", "interfaces[0].name: \"-a\" is not valid"),
        ("{name: a}, {name: a}", "interfaces[1].name: \"a\" is there twice"),
        (
            "{name: a, dhcp4: true, addresses: [192.0.2.7/24]}",
            "interfaces[0].addresses: cannot be given together with DHCP",
        ),
        (
            "{name: a, addresses: [192.0.2.7]}",
            "addresses[0]: \"192.0.2.7\" is not an address with the length",
        ),
        (
            "{name: a, addresses: [192.0.2.7/33]}",
            "has a prefix that is not a number from 0 to 32",
        ),
        ("{name: a, addresses: [192.0.2.256/24]}", "is not an address"),
        ("{name: a, addresses: ['2001:db8::7/129']}", "from 0 to 128"),
        (
            "{name: a, nameservers: [dns.example]}",
            "nameservers[0]: \"dns.example\" is not an IPv4 or IPv6 address",
        ),
        (
            "{name: a, routes: [{to: all, via: 192.0.2.1}]}",
            "routes[0].to: \"all\" is not default, and",
        ),
        ("{name: a, routes: [{to: default}]}", "routes[0].via: is missing"),
        (
            "{name: a, routes: [{to: 198.51.100.0/24, via: '2001:db8::1'}]}",
            "routes[0].via: is an address of the other family",
        ),
        ("{name: a, mtu: 9000}", "interfaces[0].mtu: there is no such field"),
    ];
    for (text, expected) in cases {
        check(&[(&interfaces(text), expected)]);
    }
    check(&[
        (
            "systemConfig: {network: {backend: netplan}}",
            "warning: systemConfig.network: has no interfaces: nothing is written for netplan",
        ),
        (
            "systemConfig: {network: {backend: ifupdown, interfaces: [{name: a}]}}",
            "\"ifupdown\" is not a known value",
        ),
    ]);
    let loaded = load(&format!(
        "{HEAD}{}",
        interfaces("{name: a, routes: [{to: default, via: 192.0.2.1}], addresses: [192.0.2.7/24]}")
    ))
    .unwrap();
    let network = loaded.template.system.network.unwrap();
    assert_eq!(network.backend, NetworkBackend::Networkd, "the default");
    let [
        Interface {
            name,
            routes,
            dhcp4: false,
            ..
        },
    ] = &network.interfaces[..]
    else {
        panic!("{network:?}")
    };
    assert_eq!(
        (name.as_str(), &routes[0].to, routes[0].via.as_str()),
        ("a", &None, "192.0.2.1")
    );
}

#[test]
fn images_on_top_of_others() {
    let on = "baseline: {mode: overlay, source: {path: base.img}}\n";
    check(&[
        (on, ""),
        (
            "baseline: {mode: overlay, source: {url: 'https://h.example/i.qcow2', format: qcow2, sbomPath: s.json}}",
            "",
        ),
        ("baseline: {mode: create}", ""),
        ("baseline: {mode: overlay}", "error: baseline.source: is missing"),
        (
            "baseline: {source: {path: i}}",
            "error: baseline.source: has no meaning with mode create",
        ),
        (
            "baseline: {mode: overlay, source: {path: i, url: 'https://h/i'}}",
            "baseline.source: has to have one of path and url",
        ),
        (
            "baseline: {mode: overlay, source: {format: raw}}",
            "baseline.source: has to have one of path and url",
        ),
        (
            "baseline: {mode: overlay, source: {path: 'file:/i'}}",
            "baseline.source.path: \"file:/i\" is a URL",
        ),
        (
            "baseline: {mode: overlay, source: {url: 'http://h/i'}}",
            "baseline.source.url: \"http://h/i\" must start with one of https://",
        ),
        (
            "overlayPolicy: {allowDiskResize: true}",
            "error: overlayPolicy: has no meaning without baseline.mode: overlay",
        ),
    ]);
    let with = |rest: &str| format!("{on}{rest}");
    for (text, expected) in [
        (
            "overlayPolicy: {packageOperation: additive-and-upgrade, allowPackageRemoval: true, replaceKernel: {package: linux-image-6.11}}",
            "",
        ),
        (
            "overlayPolicy: {allowPackageRemoval: true}",
            "overlayPolicy.allowPackageRemoval: needs packageOperation: additive-and-upgrade",
        ),
        (
            "overlayPolicy: {replaceKernel: {package: k}}",
            "overlayPolicy.replaceKernel: needs packageOperation",
        ),
        (
            "overlayPolicy: {replaceKernel: {}}",
            "overlayPolicy.replaceKernel.package: is missing",
        ),
        (
            "overlayPolicy: {packageOperation: additive-and-upgrade, replaceKernel: {package: 'linux-image-*', headers: [x], version: 6.11}}",
            "warning: overlayPolicy.replaceKernel.headers: has no effect",
        ),
        (
            "overlayPolicy: {kernelCmdline: 'a $(b)'}",
            "overlayPolicy.kernelCmdline: \"a $(b)\" is not valid",
        ),
        (
            "systemConfig: {packages: [vim], users: [{name: a}], configurations: [{cmd: x}]}",
            "",
        ),
        (
            "systemConfig: {hostname: h}",
            "error: systemConfig.hostname: cannot be set with baseline.mode: overlay",
        ),
        (
            "systemConfig: {immutability: {enabled: false}}",
            "systemConfig.immutability: cannot be set",
        ),
        (
            "systemConfig: {fde: {enabled: false}}",
            "systemConfig.fde: cannot be set",
        ),
        (
            "systemConfig: {kernel: {cmdline: x}, bootloader: {provider: grub}, network: {interfaces: [{name: a}]}}",
            "systemConfig.network: cannot be set",
        ),
    ] {
        check(&[(&with(text), expected)]);
    }
    let loaded = load(&format!("{HEAD}{on}systemConfig: {{packages: [vim]}}\n")).unwrap();
    assert_eq!(
        loaded.template.system.packages,
        ["vim"],
        "nothing of a default template"
    );
    let refused = template::check_buildable(&loaded).to_string();
    assert!(
        refused.contains("baseline.mode: an image on top of another one is not built by this version"),
        "{refused}"
    );
    let iso = format!("{}{on}", HEAD.replace("raw", "iso"));
    assert!(
        load(&iso)
            .unwrap_err()
            .to_string()
            .contains("target.imageType: has to be raw with baseline.mode: overlay")
    );
}

#[test]
fn disks() {
    let disk = |text: &str| {
        format!(
            "disk: {{name: d, size: 4GiB, {text}, partitions: [\n\
             {{id: boot, type: esp, start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi}},\n\
             {{id: root, type: linux-root-amd64, start: 513MiB, end: '0', fsType: ext4, mountPoint: /}}]}}\n"
        )
    };
    check(&[
        (
            &disk("selectionPolicy: {strategy: fastest, excludeRemovable: false, requireEmpty: false}"),
            "",
        ),
        (
            &disk("selectionPolicy: {strategy: largest-free}"),
            "selectionPolicy.strategy: \"largest-free\" is refused: it was never released",
        ),
        (&disk("extendLastPartitionToFillDisk: true"), ""),
        ("disk: {name: d, extendLastPartitionToFillDisk: true}", ""),
        (
            &disk("artifacts: [{type: tar}]"),
            "disk.artifacts[0].type: is for wsl2 images only",
        ),
        (
            "disk: {name: d, size: 9GiB, extendLastPartitionToFillDisk: true, partitions: [\n\
             {id: boot, type: esp, start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi},\n\
             {id: root, start: 513MiB, end: 4GiB, fsType: ext4, mountPoint: /},\n\
             {id: data, start: 4GiB, end: '0', fsType: ext4, mountPoint: /opt}]}\n",
            "disk.extendLastPartitionToFillDisk: needs the root file system in the last partition, and disk.partitions[2]",
        ),
        (
            "disk: {name: d, extendLastPartitionToFillDisk: true}\nsystemConfig: {immutability: {enabled: true}}",
            "disk.extendLastPartitionToFillDisk: cannot be true with immutability.enabled",
        ),
        (&disk("sectorSize: 4096"), ""),
        (&disk("sectorSize: 1024"), "disk.sectorSize: has to be 512 or 4096"),
        (
            "disk: {name: d, size: 9GiB, partitions: [\n\
             {id: boot, type: esp, start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi},\n\
             {id: root, start: 513MiB, end: 4GiB, fsType: ext4, mountPoint: /, grow: true},\n\
             {id: data, start: 4GiB, end: '0', fsType: ext4, mountPoint: /srv}]}\n",
            "disk.partitions[1].grow: cannot be true: disk.partitions[2] lies behind this partition",
        ),
        (
            "disk: {name: d, size: 9GiB, partitions: [\n\
             {id: root, start: 513MiB, end: '0', fsType: ext4, mountPoint: /, grow: true},\n\
             {id: boot, type: esp, start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi}]}\n",
            "",
        ),
    ]);
    let loaded = load(&format!("{HEAD}disk: {{name: d, extendLastPartitionToFillDisk: true}}")).unwrap();
    assert_eq!(template::check_buildable(&loaded).to_string(), "");
    let last = loaded.template.disk.partitions.len() - 1;
    assert_eq!(loaded.template.disk.growing, Some(last));
    let iso = format!(
        "{}disk: {{name: d, extendLastPartitionToFillDisk: true}}",
        HEAD.replace("raw", "iso")
    );
    assert!(
        load(&iso)
            .unwrap_err()
            .to_string()
            .contains("an installer fills the disk anyway")
    );
}

#[test]
fn encryption() {
    check(&[
        ("systemConfig: {fde: {enabled: false}}", ""),
        (
            "systemConfig: {fde: {enabled: true, passphraseFile: /not/here, unlock: auto, partitions: [rootfs]}}",
            "",
        ),
        (
            "systemConfig: {fde: {passphraseFile: x}}",
            "systemConfig.fde.enabled: is missing",
        ),
        (
            "systemConfig: {fde: {enabled: true}}",
            "systemConfig.fde.passphraseFile: is missing, and enabled is true",
        ),
        (
            "systemConfig: {fde: {enabled: true, passphrase: x}}",
            "systemConfig.fde.passphrase: there is no such field",
        ),
        (
            "systemConfig: {fde: {enabled: true, passphraseFile: x, partitions: [rootfs, data]}}",
            "systemConfig.fde.partitions[1]: there is no partition with this id",
        ),
        (
            "systemConfig: {fde: {enabled: true, passphraseFile: x, partitions: [boot]}}",
            "systemConfig.fde.partitions[0]: this partition cannot be encrypted",
        ),
        (
            "systemConfig: {bootloader: {bootType: efi, provider: grub}, fde: {enabled: true, passphraseFile: x}}",
            "systemConfig.fde.enabled: cannot be true with bootloader.provider: grub",
        ),
    ]);
    let loaded = load(&format!(
        "{HEAD}systemConfig: {{fde: {{enabled: true, passphraseFile: p}}}}"
    ))
    .unwrap();
    let refused = template::check_buildable(&loaded).to_string();
    assert!(
        refused.contains("systemConfig.fde.passphraseFile: ") && refused.contains("p cannot be used"),
        "{refused}"
    );
    let shown = loaded.resolved(template::Scope::Full, false).unwrap();
    assert!(shown.contains("passphraseFile: \"[REDACTED]\""), "{shown}");
}

#[test]
fn archives_for_wsl() {
    let wsl = HEAD.replace("raw", "wsl2");
    for (text, expected) in [
        ("", ""),
        ("disk: {name: d, artifacts: [{type: tar, compression: zstd}]}", ""),
        (
            "disk: {name: d, artifacts: [{type: raw}]}",
            "disk.artifacts[0].type: has to be tar",
        ),
        (
            "disk: {name: d, size: 4GiB}",
            "disk.size: has no meaning in a wsl2 image",
        ),
        (
            "systemConfig: {kernel: {packages: [linux-image-amd64]}}",
            "systemConfig.kernel: has no meaning in a wsl2 image",
        ),
    ] {
        let said = match load(&format!("{wsl}{text}")) {
            Ok(loaded) => {
                let refused = template::check_buildable(&loaded).to_string();
                assert_eq!(refused, "");
                loaded.warnings.to_string()
            }
            Err(findings) => findings.to_string(),
        };
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{text}\n{said}"
        );
    }
}

#[test]
fn repositories() {
    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let repository = |text: &str| format!("packageRepositories: [{{codename: c, pkey: '[trusted=yes]', {text}}}]");
    let pinned = format!("packages: ['https://h.example/a.deb#sha256={DIGEST}'], insecureSkipVerify: true");
    for (text, expected) in [
        (
            "packages: ['https://h.example/a.deb', ./b.rpm, /srv/c.tar.gz, ../d.zip]",
            "",
        ),
        (pinned.as_str(), ""),
        ("path: /srv/repository, packages: [/srv/a.deb]", ""),
        ("path: <PATH>, packages: [/srv/a.deb]", ""),
        (
            "packages: []",
            "packageRepositories[0]: has none of url, path and packages",
        ),
        (
            "path: <PATH>",
            "packageRepositories[0]: has none of url, path and packages",
        ),
        (
            "url: 'http://h.example', packages: [/srv/a.deb]",
            "packageRepositories[0]: has both url and packages",
        ),
        (
            "url: 'http://h.example', path: /srv",
            "packageRepositories[0]: has both url and path",
        ),
        (
            "packages: ['http://h.example/a.deb']",
            "packages[0]: \"http://h.example/a.deb\" is a URL",
        ),
        (
            "packages: [a.deb]",
            "packages[0]: \"a.deb\" is neither an https:// URL nor a path",
        ),
        ("packages: ['/a.deb#sha256=12']", "has no digest behind its #"),
        (
            "packages: ['https://h.example/a.deb'], insecureSkipVerify: true",
            "packages[0]: has no digest, and insecureSkipVerify lets any server answer",
        ),
        ("url: <URL>", "warning: packageRepositories[0].url: is a placeholder"),
    ] {
        check(&[(&repository(text), expected)]);
    }
    let loaded = load(&format!(
        "{HEAD}{}",
        repository("path: /, packages: [/no/a.deb, ./b.tar.gz, 'https://h.example/c.deb?x#sha256=DIGEST', 'https://h.example/d.rpm', /usr]")
            .replace("DIGEST", &"a".repeat(64))
    ))
    .unwrap();
    let refused = template::check_buildable(&loaded).to_string();
    for expected in [
        "packages[0]: there is no file /no/a.deb",
        "/b.tar.gz",
        "packages[3]: is neither a .deb package nor an archive by its name",
    ] {
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(
        !refused.contains("packages[2]") && !refused.contains("packages[4]"),
        "{refused}"
    );
    let resolved = loaded.to_yaml().unwrap();
    assert!(
        resolved.contains("/b.tar.gz") && !resolved.contains("- ./b.tar.gz"),
        "{resolved}"
    );
    let signed = "packageRepositories: [{codename: c, pkey: /key, packages: [/usr]}]";
    let loaded = load(&format!("{HEAD}{signed}")).unwrap();
    let refused = template::check_buildable(&loaded).to_string();
    assert!(
        refused.contains("packages: are files, which no key of a repository signs"),
        "{refused}"
    );
}

#[test]
fn what_is_read_past() {
    check(&[
        ("sbomPackageMetadata: [{name: a, checksum: [{value: 1}]}, 7]", ""),
        (
            "systemConfig: {users: [{name: a, groups: [<REQUIRED_GROUP>, audio]}]}",
            "",
        ),
        (
            "systemConfig: {users: [{name: a, groups: [<BAD GROUP>]}]}",
            "groups[0]: \"<BAD GROUP>\" is not valid",
        ),
        (
            "systemConfig: {users: [{name: a, password: '[REDACTED]'}]}",
            "users[0].password: is what stands in the place of a password",
        ),
    ]);
    let loaded = load(&format!(
        "{HEAD}systemConfig: {{users: [{{name: a, groups: [<REQUIRED_GROUP>, audio]}}]}}"
    ))
    .unwrap();
    assert_eq!(loaded.template.system.users[0].groups, ["audio"]);
    let stage =
        |word: &str| format!("systemConfig: {{additionalFiles: [{{local: t.yml, final: /f, stage: '{word}'}}]}}");
    check(&[
        (&stage("pre-initramfs"), ""),
        (&stage(""), ""),
        (
            &stage("later"),
            "stage: \"later\" is not valid: pre-initramfs, or nothing",
        ),
    ]);
}
