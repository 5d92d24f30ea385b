//! Everything that can be wrong with a template is told with its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::json_schema;
use oic::provider::Providers;
use oic::template::{self, TemplateSource, Variables};
use oic::yaml::{Findings, Severity, Source, parse};

/// Two lines that every template needs; the cases go on in line 3.
const HEAD: &str =
    "image: {name: t, version: '1.0'}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n";

fn validate(text: &[u8]) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yml");
    std::fs::write(&path, text).unwrap();
    template::validate(
        &TemplateSource::File(path),
        &Providers::embedded().unwrap(),
        &Variables::new(),
    )
}

/// Every finding as `line:column field: message`.
fn told(findings: &Findings) -> Vec<String> {
    findings
        .iter()
        .map(|f| format!("{}:{} {}: {}", f.line, f.column, f.field, f.message))
        .collect()
}

/// Each case: a text, and how each of its findings begins.
fn check(cases: &[(&str, &[&str])], wrap: impl Fn(&str) -> String, severity: Severity) {
    let trees = cases.iter().filter_map(|(text, _)| {
        let tree = parse(&Source::new("t", wrap(text)), &mut Findings::new())?;
        Some(((*text).to_owned(), tree))
    });
    json_schema::agree(template::schema::TEMPLATE, &trees.collect::<Vec<_>>());
    for (text, expected) in cases {
        let findings = validate(wrap(text).as_bytes());
        let told = told(&findings);
        let as_expected = told.len() == expected.len() && told.iter().zip(*expected).all(|(t, e)| t.starts_with(e));
        assert!(as_expected, "{text}\nexpected {expected:#?}\nfound {told:#?}");
        assert!(findings.iter().all(|f| f.severity == severity), "{text}\n{findings}");
    }
}

#[test]
fn whole_files() {
    check(
        &[
            ("", &["0:0 : the file holds no YAML document"]),
            ("# nothing\n", &["0:0 : the file holds no YAML document"]),
            ("[]", &["1:1 : expected a map, found a list"]),
            ("just words", &["1:1 : expected a map, found a text"]),
            ("{}", &["1:1 image: is missing", "1:1 target: is missing"]),
            ("image: {name: [}", &["1:15 : this is not YAML"]),
            ("image:\n\tname: t", &["2:2 : this is not YAML"]),
            ("a: *nothing", &["1:4 : this is not YAML"]),
            ("a: &a [*a]", &["1:8 : *a contains itself"]),
            ("[a]: b", &["1:1 : a key must be a word"]),
            (
                "a: !!binary x\nb: !mine y",
                &[
                    "1:1 a: there is no such field",
                    "1:1 image: is missing",
                    "1:1 target: is missing",
                    "1:13 : the tag !!binary has no meaning here",
                    "2:1 b: there is no such field",
                    "2:10 : the tag !mine has no meaning here",
                ],
            ),
            (
                "image: {name: t, version: '1'}\n---\nx: y",
                &["2:1 : there is a second YAML document"],
            ),
            (
                "image: {name: t, version: '1'}\nimage: {}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}",
                &["2:1 image: the key \"image\" is there twice, first in line 1"],
            ),
            (
                "<<: 1",
                &[
                    "1:1 <<: a merge key takes a map",
                    "1:1 image: is missing",
                    "1:1 target: is missing",
                ],
            ),
        ],
        str::to_owned,
        Severity::Error,
    );
    assert_eq!(told(&validate(b"a: \xff")), ["0:0 : is not UTF-8 at byte 3"]);
    let long = vec![b'#'; (1 << 20) + 1];
    assert_eq!(told(&validate(&long)), ["0:0 : is larger than 1048576 bytes"]);
    let deep = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
    let deep = told(&validate(deep.as_bytes()));
    assert!(deep[0].contains("nested deeper than 64"), "{deep:?}");
}

#[test]
fn image_and_target() {
    check(
        &[
            (
                "image: {name: -t, version: '1'}",
                &["1:15 image.name: \"-t\" is not valid: letters"],
            ),
            (
                "image: {name: 'a b', version: '1'}",
                &["1:15 image.name: \"a b\" is not valid"],
            ),
            (
                "image: {name: ../up, version: '1'}",
                &["1:15 image.name: \"../up\" is not valid"],
            ),
            (
                "image: {name: '', version: '1'}",
                &["1:15 image.name: must not be empty"],
            ),
            (
                "image: {name: t, version: 1.0}",
                &["1:27 image.version: expected a text, found a number"],
            ),
            (
                "image: {name: t, version: 1.0.0.0}",
                &["1:27 image.version: \"1.0.0.0\" is not valid"],
            ),
            (
                "image: {name: t, version: v1}",
                &["1:27 image.version: \"v1\" is not valid"],
            ),
            (
                "image: {name: t, version: ~}",
                &["1:18 image.version: expected a text, found nothing"],
            ),
            (
                "image: {nam: t, version: '1'}",
                &["1:1 image.name: is missing", "1:9 image.nam: there is no such field"],
            ),
            ("image: t", &["1:8 image: expected a map, found a text"]),
        ],
        |text| format!("{text}\ntarget: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}"),
        Severity::Error,
    );
}

#[test]
fn targets() {
    check(
        &[
            (
                "{os: debain, dist: debian13, arch: x86_64, imageType: raw}",
                &["2:14 target.os: \"debain\" is not a known value"],
            ),
            (
                "{os: debian, dist: debian11, arch: x86_64, imageType: raw}",
                &["2:28 target.dist: \"debian11\" is no distribution of debian"],
            ),
            (
                "{os: debian, dist: azl3, arch: x86_64, imageType: raw}",
                &["2:28 target.dist: \"azl3\" is no"],
            ),
            (
                "{os: debian, dist: debian13, arch: amd64, imageType: raw}",
                &["2:44 target.arch: \"amd64\" is not a known value"],
            ),
            (
                "{os: debian, dist: debian13, arch: x86_64, imageType: RAW}",
                &["2:63 target.imageType: \"RAW\" is not a known value"],
            ),
            (
                "{os: debian, dist: debian13, arch: x86_64}",
                &["2:1 target.imageType: is missing"],
            ),
        ],
        |text| format!("image: {{name: t, version: '1'}}\ntarget: {text}"),
        Severity::Error,
    );
}

#[test]
fn disks() {
    check(
        &[
            ("{size: 4GiB}", &["3:1 disk.name: is missing"]),
            (
                "{name: d, size: 4}",
                &["3:23 disk.size: expected a text, found a number"],
            ),
            (
                "{name: d, size: 4 PiB}",
                &["3:23 disk.size: \"4 PiB\" has an unknown unit"],
            ),
            ("{name: d, size: '0'}", &["3:23 disk.size: must not be 0"]),
            (
                "{name: d, size: '99999999999GiB'}",
                &["3:23 disk.size: \"99999999999GiB\" is too large"],
            ),
            (
                "{name: d, partitionTableType: GPT}",
                &["3:37 disk.partitionTableType: \"GPT\""],
            ),
            (
                "{name: d, artifacts: [{type: ovf}]}",
                &["3:36 disk.artifacts[0].type: \"ovf\" is not a known value"],
            ),
            (
                "{name: d, artifacts: [{type: gcp, compression: gz}]}",
                &["3:54 disk.artifacts[0].compression: a file of type gcp is compressed already"],
            ),
            (
                "{name: d, artifacts: [{compression: gz}]}",
                &["3:29 disk.artifacts[0].type: is missing"],
            ),
            (
                "{name: d, artifacts: [{type: raw, compression: lz4}]}",
                &["3:54 disk.artifacts[0].compression: \"lz4\""],
            ),
            (
                "{name: d, artifacts: [{type: raw, compressionLevel: 3}]}",
                &["3:59 disk.artifacts[0].compressionLevel: is the level of no compression"],
            ),
            (
                "{name: d, artifacts: [{type: raw, compression: xz, compressionLevel: 10}]}",
                &["3:76 disk.artifacts[0].compressionLevel: 10 is no level of xz: 0 to 9"],
            ),
            (
                "{name: d, artifacts: raw}",
                &["3:28 disk.artifacts: expected a list, found a text"],
            ),
            (
                "{name: d, path: sda}",
                &["3:23 disk.path: \"sda\" must be an absolute path"],
            ),
        ],
        |text| format!("{HEAD}disk: {text}"),
        Severity::Error,
    );
}

#[test]
fn partitions() {
    check(
        &[
            ("{start: 1MiB}", &["4:1 disk.partitions[0].end: is missing"]),
            ("{end: 1MiB}", &["4:1 disk.partitions[0].start: is missing"]),
            (
                "{start: 3MiB, end: 2MiB}",
                &["4:20 disk.partitions[0].end: must be behind start"],
            ),
            (
                "{start: 1, end: 2MiB}",
                &["4:9 disk.partitions[0].start: expected a text"],
            ),
            (
                "{start: 1MiB, end: 3MiB},\n{start: 2MiB, end: 4MiB}",
                &["5:9 disk.partitions[1].start: overlaps disk.partitions[0]"],
            ),
            (
                "{start: 1MiB, end: '0'},\n{start: 2MiB, end: 4MiB}",
                &["5:9 disk.partitions[1].start: disk.partitions[0] takes the rest"],
            ),
            (
                "{id: a, start: 1MiB, end: 3MiB},\n{id: a, start: 3MiB, end: 4MiB}",
                &["5:6 disk.partitions[1].id: \"a\" is there twice, first in line 4"],
            ),
            (
                "{start: 1MiB, end: 5000MiB}",
                &["4:20 disk.partitions[0].end: lies beyond the disk"],
            ),
            (
                "{start: 4GiB, end: '0'}",
                &["4:9 disk.partitions[0].start: lies beyond the disk"],
            ),
            (
                "{start: 1MiB, end: '0', fsType: ext5}",
                &["4:33 disk.partitions[0].fsType: \"ext5\" is not a known value"],
            ),
            (
                "{start: 1MiB, end: '0', fsType: vfat, fsLabel: much-too-long}",
                &["4:48 disk.partitions[0].fsLabel: \"much-too-long\" is too long for vfat"],
            ),
            (
                "{start: 1MiB, end: '0', fsType: ext4, mountPoint: srv}",
                &["4:51 disk.partitions[0].mountPoint: \"srv\" must be an absolute"],
            ),
            (
                "{start: 1MiB, end: '0', fsType: ext4, mountPoint: /a/../b}",
                &["4:51 disk.partitions[0].mountPoint: \"/a/../b\" must not have"],
            ),
            (
                "{start: 1MiB, end: '0', mountPoint: /srv}",
                &["4:37 disk.partitions[0].mountPoint: there is no file system to mount"],
            ),
            (
                "{start: 1MiB, end: 2MiB, fsType: ext4, mountPoint: /},\n{start: 2MiB, end: 3MiB, fsType: ext4, mountPoint: /}",
                &["5:52 disk.partitions[1].mountPoint: / is mounted twice, first in line 4"],
            ),
            (
                "{start: 1MiB, end: '0', typeUUID: c12a7328}",
                &["4:35 disk.partitions[0].typeUUID: \"c12a7328\" is not a GUID"],
            ),
            (
                "{start: 1MiB, end: '0', flags: [bootable]}",
                &["4:33 disk.partitions[0].flags[0]: \"bootable\" is not a known value"],
            ),
            (
                "{start: 1MiB, end: '0', mountOptions: 'a b'}",
                &["4:39 disk.partitions[0].mountOptions: \"a b\" is not valid"],
            ),
            (
                "{start: 1MiB, end: '0', fstype: ext4}",
                &["4:25 disk.partitions[0].fstype: there is no such field"],
            ),
            (
                "{id: a/b, start: 1MiB, end: '0'}",
                &["4:6 disk.partitions[0].id: \"a/b\" is not valid"],
            ),
        ],
        |text| format!("{HEAD}disk: {{name: d, size: 4GiB, partitions: [\n{text}]}}"),
        Severity::Error,
    );
}

#[test]
fn systems() {
    check(
        &[
            (
                "name: a/b",
                &["4:9 systemConfig.name: \"a/b\" becomes a directory name"],
            ),
            ("name: ..", &["4:9 systemConfig.name: \"..\" becomes a directory name"]),
            (
                "hostname: under_score",
                &["4:13 systemConfig.hostname: \"under_score\" is not a host name"],
            ),
            (
                "hostname: 42",
                &["4:13 systemConfig.hostname: expected a text, found a number"],
            ),
            (
                "packages: [bash, 'a b']",
                &["4:20 systemConfig.packages[1]: \"a b\" is not valid"],
            ),
            (
                "packages: [bash, vim, bash]",
                &["4:25 systemConfig.packages[2]: \"bash\" is there twice, first in line 4"],
            ),
            (
                "packages: ['vim >= 2']",
                &["4:14 systemConfig.packages[0]: \"vim >= 2\" is not valid"],
            ),
            (
                "packages: ['@', bash]",
                &["4:14 systemConfig.packages[0]: \"@\" is not valid"],
            ),
            (
                "packages: [bash, '@core']",
                &["4:20 systemConfig.packages[1]: \"@core\" is a group, and the packages of debian13 come in none"],
            ),
            (
                "packages: bash",
                &["4:13 systemConfig.packages: expected a list, found a text"],
            ),
            (
                "packages: [~]",
                &["4:14 systemConfig.packages[0]: expected a text, found nothing"],
            ),
            (
                "users: [{password: x}]",
                &["4:11 systemConfig.users[0].name: is missing"],
            ),
            (
                "users: [{name: 1st}]",
                &["4:18 systemConfig.users[0].name: \"1st\" is not valid"],
            ),
            (
                "users: [{name: 'a:b'}]",
                &["4:18 systemConfig.users[0].name: \"a:b\" is not valid"],
            ),
            (
                "users: [{name: a}, {name: a}]",
                &["4:29 systemConfig.users[1].name: \"a\" is there twice"],
            ),
            (
                "users: [{name: a, hash_algo: md5}]",
                &["4:32 systemConfig.users[0].hash_algo: \"md5\" is refused: MD5 password hashes are broken"],
            ),
            (
                "users: [{name: a, hash_algo: sha1}]",
                &["4:32 systemConfig.users[0].hash_algo: \"sha1\" is not a known value"],
            ),
            (
                "users: [{name: a, password: '$1$salt$hash'}]",
                &["4:31 systemConfig.users[0].password: is an MD5 hash"],
            ),
            (
                "users: [{name: a, password: '$6$salt$ha:sh'}]",
                &["4:31 systemConfig.users[0].password: is not a crypt(5) hash"],
            ),
            (
                "users: [{name: a, password: 1234}]",
                &["4:31 systemConfig.users[0].password: expected a text"],
            ),
            (
                "users: [{name: a, sudo: 'yes'}]",
                &["4:27 systemConfig.users[0].sudo: expected true or false"],
            ),
            (
                "users: [{name: a, passwordMaxAge: -1}]",
                &["4:37 systemConfig.users[0].passwordMaxAge: -1 is out of range"],
            ),
            (
                "users: [{name: a, shell: bash}]",
                &["4:28 systemConfig.users[0].shell: \"bash\" must be an absolute path"],
            ),
            (
                "users: [{name: a, home: '/h:x'}]",
                &["4:27 systemConfig.users[0].home: \"/h:x\" must not have a colon"],
            ),
            (
                "bootloader: {bootType: uefi}",
                &["4:26 systemConfig.bootloader.bootType: \"uefi\" is not a known value"],
            ),
            (
                "bootloader: {bootType: legacy, provider: systemd-boot}",
                &["4:44 systemConfig.bootloader.provider: systemd-boot needs UEFI"],
            ),
            (
                "immutability: {}",
                &["4:3 systemConfig.immutability.enabled: is missing"],
            ),
            (
                "immutability: {enabled: 'true'}",
                &["4:27 systemConfig.immutability.enabled: expected true or false, found a text"],
            ),
            (
                "immutability: {enabled: false, secureBootDBKey: a.key, secureBootDBCrt: a.crt}",
                &[
                    "4:27 systemConfig.immutability.enabled: must be true",
                    "4:51 systemConfig.immutability.secureBootDBCer: is missing",
                ],
            ),
            (
                "immutability: {enabled: true, secureBootDBKey: ../a.key, secureBootDBCrt: a.txt, secureBootDBCer: a.cer}",
                &[
                    "4:50 systemConfig.immutability.secureBootDBKey: \"../a.key\" must not have ..",
                    "4:77 systemConfig.immutability.secureBootDBCrt: \"a.txt\" is not valid",
                ],
            ),
            (
                "additionalFiles: [{local: a}]",
                &["4:21 systemConfig.additionalFiles[0].final: is missing"],
            ),
            (
                "additionalFiles: [{local: a, finale: /b}]",
                &[
                    "4:21 systemConfig.additionalFiles[0].final: is missing",
                    "4:32 systemConfig.additionalFiles[0].finale: there is no such field",
                ],
            ),
            (
                "additionalFiles: [{local: a, final: /etc/../b}]",
                &["4:39 systemConfig.additionalFiles[0].final: \"/etc/../b\" must not have . or .."],
            ),
            (
                "additionalFiles: [{local: a, final: /etc/}]",
                &["4:39 systemConfig.additionalFiles[0].final: \"/etc/\" names a directory"],
            ),
            (
                "configurations: [{command: ls}]",
                &[
                    "4:20 systemConfig.configurations[0].cmd: is missing",
                    "4:21 systemConfig.configurations[0].command: there is no such field",
                ],
            ),
            (
                "configurations: [ls]",
                &["4:20 systemConfig.configurations[0]: expected a map, found a text"],
            ),
            (
                "configurations: [{cmd: ''}]",
                &["4:26 systemConfig.configurations[0].cmd: must not be empty"],
            ),
            (
                "configurations: [{cmd: \"a\\0b\"}]",
                &["4:26 systemConfig.configurations[0].cmd: has the control character U+0000"],
            ),
            (
                "kernel: {version: 6.12}",
                &["4:21 systemConfig.kernel.version: expected a text, found a number"],
            ),
            (
                "kernel: {enableExtraModules: 'a;b'}",
                &["4:32 systemConfig.kernel.enableExtraModules: \"a;b\" is not valid"],
            ),
            (
                "kernel: {uki: 1}",
                &["4:17 systemConfig.kernel.uki: expected true or false"],
            ),
            ("kernal: {}", &["4:3 systemConfig.kernal: there is no such field"]),
        ],
        |text| format!("{HEAD}systemConfig:\n  {text}"),
        Severity::Error,
    );
}

#[test]
fn package_repositories() {
    check(
        &[
            (
                "{url: 'http://x.example'}",
                &["3:24 packageRepositories[0].codename: is missing"],
            ),
            (
                "{codename: a}",
                &["3:24 packageRepositories[0]: has none of url, path and packages"],
            ),
            (
                "{codename: a, url: 'http://x.example', path: /a}",
                &["3:69 packageRepositories[0]: has both url and path"],
            ),
            (
                "{codename: a, url: 'ftp://x.example'}",
                &["3:43 packageRepositories[0].url: \"ftp://x.example\" must start with one of"],
            ),
            (
                "{codename: a, url: 'http://me:secret@x.example'}",
                &["3:43 packageRepositories[0].url: \"http://me:secret@x.example\" must not hold a user name"],
            ),
            (
                "{codename: a, path: srv}",
                &["3:44 packageRepositories[0].path: \"srv\" must be an absolute path"],
            ),
            (
                "{codename: a, path: /a, pkey: key.asc}",
                &["3:54 packageRepositories[0].pkey: \"key.asc\" must start with one of"],
            ),
            (
                "{codename: a, path: /a, pkeys: [/a/../k]}",
                &["3:56 packageRepositories[0].pkeys[0]: \"/a/../k\" must not have"],
            ),
            (
                "{codename: a, path: /a, priority: 10000}",
                &["3:58 packageRepositories[0].priority: 10000 is out of range: -9999 to 9999"],
            ),
            (
                "{codename: a, path: /a, priority: high}",
                &["3:58 packageRepositories[0].priority: expected a whole number"],
            ),
            (
                "{codename: a, path: /a, component: 'main;x'}",
                &["3:59 packageRepositories[0].component: \"main;x\" is not valid"],
            ),
            (
                "{codename: a, path: /a, allowPackages: ['']}",
                &["3:64 packageRepositories[0].allowPackages[0]: must not be empty"],
            ),
            (
                "{codename: a, path: /a, excludePackages: ['']}",
                &["3:66 packageRepositories[0].excludePackages[0]: must not be empty"],
            ),
            (
                "{codename: a, path: /a, excludePackages: curl}",
                &["3:65 packageRepositories[0].excludePackages: expected a list, found a text"],
            ),
        ],
        |text| format!("{HEAD}packageRepositories: [ {text}]"),
        Severity::Error,
    );
}

#[test]
fn what_is_odd_but_no_error() {
    check(
        &[
            ("systemConfig:\n  users:", &["4:3 systemConfig.users: has no value"]),
            (
                "systemConfig: {users: [{name: a, password: '$ecret'}]}",
                &["3:44 systemConfig.users[0].password: starts with $ but is no crypt"],
            ),
            (
                "systemConfig: {users: [{name: a, password: '$6$s$h', hash_algo: sha512}]}",
                &["3:65 systemConfig.users[0].hash_algo: has no effect"],
            ),
            (
                "disk: {name: d, partitions: [{type: lunix, start: 1MiB, end: '0'}]}",
                &["3:37 disk.partitions[0].type: \"lunix\" is not a known partition type"],
            ),
            (
                "disk: {name: d, partitions: [{index: 3, start: 1MiB, end: '0'}]}",
                &["3:38 disk.partitions[0].index: has no effect"],
            ),
            (
                "packageRepositories: [{codename: a, url: '<URL>'}]",
                &["3:42 packageRepositories[0].url: is a placeholder"],
            ),
        ],
        |text| format!("{HEAD}{text}"),
        Severity::Warning,
    );
}

#[test]
fn files_that_are_no_templates() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("t.json"), "{}").unwrap();
    std::fs::write(at("real.yml"), HEAD).unwrap();
    std::fs::create_dir(at("dir.yml")).unwrap();
    symlink("loop.yml", at("loop.yml")).unwrap();
    nix::unistd::mkfifo(&at("fifo.yml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, message) in [
        ("t.json", "the file name must end in .yml or .yaml"),
        ("gone.yml", "cannot be opened: No such file"),
        ("dir.yml", "is a directory, not a regular file"),
        ("fifo.yml", "is a FIFO, not a regular file"),
        ("loop.yml", "cannot be opened: Too many levels of symbolic links"),
    ] {
        let told = told(&template::validate(
            &TemplateSource::File(at(name)),
            &Providers::embedded().unwrap(),
            &Variables::new(),
        ));
        assert!(
            told.len() == 1 && told[0].starts_with(&format!("0:0 : {message}")),
            "{name} {told:?}"
        );
    }
}

#[test]
fn findings_are_shown_like_a_compilers() {
    let text = format!(
        "{HEAD}disk:\n  name: d\n  partitions:\n    - {{start: 1MiB, end: '0', fsType: etx4}}\nsystemConfig:\n  hostnam: x\n  users:\n    - name: a\n      pass: hunter2\n  kernel:\n    cmdline: {}\n    uki: maybe\n",
        "x".repeat(5000)
    );
    let shown = validate(text.as_bytes()).to_string();
    let file = shown.split(':').next().unwrap().to_owned();
    insta::assert_snapshot!(shown.replace(&file, "t.yml"), @r#"
    t.yml:6:39: error: disk.partitions[0].fsType: "etx4" is not a known value
      6 |     - {start: 1MiB, end: '0', fsType: etx4}
        |                                       ^^^^
      allowed: fat32, vfat, fat16, ext2, ext3, ext4, erofs, xfs, linux-swap, swap, none
      hint: did you mean "ext4"?
    t.yml:8:3: error: systemConfig.hostnam: there is no such field
      8 |   hostnam: x
        |   ^^^^^^^
      allowed: name, description, hostname, machineId, services, timezone, locale, keymap, sysctl, kernelModules, network, initramfs, immutability, signing, fde, groups, users, bootloader, packages, removePackages, recommends, recommendsOf, foreignArchitectures, debconf, additionalFiles, configurations, allowSecrets, kernel
      hint: did you mean "hostname"?
    t.yml:11:7: error: systemConfig.users[0].pass: there is no such field
      11 |       pass: …
         |       ^^^^
      allowed: name, password, hash_algo, passwordMaxAge, expire, locked, system, uid, sshKeys, startupScript, groups, sudo, home, shell
    t.yml:13:14: error: systemConfig.kernel.cmdline: has 5000 characters; 4096 are allowed
      13 |     cmdline: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
         |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    t.yml:14:10: error: systemConfig.kernel.uki: expected true or false, found a text
      14 |     uki: maybe
         |          ^^^^^
    "#);
}
