//! `oic new` at a terminal, and the image of the template that it writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;

use crate::support::program::{Oic, Shown, own_mounts};
use crate::support::terminal;
use oic_testkit::{Steps, tool};

#[test]
fn a_template_that_was_asked_for_becomes_an_image() {
    own_mounts();
    let oic = Oic::new("new-template");
    let program = env!("CARGO_BIN_EXE_oic");
    let answers = [
        ("Distribution [debian-debian13-x86_64]: ", ""),
        ("Name of image and host [mine]: ", "kiosk"),
        ("(empty: the distribution's default): ", ""),
        ("first user (empty: none): ", "ann"),
        ("Password of ann (empty: none): ", "secret"),
        ("The same again: ", "secret"),
        ("Packages to add: ", "less"),
        ("[raw]: ", "raw.gz"),
    ];
    terminal::answer(
        terminal::command(&format!("{program} new mine.yml"), &oic.work_dir),
        &answers,
    );
    let template = oic.work_dir.join("mine.yml");
    let template = template.to_str().unwrap();
    let mut steps = Steps::new();
    steps.check("valid", || {
        let valid = oic.run(&["validate", "--strict", template]);
        assert_eq!(valid.code, Some(0), "{}", valid.stderr);
    });
    let report = steps.need("build", || oic.run(&["build", template, "--format", "json"]).json());
    steps.check("delivered", || {
        let artifacts: Vec<_> = report["artifacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        assert!(artifacts[0].ends_with(".raw.gz"), "{artifacts:?}");
        tool("gzip", &["--test", artifacts[0]]);
    });
    steps.check("contents", || {
        let shown = Shown::image(&oic, "debian-debian13-x86_64", "kiosk");
        let read = |path: &str| fs::read_to_string(shown.root().join(path)).unwrap();
        assert_eq!(read("etc/hostname"), "kiosk\n");
        assert!(read("etc/passwd").contains("\nann:x:"));
        assert!(
            read("etc/group")
                .lines()
                .any(|line| line.starts_with("sudo:") && line.ends_with(":ann"))
        );
        assert!(shown.root().join("usr/bin/less").exists());
        assert!(read("etc/systemd/network/99-dhcp-en.network").contains("DHCP"));
    });
    oic.assert_clean();
}
