//! Templates that extend others, through the program: what they merge to, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// A directory with templates, in which the program runs.
struct Templates(tempfile::TempDir);

impl Templates {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a template of the usual target, with `rest` behind its head.
    fn write(&self, name: &str, rest: &str) -> &Self {
        self.file(name, &format!("{HEAD}{rest}"))
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs the program with a home of its own; returns success, standard output and standard error.
    fn oic(&self, args: &[&str]) -> (bool, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_oic"))
            .env_clear()
            .env("HOME", self.path())
            .current_dir(self.path())
            .args(args)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    fn resolved(&self, args: &[&str]) -> String {
        let (is_done, out, err) = self.oic(&[&["resolve"], args].concat());
        assert!(is_done, "{err}");
        out
    }

    /// Validates `t.yml`, which must be refused, and returns the messages.
    fn refused(&self) -> String {
        let (is_done, _, err) = self.oic(&["validate", "t.yml"]);
        assert!(!is_done, "accepted");
        err.replace(&*self.path().canonicalize().unwrap().to_string_lossy(), "DIR")
    }
}

const HEAD: &str =
    "image: {name: t, version: '1.0'}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n";

/// Three templates, and what they are together.
fn three() -> Templates {
    let templates = Templates::new();
    templates
        .write(
            "base/root.yml",
            "systemConfig:\n  name: root\n  hostname: first\n  packages: [vim, less]\n  users: [{name: ada, password: secret, groups: [audio], sudo: true}]\n  configurations: [{cmd: one}]\n",
        )
        .write(
            "base/middle.yml",
            "extends: root.yml\nsystemConfig:\n  hostname: second\n  packages: [less, curl]\n  users: [{name: ada, groups: [video]}, {name: bob}]\n  configurations: [{cmd: two}]\n",
        )
        .write(
            "t.yml",
            "extends: base/middle.yml\nmetadata: {description: own}\nsystemConfig:\n  packages: [git]\n  configurations: [{cmd: three}]\ndisk: {name: big, size: 9GiB}\n",
        );
    templates
}

#[test]
fn a_chain_merges_from_its_root_to_the_template() {
    let templates = three();
    insta::assert_snapshot!(templates.resolved(&["t.yml"]), @r#"
    metadata:
      description: own
    image:
      name: t
      version: "1.0"
    target:
      os: debian
      dist: debian13
      arch: x86_64
      imageType: raw
    disk:
      name: big
      size: 9GiB
    systemConfig:
      name: root
      hostname: second
      users:
      - name: ada
        password: "[REDACTED]"
        groups:
        - audio
        - video
      - name: bob
      packages:
      - vim
      - less
      - curl
      - git
      configurations:
      - cmd: one
      - cmd: two
      - cmd: three
    "#);
    let full = templates.resolved(&["t.yml", "--full"]);
    assert!(
        full.contains("size: 9GiB") && full.contains("linux-root-amd64"),
        "{full}"
    );
    let (is_done, merged, err) = templates.oic(&["validate", "--merged", "t.yml"]);
    assert!(is_done && merged.contains("hostname: second"), "{err}{merged}");
    assert_eq!(full, merged.replace("password: secret", "password: \"[REDACTED]\""));
    let (is_done, out, err) = templates.oic(&["validate", "t.yml"]);
    assert!(is_done && out.contains("t.yml is valid"), "{out}{err}");
}

#[test]
fn each_value_is_shown_with_its_origin() {
    let templates = three();
    let shown = templates.resolved(&["t.yml", "--origin"]);
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    for line in [
        "size: 9GiB # t.yml:8",
        "- git # t.yml:6",
        "hostname: second # base/middle.yml:5",
        "- vim # base/root.yml:6",
        "- less # base/middle.yml:6",
        "name: root # base/root.yml:4",
        "password: \"[REDACTED]\" # base/root.yml:7",
        "- audio # base/root.yml:7",
        "- video # base/middle.yml:7",
    ] {
        assert!(lines.contains(&line), "{line} is not in\n{shown}");
    }
    let full = templates.resolved(&["t.yml", "--origin", "--full"]);
    assert!(
        full.contains("# oic:providers/debian/debian13/defaults/raw.yml:"),
        "{full}"
    );
    // Comments change nothing.
    templates.file("again.yml", &full.replace("\"[REDACTED]\"", "secret"));
    assert_eq!(
        templates.resolved(&["again.yml", "--full"]),
        templates.resolved(&["t.yml", "--full"])
    );
}

#[test]
fn a_value_of_the_command_line_counts_first() {
    let templates = three();
    let set = [
        "--set",
        "systemConfig.hostname=given",
        "--set",
        "systemConfig.packages[1]=nano",
        "--set",
        "systemConfig.kernel.uki=true",
        "--set",
        "image.version=2.10",
        "--set",
        "image.version=3.10",
    ];
    let shown = templates.resolved(&[&["t.yml", "--origin"], &set[..]].concat());
    for line in [
        "  hostname: given # --set",
        "  - nano # --set",
        "  - git # t.yml:6",
        "    uki: true # --set",
        "  version: \"3.10\" # --set",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    let (is_done, out, err) = templates.oic(&[&["validate", "t.yml"], &set[..]].concat());
    assert!(is_done && out.contains("t.yml is valid"), "{out}{err}");
    for (given, expected) in [
        ("systemConfig.hostnme=x", "did you mean \"hostname\"?"),
        (
            "systemConfig.kernel.uki=perhaps",
            "--set: error: systemConfig.kernel.uki: expected true or false",
        ),
        ("disk.size=big", "--set: error: disk.size: \"big\" is not a size"),
        ("disk.partitions[1].end=1GiB", "the template itself has 0 items here"),
        ("image", "--set: it is not of the form FIELD=VALUE"),
    ] {
        let (is_done, _, err) = templates.oic(&["validate", "t.yml", "--set", given]);
        assert!(!is_done && err.contains(expected), "{given}: {err}");
    }
    // A file that it names is looked for as one that the template names.
    templates.file("note", "");
    let file = "systemConfig.additionalFiles=[{local: note, final: /note}]";
    let merged = templates.oic(&["validate", "--merged", "t.yml", "--set", file]);
    assert!(merged.0 && merged.1.contains("/note\n"), "{merged:?}");
}

#[test]
fn a_template_without_a_parent_is_shown_as_it_is() {
    let templates = Templates::new();
    templates.write("t.yml", "extends: ''\nsystemConfig: {hostname: h}\n");
    let (is_done, out, err) = templates.oic(&["resolve", "t.yml"]);
    assert!(
        is_done && out.contains("hostname: h") && !out.contains("extends"),
        "{out}"
    );
    assert!(err.contains("extends no other one"), "{err}");
}

#[test]
fn findings_name_the_file_that_they_are_in() {
    let templates = three();
    templates.write("base/root.yml", "systemConfig:\n  hostnme: x\n");
    templates.write("t.yml", "extends: base/middle.yml\nsystemConfig: {hostname: '-'}\n");
    let refused = templates.refused();
    assert!(
        refused.contains("base/root.yml:4:3: error: systemConfig.hostnme: there is no such field"),
        "{refused}"
    );
    assert!(
        refused.contains("t.yml:4:26: error: systemConfig.hostname"),
        "{refused}"
    );
}

#[test]
fn what_cannot_be_extended_is_refused() {
    let templates = Templates::new();
    let extending = |parent: &str| {
        templates.write("t.yml", &format!("extends: '{parent}'\n"));
        templates.refused()
    };
    templates
        .write("a.yml", "extends: b.yml\n")
        .write("b.yml", "extends: t.yml\n");
    assert!(extending("a.yml").contains(
        "b.yml:3:10: error: extends: the templates extend each other in a circle: t.yml -> a.yml -> b.yml -> t.yml"
    ));
    assert!(extending("./t.yml").contains("in a circle: t.yml -> t.yml"));
    assert!(extending("gone.yml").contains("t.yml:3:10: error: extends: there is no template DIR/gone.yml"));
    assert!(extending("a.yml/b.yml").contains("there is no template"));
    templates.file("text", HEAD);
    assert!(extending("text").contains("must end in .yml or .yaml"));
    fs::create_dir(templates.path().join("directory.yml")).unwrap();
    assert!(extending("directory.yml").contains("directory.yml: error: "));
    std::os::unix::fs::symlink("a.yml", templates.path().join("link.yml")).unwrap();
    assert!(extending("link.yml").contains("is a symbolic link"));

    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("o.yml"), HEAD).unwrap();
    std::os::unix::fs::symlink(outside.path(), templates.path().join("way")).unwrap();
    for path in ["../o.yml", "/etc/o.yml", "x/../../o.yml", "way/o.yml"] {
        let refused = extending(path);
        assert!(
            refused.contains("leads out of DIR, the directory of these templates"),
            "{refused}"
        );
    }
    templates.file("other.yml", &HEAD.replace("debian13", "debian12").replace("raw", "img"));
    let refused = extending("other.yml");
    assert!(
        refused
            .contains("other.yml:2:28: error: target.dist: \"debian12\" is another target than \"debian13\" of t.yml"),
        "{refused}"
    );
    assert!(
        refused.contains("target.imageType: \"img\" is another target"),
        "{refused}"
    );
}

#[test]
fn a_tree_of_templates_has_a_root() {
    let templates = Templates::new();
    templates
        .write(
            "tree/common/base.yml",
            "systemConfig: {hostname: shared, additionalFiles: [{local: files/f, final: /f}]}\n",
        )
        .file("tree/files/f", "from above\n")
        .write("tree/dist/t.yml", "extends: ../common/base.yml\n");
    let (is_done, _, err) = templates.oic(&["validate", "tree/dist/t.yml"]);
    assert!(
        !is_done && err.contains("put an empty file .oic-root into the directory that holds both"),
        "{err}"
    );
    templates.file("tree/.oic-root", "");
    let shown = templates.resolved(&["tree/dist/t.yml"]);
    assert!(
        shown.contains("hostname: shared") && shown.contains("/tree/files/f"),
        "{shown}"
    );
    // The template's own file stands before that of the template it extends.
    templates.file("tree/dist/files/f", "own\n");
    assert!(templates.resolved(&["tree/dist/t.yml"]).contains("/tree/dist/files/f"));
}

#[test]
fn a_long_chain_is_warned_of_and_an_endless_one_refused() {
    let templates = Templates::new();
    let chain = |length: usize| {
        for step in 0..length {
            let extends = if step + 1 < length {
                format!("extends: {}.yml\n", step + 1)
            } else {
                String::new()
            };
            templates.write(&format!("{step}.yml"), &extends);
        }
        templates.oic(&["validate", "0.yml"])
    };
    let (is_done, _, err) = chain(5);
    assert!(is_done && !err.contains("hard to follow"), "{err}");
    let (is_done, _, err) = chain(6);
    assert!(
        is_done && err.contains("0.yml:3:10: warning: extends: the chain of templates has 5 steps"),
        "{err}"
    );
    let (is_done, _, err) = chain(40);
    assert!(!is_done && err.contains("more than 32 steps away"), "{err}");
}
