//! Several templates in one call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::program::{INTERRUPTED_WITHIN, Oic};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oic_testkit::{Steps, image_digest};
use serde_json::Value;

fn template(oic: &Oic, name: &str, command: &str) -> String {
    let directory = oic.work_dir.join("templates");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(format!("{name}.yml"));
    let text = format!(
        "image: {{name: several, version: \"1.0\"}}\n\
         target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}\n\
         disk: {{name: d, size: 2GiB}}\n\
         systemConfig:\n  name: {name}\n  hostname: {name}\n  packages: [sudo]\n\
         \x20 configurations: [{{cmd: \"{command}\"}}]\n\
         \x20 kernel: {{packages: [linux-image-cloud-amd64]}}\n"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn image(oic: &Oic, name: &str) -> PathBuf {
    oic.provider_dir().join("imagebuild").join(name).join("several-13.raw")
}

fn digest(oic: &Oic, name: &str) -> String {
    image_digest::of(&image(oic, name))
}

/// One test, since each part needs what the one before made.
#[test]
fn several_templates_share_their_work() {
    let oic = Oic::new("several");
    let [first, second] = ["first", "second"].map(|name| template(&oic, name, "true"));
    let mut steps = Steps::new();
    let run = steps.need("both at once", || {
        oic.run(&["build", &first, &second, "--format", "json"])
    });
    let reports = run.json();
    oic.assert_clean();
    let both = [&reports[0], &reports[1]];
    steps.check("shared work", || work_is_shared(both, &run.stderr));
    steps.check("alone", || {
        the_images_are_what_they_are_alone(&oic, &both, &[&first, &second])
    });
    steps.check("one fails", || {
        one_that_fails_does_not_stop_the_other(&oic, &first, both[0])
    });
    steps.check("interrupt", || an_interrupt_ends_all_of_them(&oic));
}

fn work_is_shared(reports: [&Value; 2], told: &str) {
    let of = |at: usize| reports[at];
    assert_eq!(
        (&of(0)["system_config"], &of(1)["system_config"]),
        (&"first".into(), &"second".into())
    );
    // Made by one of them, whichever came first.
    let reused = |part: &Value| part["reused"].as_bool().unwrap();
    let count = |part: fn(&Value) -> &Value| {
        [of(0), of(1)]
            .into_iter()
            .filter(|report| !reused(part(report)))
            .count()
    };
    assert_eq!(count(|report| &report["base"]), 1);
    for layer in ["/layers/0", "/layers/1", "/layers/2"] {
        let made = [of(0), of(1)].map(|report| !reused(report.pointer(layer).unwrap()));
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "{layer}");
    }
    let verified = told.lines().filter(|line| line.contains("Verify repositories:"));
    assert_eq!(verified.count(), 1, "{told}");
}

fn the_images_are_what_they_are_alone(beside: &Oic, reports: &[&Value], templates: &[&str]) {
    let oic = beside.sharing_cache("several-alone");
    for (report, template) in reports.iter().zip(templates) {
        let alone = oic.run(&["build", template, "--offline", "--format", "json"]).json();
        assert_eq!(alone["image"]["digest"], report["image"]["digest"], "{template}");
    }
    oic.assert_clean();
}

fn one_that_fails_does_not_stop_the_other(oic: &Oic, first: &str, report: &Value) {
    fs::remove_file(image(oic, "first")).unwrap();
    let broken = template(oic, "broken", "echo deliberate >&2; exit 3");
    let run = oic.run(&["build", &broken, first, "--offline"]);
    run.assert_fails(1, &["deliberate", "exit 3"]);
    oic.assert_clean();
    assert_eq!(digest(oic, "first"), report["image"]["digest"]);
    assert!(!image(oic, "broken").exists());
}

/// While one works for both and the other waits for it.
fn an_interrupt_ends_all_of_them(beside: &Oic) {
    let oic = beside.sharing_cache("several-interrupted");
    let [first, second] = ["first", "second"].map(|name| template(&oic, name, "true"));
    let mut command = oic.command(&["build", "--offline", &first, &second]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let logs = ["first", "second"].map(|name| image(&oic, name).with_file_name("build.log"));
    let installs = |log: &PathBuf| fs::read_to_string(log).is_ok_and(|text| text.contains("=== Install\n"));
    while !logs.iter().any(installs) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before one was installing"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(logs.iter().all(|log| log.exists()), "both have begun");
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(begun.elapsed() < INTERRUPTED_WITHIN, "{:?}", begun.elapsed());
    oic.assert_clean();
}
