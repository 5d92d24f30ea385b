//! `oic validate`, `oic schema` and provider data of one's own, through the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty home, and nothing of the caller's environment.
struct Run {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Run {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Exit code, standard output and standard error.
    fn oic(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_oic"))
            .env_clear()
            .env("HOME", self.directory.path())
            .envs(self.variables.iter().cloned())
            .current_dir(self.directory.path())
            .args(args)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn done(&self, args: &[&str]) -> String {
        let (code, out, err) = self.oic(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    }
}

fn template(os: &str, dist: &str, arch: &str, image_type: &str) -> String {
    format!(
        "image: {{name: t, version: '1.0'}}\ntarget: {{os: {os}, dist: {dist}, arch: '{arch}', imageType: {image_type}}}\n"
    )
}

const PROVIDERS: [(&str, &str); 8] = [
    ("azure-linux", "azl3"),
    ("edge-microvisor-toolkit", "emt3"),
    ("redhat-compatible-distro", "el10"),
    ("ubuntu", "ubuntu24"),
    ("ubuntu", "ubuntu26"),
    ("wind-river-elxr", "elxr12"),
    ("debian", "debian12"),
    ("debian", "debian13"),
];

#[test]
fn every_provider_has_defaults_for_all_image_types_and_they_merge_to_themselves() {
    let run = Run::new();
    for (os, dist) in PROVIDERS {
        for (arch, deb_arch) in [("x86_64", "amd64"), ("aarch64", "arm64")] {
            for image_type in ["raw", "img", "iso"] {
                let path = run.write("t.yml", &template(os, dist, arch, image_type));
                let merged = run.done(&["validate", "--merged", path.to_str().unwrap()]);
                assert_eq!(merged, run.done(&["validate", "--merged", path.to_str().unwrap()]));
                let again = run.write("merged.yml", &merged);
                assert_eq!(merged, run.done(&["validate", "--merged", again.to_str().unwrap()]));
                assert!(!merged.contains("${"), "{merged}");
                let is_raw = image_type == "raw";
                assert_eq!(merged.contains(&format!("linux-root-{deb_arch}")), is_raw, "{merged}");
                assert!(merged.contains(&format!("name: default_{image_type}")), "{merged}");
            }
        }
    }
}

/// The shared templates of the older tool lie beside a checkout, or where `OIC_COMPAT_TEMPLATES` says.
#[test]
fn the_shared_templates_merge_the_same_each_time() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/compat/templates");
    let directory = std::env::var_os("OIC_COMPAT_TEMPLATES").map_or(beside, PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&directory) else {
        println!("no shared templates in {}", directory.display());
        return;
    };
    let run = Run::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let path = path.to_str().unwrap();
        run.done(&["validate", path]);
        let merged = run.done(&["validate", "--merged", path]);
        assert_eq!(merged, run.done(&["validate", "--merged", path]), "{path}");
        let again = run.write("merged.yml", &merged);
        assert_eq!(
            merged,
            run.done(&["validate", "--merged", again.to_str().unwrap()]),
            "{path}"
        );
    }
}

#[test]
fn variables_come_from_flags_then_files_then_the_environment() {
    let text = template("debian", "debian13", "${arch}", "raw")
        + "systemConfig:\n  hostname: ${a}-${b}-${c}\n  configurations: [{cmd: 'echo ${HOME} ${a} $${a}'}]\n";
    let run = Run::new()
        .with("OIC_VAR_a", "env")
        .with("OIC_VAR_b", "env")
        .with("OIC_VAR_c", "env")
        .with("OIC_VAR_arch", "x86_64");
    run.write("t.yml", &text);
    run.write("vars.yml", "a: file\nb: 10\n");
    let merged = run.done(&["validate", "--merged", "t.yml", "--vars", "vars.yml", "--var", "a=flag"]);
    assert!(merged.contains("hostname: flag-10-env\n"), "{merged}");
    assert!(merged.contains("echo ${HOME} flag $${a}\n"), "{merged}");
    assert!(merged.contains("arch: x86_64\n"), "{merged}");

    let bare = Run::new();
    bare.write("t.yml", &text);
    let (code, _, err) = bare.oic(&["validate", "t.yml", "--var", "arch=x86_64", "--var", "b=1"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @r#"
    error: the template cannot be used: 2 findings

    t.yml:4:13: error: systemConfig.hostname: the variable "a" is not set
      4 |   hostname: ${a}-${b}-${c}
        |             ^^^^^^^^^^^^^^
      hint: give it: --var a=VALUE, a line in the --vars file, or OIC_VAR_a in the environment; a literal ${ is written $${
    t.yml:4:13: error: systemConfig.hostname: the variable "c" is not set
      4 |   hostname: ${a}-${b}-${c}
        |             ^^^^^^^^^^^^^^
      hint: give it: --var c=VALUE, a line in the --vars file, or OIC_VAR_c in the environment; a literal ${ is written $${
    "#);
    let (code, _, err) = bare.oic(&["validate", "t.yml", "--var", "no value"]);
    assert_eq!(
        (code, err.contains("\"no value\" is not of the form NAME=VALUE")),
        (2, true),
        "{err}"
    );
}

/// The example of docs/providers.md.
fn documented_provider() -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md")).unwrap();
    let (_, rest) = text.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_directory_of_ones_own_adds_and_overrides_providers() {
    let run = Run::new();
    let directory = run.directory.path().join("conf");
    let run = run.with("OIC_CONFIG_DIR", directory.to_str().unwrap());
    run.write("conf/providers/acme/acme1/provider.yml", &documented_provider());
    run.write("conf/keys/acme.gpg", "not looked at before a build");
    let default = template("acme", "acme1", "${arch}", "raw")
        + "disk:\n  name: d\n  size: 1GiB\n  partitions:\n\
           \x20   - {id: esp, type: esp, fsType: fat32, start: 1MiB, end: 101MiB, mountPoint: /boot/efi}\n\
           \x20   - {id: root, type: 'linux-root-${deb_arch}', fsType: ext4, start: 101MiB, end: '0', mountPoint: /}\n\
           systemConfig: {name: acme, packages: [acme-tools], kernel: {cmdline: 'console=${console}'}}\n";
    run.write("conf/providers/acme/acme1/defaults/raw.yml", &default);
    run.write("t.yml", &template("acme", "acme1", "x86_64", "raw"));
    let merged = run.done(&["validate", "--merged", "t.yml"]);
    assert!(merged.contains("acme-tools") && merged.contains("console=ttyS0") && merged.contains("linux-root-amd64"));
    run.done(&["validate", "t.yml"]);

    // One file of oic's own exchanged, the rest as it is.
    let own = run.done(&["validate", "--merged", "debian13-x86_64-minimal"]);
    let changed = "image: {name: d, version: '13'}\ntarget: {os: debian, dist: debian13, arch: '${arch}', imageType: iso}\n\
        systemConfig: {name: mine, additionalFiles: [{local: ../additionalfiles/note, final: /note}]}\n";
    run.write("conf/providers/debian/debian13/defaults/iso.yml", changed);
    let note = run.write("conf/providers/debian/debian13/additionalfiles/note", "x");
    assert_eq!(own, run.done(&["validate", "--merged", "debian13-x86_64-minimal"]));
    run.write("iso.yml", &template("debian", "debian13", "x86_64", "iso"));
    let merged = run.done(&["validate", "--merged", "iso.yml"]);
    assert!(merged.contains("name: mine"), "{merged}");
    assert!(note.is_file() && merged.contains("additionalfiles/note"), "{merged}");

    // What is wrong with it has its place.
    run.write(
        "conf/providers/acme/acme1/provider.yml",
        "os: acme\ndist: acme2\nkeyz: x\n",
    );
    let (code, _, err) = run.oic(&["validate", "t.yml"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("provider.yml:3:1: error: keyz: there is no such field"),
        "{err}"
    );
    assert!(
        err.contains("describes providers/acme/acme2 but lies in providers/acme/acme1"),
        "{err}"
    );
}

#[test]
fn an_unknown_system_is_answered_with_the_known_ones() {
    let run = Run::new();
    run.write("t.yml", &template("ubunto", "ubuntu24", "x86_64", "raw"));
    let (code, _, err) = run.oic(&["validate", "t.yml"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("\"ubunto\" is not a known value") && err.contains("did you mean \"ubuntu\""),
        "{err}"
    );
    assert!(err.contains("azure-linux, debian, edge-microvisor-toolkit"), "{err}");
    run.write("t.yml", &template("redhat-compatible-distro", "el9", "x86_64", "raw"));
    run.done(&["validate", "t.yml"]);
    let (code, _, err) = run.oic(&["validate", "--merged", "t.yml"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("there is no provider redhat-compatible-distro-el9-x86_64"),
        "{err}"
    );
}
