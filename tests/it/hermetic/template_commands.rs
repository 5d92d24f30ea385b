//! `oic validate`, `oic schema` and provider data of one's own, through the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::templates::older_templates;
use crate::support::terminal;
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

#[test]
fn templates_are_listed_searched_and_printed() {
    let run = Run::new();
    let all = run.done(&["templates"]);
    assert!(all.contains("debian13-x86_64-minimal  Small Debian 13") && all.contains("debian13-x86_64-edge "));
    let found = run.done(&["templates", "FIREWALL"]);
    assert!(
        found.starts_with("debian13-x86_64-edge ") && found.lines().count() == 1,
        "{found}"
    );
    assert_eq!(run.done(&["templates", "nftables"]), found, "by a keyword");
    let (code, _, message) = run.oic(&["templates", "solaris"]);
    assert!(
        code == 1 && message.contains("no template that oic brings has \"solaris\""),
        "{message}"
    );
    let (code, _, message) = run.oic(&["templates", "--print", "debian13-x86_64-minmal"]);
    assert!(
        code == 1 && message.contains("did you mean debian13-x86_64-minimal?"),
        "{message}"
    );
    let text = run.done(&["templates", "--print", "debian13-x86_64-minimal"]);
    assert!(text.contains("imageType: raw"), "{text}");
}

#[test]
fn a_new_template_takes_options_and_defaults() {
    let run = Run::new();
    let done = run.done(&[
        "new",
        "edge.yml",
        "--user",
        "ann",
        "--packages",
        "curl,less",
        "--output",
        "raw.gz",
        "--yes",
    ]);
    assert_eq!(done, "wrote edge.yml; next: edit it, then sudo oic build edge.yml\n");
    let merged = run.done(&["validate", "edge.yml", "--merged"]);
    for line in [
        "name: edge",
        "hostname: edge",
        "- name: ann",
        "- curl",
        "- less",
        "compression: gz",
        "dist: debian13",
    ] {
        assert!(merged.contains(line), "{line} is not in {merged}");
    }
    let (code, _, message) = run.oic(&["new", "edge.yml", "--yes"]);
    assert!(code == 1 && message.contains("edge.yml is there already"), "{message}");
    let (code, _, message) = run.oic(&["new", "x.yml", "--yes", "--size", "huge"]);
    assert!(code == 1 && message.contains("disk.size"), "{message}");
    let (code, _, message) = run.oic(&["new", "x.yml", "--yes", "--provider", "debian-debian14-x86_64"]);
    assert!(
        code == 1 && message.contains("did you mean debian-debian1"),
        "{message}"
    );
    let (code, _, message) = run.oic(&["new", "x.txt", "--yes"]);
    assert!(code == 2 && message.contains("x.txt does not end in .yml"), "{message}");
    assert!(!run.directory.path().join("x.yml").exists());
}

/// script(1) gives it a terminal, and the answers as if they were typed.
#[test]
fn a_new_template_asks_at_a_terminal() {
    let run = Run::new();
    let answers = [
        ("Distribution [debian-debian13-x86_64]: ", "ubuntu-ubuntu24-x86_64"),
        ("Name of image and host [asked]: ", "kiosk"),
        ("(empty: the distribution's default): ", "8GiB"),
        ("first user (empty: none): ", "ann"),
        ("Password of ann (empty: none): ", "secret"),
        ("The same again: ", "typo"),
        ("These differ.\r\nPassword of ann (empty: none): ", "secret"),
        ("The same again: ", "secret"),
        ("Packages to add: ", "curl less"),
        ("[raw]: ", ""),
    ];
    let program = env!("CARGO_BIN_EXE_oic");
    let mut script = terminal::command(&format!("{program} new asked.yml"), run.directory.path());
    script
        .env_clear()
        .env("HOME", run.directory.path())
        .env("PATH", "/usr/bin:/bin");
    terminal::answer(script, &answers);
    let text = std::fs::read_to_string(run.directory.path().join("asked.yml")).unwrap();
    let hash = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("password: "))
        .unwrap();
    // $6$rounds=N$salt$digest: openssl makes the same of password, rounds and salt.
    let hash = hash.trim_matches('"');
    let salt = hash
        .strip_prefix("$6$")
        .and_then(|rest| rest.rsplit_once('$'))
        .unwrap()
        .0;
    let openssl = Command::new("openssl")
        .args(["passwd", "-6", "-salt", salt, "secret"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(openssl.stdout).unwrap().trim(), hash);
    let merged = run.done(&["validate", "asked.yml", "--merged"]);
    for line in [
        "dist: ubuntu24",
        "hostname: kiosk",
        "size: 8GiB",
        "- name: ann",
        "- less",
    ] {
        assert!(merged.contains(line), "{line} is not in {merged}");
    }
}

fn template(os: &str, dist: &str, arch: &str, image_type: &str) -> String {
    format!(
        "image: {{name: t, version: '1.0'}}\ntarget: {{os: {os}, dist: {dist}, arch: '{arch}', imageType: {image_type}}}\n"
    )
}

const PROVIDERS: [(&str, &str); 9] = [
    ("azure-linux", "azl3"),
    ("edge-microvisor-toolkit", "emt3"),
    ("redhat-compatible-distro", "el10"),
    ("ubuntu", "ubuntu24"),
    ("ubuntu", "ubuntu26"),
    ("wind-river-elxr", "elxr12"),
    ("wind-river-elxr", "elxr13"),
    ("debian", "debian12"),
    ("debian", "debian13"),
];

#[test]
fn every_provider_has_defaults_for_all_image_types_and_they_merge_to_themselves() {
    let run = Run::new();
    for (os, dist) in PROVIDERS {
        for (arch, deb_arch) in [("x86_64", "amd64"), ("aarch64", "arm64")] {
            for image_type in ["raw", "img", "iso", "wsl2"] {
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

#[test]
fn templates_in_the_style_of_the_older_tool_merge_the_same_each_time() {
    let run = Run::new();
    for path in older_templates() {
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
      hint: give it a value: a=VALUE on the command line, a line in a file of variables, or OIC_VAR_a in the environment; a literal ${ is written $${
    t.yml:4:13: error: systemConfig.hostname: the variable "c" is not set
      4 |   hostname: ${a}-${b}-${c}
        |             ^^^^^^^^^^^^^^
      hint: give it a value: c=VALUE on the command line, a line in a file of variables, or OIC_VAR_c in the environment; a literal ${ is written $${
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
    for arguments in [&["validate", "t.yml"][..], &["validate", "--merged", "t.yml"]] {
        let (code, _, err) = run.oic(arguments);
        assert_eq!(code, 1);
        assert!(
            err.contains("there is no provider redhat-compatible-distro-el9-x86_64"),
            "{err}"
        );
    }
}

/// A build says the same of these before it does anything.
#[test]
fn what_a_build_would_refuse_is_told() {
    let run = Run::new();
    let raw = template("debian", "debian13", "x86_64", "raw");
    let disk = |end: &str| {
        format!(
            "disk: {{name: d, size: 2GiB, partitions: [\n\
             {{id: boot, type: esp, start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi}},\n\
             {{id: root, type: linux-root-amd64, start: 513MiB, end: {end}, fsType: ext4, mountPoint: /}}]}}\n"
        )
    };
    let system = |text: &str| format!("{raw}systemConfig: {{name: s, {text}}}\n");
    run.write("tree/sub/f", "f");
    std::fs::create_dir(run.directory.path().join("odd")).unwrap();
    nix::unistd::mkfifo(&run.directory.path().join("odd/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let table = [
        (raw.clone(), 0, "", "is valid\n"),
        (format!("{raw}{}", disk("'0'")), 0, "", "is valid\n"),
        (format!("{raw}{}", disk("2GiB")), 1, "disk.partitions[1].end", ""),
        (
            system("additionalFiles: [{local: tree, final: /opt/tree}]"),
            0,
            "",
            "is valid\n",
        ),
        (
            system("additionalFiles: [{local: odd, final: /opt/odd}]"),
            1,
            "fifo is neither a file, a link nor a directory",
            "",
        ),
        (
            system("additionalFiles: [{local: gone, final: /opt/gone}]"),
            0,
            "\"gone\" is not there",
            "cannot be built",
        ),
        (
            template("debian", "debian13", "aarch64", "iso"),
            0,
            "target.imageType: iso for aarch64 is not built by this version",
            "cannot be built",
        ),
        (
            system("bootloader: {bootType: legacy, provider: grub}"),
            1,
            "no room for the boot loader, which a BIOS starts from",
            "",
        ),
        (
            system("bootloader: {provider: grub}, kernel: {cmdline: \"a='b'\"}"),
            1,
            "systemConfig.kernel.cmdline: GRUB changes",
            "",
        ),
    ];
    for (text, expected, told, said) in table {
        run.write("t.yml", &text);
        let (code, out, err) = run.oic(&["validate", "t.yml"]);
        assert!(
            code == expected && err.contains(told) && out.contains(said),
            "{text}\n{code} {out} {err}"
        );
        assert_eq!(told.is_empty(), err.is_empty(), "{err}");
    }
}

#[test]
fn templates_come_from_streams_and_through_links_too() {
    let run = Run::new();
    let text = template("debian", "debian13", "x86_64", "raw");
    run.write("real/t.yml", &text);
    std::os::unix::fs::symlink("real", run.directory.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/t.yml", run.directory.path().join("link.yml")).unwrap();
    run.done(&["validate", "link.yml"]);
    let shell = |line: &str| {
        let mut command = Command::new("bash");
        command
            .args(["-c", line, env!("CARGO_BIN_EXE_oic")])
            .current_dir(run.directory.path());
        let output = command.env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    for line in [
        "\"$0\" validate - < real/t.yml",
        "cat real/t.yml | \"$0\" validate -",
        "\"$0\" validate /dev/stdin < real/t.yml",
        "\"$0\" validate <(cat real/t.yml)",
    ] {
        let (done, out, err) = shell(line);
        assert!(done && out.contains("is valid"), "{line}: {out} {err}");
    }
    // Its files are relative to the working directory, and a finding names the stream.
    run.write("note", "x");
    run.write(
        "files.yml",
        &format!("{text}systemConfig: {{name: s, additionalFiles: [{{local: note, final: /n}}]}}\n"),
    );
    let (done, out, err) = shell("\"$0\" validate --merged - < files.yml");
    assert!(done && err.is_empty() && out.contains("/note"), "{out} {err}");
    let (done, _, err) = shell("echo 'image: 1' | \"$0\" validate -");
    assert!(!done && err.contains("standard input:1:"), "{err}");
}

/// Puts characters that a terminal obeys or hides into names of files and templates, and looks for them in the output.
#[test]
fn templates_are_formatted_and_nothing_in_them_changes() {
    use std::os::unix::fs::PermissionsExt as _;
    let run = Run::new();
    let ugly = "# mine\nimage:   {name: a}\ndisk:\n     name:  x   # why\n";
    let neat = "# mine\nimage: { name: a }\ndisk:\n  name: x # why\n";
    let path = run.write("t.yml", ugly);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (code, _, err) = run.oic(&["fmt", "--check", "t.yml"]);
    assert!(code == 1 && err.contains("t.yml"), "{err}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), ugly);
    assert_eq!(run.done(&["fmt", "t.yml"]), "t.yml: formatted\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), neat);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(run.done(&["fmt", "t.yml"]), "");
    run.done(&["fmt", "--check", "t.yml"]);
    run.write("bad.yml", "a: [\n");
    run.write("other.yml", ugly);
    let (code, _, err) = run.oic(&["fmt", "bad.yml", "other.yml"]);
    assert!(
        code == 1 && err.contains("bad.yml:") && err.contains("not YAML"),
        "{err}"
    );
    assert_eq!(
        std::fs::read_to_string(run.directory.path().join("other.yml")).unwrap(),
        neat
    );
    let line = "\"$0\" fmt - < bad.yml; printf 'b:    1\n' | \"$0\" fmt -";
    let shell = Command::new("bash")
        .args(["-c", line, env!("CARGO_BIN_EXE_oic")])
        .current_dir(run.directory.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "b: 1\n");
    // What is written here and elsewhere can be formatted.
    let templates = older_templates();
    for path in &templates {
        let source = oic::yaml::read_source(path).unwrap();
        oic::yaml::format(&source).unwrap_or_else(|findings| panic!("{findings}"));
    }
    assert!(templates.len() > 5);
    run.done(&["new", "new.yml", "--yes", "--user", "ann", "--output", "raw.gz"]);
    run.done(&["fmt", "--check", "new.yml"]);
    run.done(&["validate", "new.yml"]);
}

#[test]
fn text_from_outside_is_shown_escaped() {
    let is_hidden = |c: char| {
        let invisible =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        invisible || c.is_control() && c != '\n'
    };
    let run = Run::new();
    for (hidden, escaped) in [
        ('\u{202e}', "\\u{202e}"),
        ('\u{2066}', "\\u{2066}"),
        ('\u{200b}', "\\u{200b}"),
        ('\u{9b}', "\\u{9b}"),
        ('\u{1b}', "\\u{1b}"),
    ] {
        let name = format!("a{hidden}b.yml");
        let unknown = format!("na{}me: x\n", if hidden.is_control() { 'x' } else { hidden });
        run.write(&name, &(template("debian", "debian13", "x86_64", "raw") + &unknown));
        for args in [
            &["validate", &name][..],
            &["validate", "--merged", &name],
            &["validate", &format!("missing{name}")],
            &["mount", &name, &format!("{hidden}")],
            &["cache", "stats", "--work-dir", &format!("/nowhere{hidden}")],
        ] {
            let (_, out, err) = run.oic(args);
            let text = out + &err;
            assert!(!text.contains(is_hidden), "{args:?}: {text:?}");
            assert!(!text.is_empty());
        }
        let (code, _, err) = run.oic(&["validate", &format!("missing{name}")]);
        assert!(code != 0 && err.contains(escaped), "{err:?}");
    }
}
