//! Templates from the outside: what is accepted, what a merge gives, what is told about a bad one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::templates::older_templates;
use std::ffi::OsStr;
use std::path::Path;

use oic::model::{FileSource, HashMethod, Password};
use oic::provider::Providers;
use oic::template::{self, Loaded, TemplateSource, Variables};
use oic::yaml::Findings;
use oic::yaml::schema::{Field, Shape};

fn load(path: &Path) -> Result<Loaded, Findings> {
    template::load(
        &TemplateSource::File(path.to_owned()),
        &Providers::embedded().unwrap(),
        &Variables::new(),
    )
}

/// Loads a text as a file of its own.
fn load_text(text: &str) -> Result<Loaded, Findings> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yml");
    std::fs::write(&path, text).unwrap();
    load(&path)
}

const HEAD: &str =
    "image: {name: t, version: '1.0'}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n";

#[test]
fn templates_in_the_style_of_the_older_tool_validate() {
    let files = older_templates();
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let findings = template::validate(
            &TemplateSource::File(path.clone()),
            &Providers::embedded().unwrap(),
            &Variables::new(),
        );
        assert!(!findings.has_errors(), "{findings}");
    }
}

#[test]
fn samples_load_without_a_warning_and_can_be_built() {
    let providers = Providers::embedded().unwrap();
    for sample in template::samples() {
        let source = TemplateSource::named(OsStr::new(sample.name)).unwrap();
        let loaded =
            template::load(&source, &providers, &Variables::new()).unwrap_or_else(|findings| panic!("{findings}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        let refused = template::check_buildable(&loaded);
        assert!(std::env::consts::ARCH != "x86_64" || refused.is_empty(), "{refused}");
    }
}

#[test]
fn an_unknown_sample_is_answered_with_the_known_ones() {
    let finding = TemplateSource::named(OsStr::new("debian13-x86_64-minimum")).unwrap_err();
    insta::assert_snapshot!(finding, @r"
    debian13-x86_64-minimum: error: there is no file of this name, and no sample template either
      allowed: debian13-x86_64-edge, debian13-x86_64-minimal
      hint: did you mean debian13-x86_64-minimal?
    ");
}

#[test]
fn a_merged_template_is_valid_and_merges_to_itself() {
    let providers = Providers::embedded().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let samples = template::samples().into_iter().map(TemplateSource::Sample);
    let files = older_templates().into_iter().map(TemplateSource::File);
    let mut merged = 0;
    for source in samples.chain(files) {
        let Ok(loaded) = template::load(&source, &providers, &Variables::new()) else {
            continue;
        };
        let text = loaded.to_yaml().unwrap();
        let path = directory.path().join("merged.yml");
        std::fs::write(&path, &text).unwrap();
        let again = load(&path).unwrap_or_else(|findings| panic!("{findings}"));
        assert_eq!(again.template, loaded.template);
        assert_eq!(again.to_yaml().unwrap(), text);
        merged += 1;
    }
    assert!(merged >= 4, "{merged}");
}

#[test]
fn a_template_that_says_nothing_is_the_default_under_its_own_name() {
    let loaded = load_text(HEAD).unwrap();
    let template = &loaded.template;
    assert_eq!(template.system.name, "default_raw");
    assert_eq!(template.image.name, "t");
    assert_eq!(template.disk.size_bytes, Some(4 << 30));
    let partitions: Vec<_> = template
        .disk
        .partitions
        .iter()
        .map(|p| (p.start_bytes >> 20, p.end_bytes.map(|e| e >> 20)))
        .collect();
    assert_eq!(partitions, [(1, Some(513)), (513, None)]);
    assert!(!template.system.immutable);
    assert!(template.system.packages.iter().any(|p| p == "systemd-sysv"));
    assert_eq!(template.system.kernel.packages, ["linux-image-amd64"]);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn an_empty_system_name_drops_nothing() {
    let loaded = load_text(&format!(
        "{HEAD}systemConfig: {{name: '', hostname: kept, packages: [vim]}}"
    ))
    .unwrap();
    assert_eq!(loaded.template.system.name, "default_raw");
    assert_eq!(loaded.template.system.hostname.as_deref(), Some("kept"));
    assert!(loaded.template.system.packages.ends_with(&["vim".to_owned()]));
}

#[test]
fn each_section_merges_by_its_own_rule() {
    let text = format!(
        "{HEAD}systemConfig:
  name: mine
  description: ''
  packages: [vim, udev, abc]
  users:
    - {{name: zoe, password: hunter2}}
    - {{name: bob, password: '$6$s$h', groups: [x]}}
    - {{name: amy, password: p, hash_algo: sha256}}
  configurations: [{{cmd: second}}, {{cmd: first}}]
  kernel: {{cmdline: \"quiet\\n splash\", packages: [linux-image-rt-amd64]}}
disk: {{name: small, size: 2GiB}}
"
    );
    let system = load_text(&text).unwrap().template.system;
    assert_eq!(system.name, "mine");
    assert_eq!(system.description, "Debian 13 disk image");
    let added: Vec<_> = system
        .packages
        .iter()
        .filter(|p| ["vim", "udev", "abc"].contains(&p.as_str()))
        .collect();
    assert_eq!(
        added,
        ["udev", "vim", "abc"],
        "the default's first, each once, then in the order of the file"
    );
    assert_eq!(
        system.users.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(),
        ["zoe", "bob", "amy"]
    );
    let plain = |text: &str, method| Password::Plain {
        text: text.to_owned(),
        method,
    };
    assert!(system.users[0].password == plain("hunter2", HashMethod::Sha512));
    assert!(system.users[1].password == Password::Hashed("$6$s$h".to_owned()));
    assert!(system.users[2].password == plain("p", HashMethod::Sha256));
    let commands: Vec<_> = system.commands.iter().map(|command| command.text.as_str()).collect();
    assert_eq!(commands, ["second", "first"]);
    assert_eq!(system.kernel.command_line, "quiet splash");
    assert_eq!(
        system.kernel.packages,
        ["linux-image-rt-amd64"],
        "kernel packages replace"
    );
    assert!(!format!("{system:?}").contains("hunter2"), "a password reached Debug");
}

#[test]
fn additional_files_are_found_beside_the_template_and_missing_ones_stop_a_build() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("here"), "x").unwrap();
    let path = directory.path().join("t.yml");
    let text = format!(
        "{HEAD}systemConfig: {{additionalFiles: [
  {{local: here, final: /a}}, {{local: gone, final: /b}}, {{local: ../additionalfiles/99-dhcp-en.network, final: /c}}]}}"
    );
    std::fs::write(&path, text).unwrap();
    let loaded = load(&path).unwrap();
    let files = &loaded.template.system.additional_files;
    assert_eq!(files[0].source, FileSource::Host(directory.path().join("here")));
    assert!(matches!(&files[2].source, FileSource::Embedded(bytes) if bytes.starts_with(b"# Wired")));
    let shown = format!("{}\n{}", loaded.warnings, template::check_buildable(&loaded));
    let shown = shown.replace(directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(shown, @r#"
    DIR/t.yml:4:37: warning: systemConfig.additionalFiles[1].local: "gone" is not there, or is no regular file
      4 |   {local: here, final: /a}, {local: gone, final: /b}, {local: ../additionalfiles/99-dhcp-en.network, final: /c}]}
        |                                     ^^^^
      hint: looked for DIR/gone
    DIR/t.yml:4:37: error: systemConfig.additionalFiles[1].local: there is no file DIR/gone
      4 |   {local: here, final: /a}, {local: gone, final: /b}, {local: ../additionalfiles/99-dhcp-en.network, final: /c}]}
        |                                     ^^^^
    "#);
}

#[test]
fn what_only_shows_after_the_merge_is_told_too() {
    for (text, expected) in [
        // The default's partitions do not fit on the user's disk.
        (
            "disk: {name: d, size: 500MiB}",
            "disk.partitions[0].end: lies beyond the disk",
        ),
        (
            "disk: {name: d, partitions: [{start: 1MiB, end: '0'}]}",
            "disk.partitions: no partition is mounted at /",
        ),
        (
            "disk: {name: d, partitions: [{start: 1MiB, end: '0', fsType: ext4, mountPoint: /}]}",
            "disk.partitions: there is no EFI system partition",
        ),
    ] {
        let findings = load_text(&format!("{HEAD}{text}")).unwrap_err().to_string();
        assert!(findings.contains(expected), "{findings}");
    }
    let unknown = HEAD.replace("x86_64", "armv7hl");
    assert!(
        load_text(&unknown)
            .unwrap_err()
            .to_string()
            .contains("there is no provider debian-debian13-armv7hl")
    );
}

#[test]
fn what_cannot_be_built_yet_is_refused_field_by_field() {
    let text = format!(
        "{HEAD}
disk:
  name: d
  size: 4GiB
  artifacts: [{{type: raw, compression: xz}}, {{type: qcow2}}]
  partitions:
    - {{id: boot, type: esp, start: 1MiB, end: 100MiB, fsType: fat32, mountPoint: /boot/efi, flags: [msftres]}}
    - {{id: root, start: 100MiB, end: '0', fsType: xfs, mountPoint: /}}
systemConfig:
  immutability: {{enabled: true, secureBootDBKey: a.key, secureBootDBCrt: a.crt, secureBootDBCer: a.cer}}
  bootloader: {{bootType: legacy, provider: grub}}
  users: [{{name: a, password: p, hash_algo: yescrypt}}]
  kernel: {{uki: false}}
"
    );
    let loaded = load_text(&text).unwrap();
    assert!(loaded.warnings.to_string().contains("no partition for the hashes"));
    let refused: Vec<String> = template::check_buildable(&loaded)
        .iter()
        .map(|f| f.field.clone())
        .collect();
    let mut expected = vec![
        "disk.partitions[0].flags[0]",
        "disk.partitions[1].fsType",
        // GRUB has no key of the user's, and none of three files is there.
        "systemConfig.immutability",
        "systemConfig.immutability",
        "systemConfig.immutability",
        "systemConfig.immutability",
        "systemConfig.immutability.enabled",
        "systemConfig.kernel.uki",
    ];
    if std::env::consts::ARCH != "x86_64" {
        expected.insert(0, "target.arch");
    }
    assert_eq!(refused, expected);
}

/// Compiles the patterns of a table; an invalid one would refuse every text.
fn patterns(shape: &Shape) -> usize {
    let text = |rule: &oic::yaml::schema::Text| {
        rule.pattern.map_or(0, |(pattern, _)| {
            regex::Regex::new(pattern).unwrap();
            1
        })
    };
    match shape {
        Shape::Text(rule) | Shape::Plain(rule) => text(rule),
        Shape::List { item, .. } => patterns(item),
        Shape::Map(fields) => fields.iter().map(|field: &Field| patterns(&field.shape)).sum(),
        Shape::Table { key, value } => text(key) + patterns(value),
        Shape::Int { .. } | Shape::Number | Shape::Bool | Shape::Any => 0,
    }
}

#[test]
fn all_patterns_compile() {
    assert!(patterns(&Shape::Map(template::schema::TEMPLATE)) > 10);
    assert!(patterns(&Shape::Map(oic::config::fields())) > 1);
}

#[test]
fn it_is_known_what_asks_for_a_package() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yml");
    let system = "systemConfig:\n  name: s\n  packages:\n    - chrony\n    - vim=2:9.1\n";
    std::fs::write(
        &path,
        format!("{HEAD}{system}  kernel: {{packages: [linux-image-cloud-amd64]}}\n"),
    )
    .unwrap();
    let loaded = load(&path).unwrap();
    let asked = |name: &str| loaded.asked_by(name).unwrap_or_default();
    assert_eq!(asked("chrony"), format!("{}:6", path.display()));
    assert_eq!(asked("vim"), format!("{}:7", path.display()));
    assert_eq!(asked("linux-image-cloud-amd64"), format!("{}:8", path.display()));
    let default = asked("systemd-timesyncd");
    assert!(
        default.starts_with("the default template of debian-debian13-x86_64 (") && default.contains("raw.yml:"),
        "{default}"
    );
    assert_eq!(asked("dash"), "the base packages of debian-debian13-x86_64");
    assert_eq!(loaded.asked_by("libc6"), None);
    assert_eq!(loaded.own_packages, ["chrony", "vim=2:9.1"]);
}
