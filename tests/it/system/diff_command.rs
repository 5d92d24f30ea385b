//! `oic diff`: what ordinary tools do to a tree through the kernel's overlayfs is what is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::store::{Fixture, PROVIDER};
use oic::package::Sha256;
use oic::snapshot::{self, WriteOptions};
use oic_testkit::tool;

/// A base, and an image whose upper is what `script` changed.
fn changed(base: &str, script: &str, options: &str) -> Fixture {
    let fixture = Fixture::full();
    let workspace = fixture.workspace();
    let tree = fixture.root().join("base");
    fs::create_dir(&tree).unwrap();
    shell(&tree, base);
    let write = WriteOptions::new(Sha256::of("key"));
    snapshot::write(&tree, &workspace.tarball(), &workspace.index(), &write).unwrap();
    let upper = workspace.image_build("edge").upper();
    fs::remove_dir_all(&upper).unwrap();
    let [work, at] = ["kernel-work", "at"].map(|name| fixture.root().join(name));
    for directory in [&upper, &work, &at] {
        fs::create_dir(directory).unwrap();
    }
    let mount = Overlay::mount(&tree, &upper, &work, at, options);
    shell(&mount.0, script);
    drop(mount);
    fixture
}

fn shell(directory: &Path, script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
}

/// Unmounted when dropped.
struct Overlay(PathBuf);

impl Overlay {
    fn mount(lower: &Path, upper: &Path, work: &Path, at: PathBuf, options: &str) -> Self {
        let layers = format!(
            "lowerdir={},upperdir={},workdir={},{options}",
            lower.display(),
            upper.display(),
            work.display()
        );
        tool(
            "mount",
            &["-t", "overlay", "overlay", "-o", &layers, at.to_str().unwrap()],
        );
        Self(at)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

const BASE: &str = "
    mkdir -p etc/conf.d opaque/sub gone/deep moved kind
    echo one > etc/one; echo two > etc/two; echo three > etc/three; echo four > etc/four
    echo five > etc/five; echo six > etc/six; echo same > etc/same; ln -s one etc/link
    echo x > gone/deep/x; echo a > opaque/a; echo b > opaque/sub/b; echo c > opaque/c
    echo m > moved/m; echo k > kind/file; mkdir kind/directory; echo i > kind/directory/inside
    mknod device c 1 3; printf '%s' data > sparse
    chmod 755 . etc
";

const SCRIPT: &str = r#"
    echo one >> etc/one                         # content
    touch -d 2001-01-01 etc/two                 # time
    chmod 600 etc/three                         # mode
    chown 7:8 etc/four                          # owner
    setfattr -n user.note -v x etc/five         # attributes
    rm etc/six
    touch -r etc/same ../stamp; echo same > etc/same; touch -r ../stamp etc/same
    ln -sfn two etc/link
    echo new > etc/conf.d/new
    touch etc/passing; rm etc/passing           # nothing
    rm -r gone
    rm -r opaque; mkdir opaque; echo A > opaque/a; mkdir opaque/sub
    rm kind/file; mkdir kind/file; echo f > kind/file/f
    rm -r kind/directory; echo d > kind/directory
    chmod 700 etc
    mkdir -p 'odd/na me'; touch "odd/$(printf 'tab\there')" "odd/$(printf 'byte\377')" 
    rm device; mknod device c 1 5
    truncate -s 1M sparse
"#;

#[test]
fn every_kind_of_change_is_told() {
    let fixture = changed(BASE, SCRIPT, "redirect_dir=off,metacopy=off,index=off");
    let shown = fixture.run(&["diff", PROVIDER, "edge"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    insta::assert_snapshot!(fixture.plain(&shown.stdout), @r"
    M /device  (content, time)
    M /etc/  (mode)
    A /etc/conf.d/new
    M /etc/five  (attributes)
    M /etc/four  (owner)
    M /etc/link  (content, time)
    M /etc/one  (content, time)
    D /etc/six
    M /etc/three  (mode)
    M /etc/two  (time)
    D /gone/
    M /kind/directory  (kind)
    M /kind/file/  (kind)
    A /kind/file/f
    A /odd/
    A /odd/byte\xff
    A /odd/na me/
    A /odd/tab\there
    M /opaque/a  (content, time)
    D /opaque/c
    D /opaque/sub/b
    M /sparse  (content, time)
    6 added, 12 changed, 4 removed; SIZE in files; 1 copied up without a change
    ");
}

#[test]
fn the_json_says_the_same() {
    let fixture = changed(
        "echo 1 > a; echo 2 > b",
        "echo 3 > a; rm b; echo 4 > $(printf 'c\\377')",
        "redirect_dir=off",
    );
    let mut json = fixture.json(&["diff", PROVIDER, "edge"]);
    assert_eq!(json["schema_version"], 1);
    json["changes"][0]["aspects"]
        .as_array_mut()
        .unwrap()
        .retain(|aspect| aspect != "time");
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "schema_version": 1,
      "added": 1,
      "changed": 1,
      "removed": 1,
      "unchanged": 0,
      "changes": [
        {
          "path": "/a",
          "action": "changed",
          "kind": "file",
          "size_bytes": 2,
          "aspects": [
            "content"
          ]
        },
        {
          "path": "/b",
          "action": "removed",
          "kind": "file"
        },
        {
          "path": "/c�",
          "path_bytes": "2f63ff",
          "action": "added",
          "kind": "file",
          "size_bytes": 2
        }
      ]
    }
    "#);
}

#[test]
fn a_renamed_directory_is_compared_with_what_it_was() {
    let fixture = changed(BASE, "mv moved here; echo n > here/n", "redirect_dir=on,metacopy=off");
    let shown = fixture.run(&["diff", PROVIDER, "edge"]);
    insta::assert_snapshot!(fixture.plain(&shown.stdout), @r"
    A /here/  (moved from /moved/)
    A /here/n
    D /moved/
    2 added, 0 changed, 1 removed; SIZE in files; 0 copied up without a change
    ");
}

#[test]
fn an_upper_of_another_base_is_refused() {
    let fixture = Fixture::full();
    let build = fixture.workspace().image_build("edge");
    let below = oic::layer::Below {
        base: Sha256::of("another"),
        layers: Vec::new(),
    };
    below.write(&build.below()).unwrap();
    let run = fixture.run(&["diff", PROVIDER, "edge"]);
    run.assert_fails(1, &["the base was made again", "build the image again"]);
    fixture
        .run(&["diff", PROVIDER, "edg"])
        .assert_fails(1, &["no finished build of \"edg\""]);
    fixture
        .run(&["diff", PROVIDER, "../edge"])
        .assert_fails(2, &["cannot be a name"]);
    fixture.run(&["diff", PROVIDER]).assert_fails(2, &["SYSTEM_CONFIG"]);
}
