//! Several builds at once: templates of one call, and calls beside each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::program::INTERRUPTED_WITHIN;
use crate::support::tiny::{Tiny, provider_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oic_testkit::tiny::Distribution;
use oic_testkit::{Finished, Steps, image_digest};
use serde_json::Value;

/// The templates of two images, and the directories of a build.
struct Pair {
    tiny: Tiny,
    templates: [PathBuf; 2],
}

impl Pair {
    fn new() -> Self {
        let tiny = Tiny::new("several");
        let templates = ["first", "second"].map(|name| Distribution::template(&tiny.oic.work_dir, name, "[hello]"));
        Self { tiny, templates }
    }

    fn template(&self, number: usize) -> &str {
        self.templates[number].to_str().unwrap()
    }

    fn work(&self, name: &str) -> PathBuf {
        self.tiny.oic.work_dir.join(name)
    }

    fn command(&self, work: &str, args: &[&str]) -> Command {
        self.tiny.command(args, [&self.tiny.oic.cache_dir, &self.work(work)])
    }

    /// Runs the program with the work directory `work`, which every build leaves without mounts and temporary files.
    fn run(&self, work: &str, args: &[&str]) -> Finished {
        let finished = Finished::of(&self.command(work, args).output().unwrap());
        self.tiny.oic.assert_clean();
        finished
    }

    fn image(&self, work: &str, name: &str) -> PathBuf {
        let images = provider_dir(&self.work(work)).join("imagebuild");
        images.join(name).join("tiny-13.raw")
    }
}

/// One test, since each part needs what the one before made.
#[test]
fn several_templates_share_their_work() {
    let pair = Pair::new();
    let mut steps = Steps::new();
    let run = steps.need("both at once", || {
        pair.run(
            "work",
            &["build", pair.template(0), pair.template(1), "--format", "json"],
        )
    });
    let reports = run.json();
    let both = [&reports[0], &reports[1]];
    steps.check("shared work", || work_is_shared(both, &run.stderr));
    steps.check("alone", || the_images_are_what_they_are_alone(&pair, both));
    steps.check("two calls", || two_calls_make_the_base_once(&pair, both));
    steps.check("one fails", || one_that_fails_does_not_stop_the_other(&pair, both[0]));
    steps.check("interrupt", || an_interrupt_ends_all_of_them(&pair));
}

fn work_is_shared(reports: [&Value; 2], told: &str) {
    let names = reports.map(|report| report["system_config"].as_str().unwrap());
    assert_eq!(names, ["first", "second"]);
    // Made by one of them, whichever came first.
    let makers = |part: &str| {
        let made = reports.iter().filter(|report| report.pointer(part).unwrap() == false);
        made.count()
    };
    assert_eq!(makers("/base/reused"), 1);
    for layer in 0..3 {
        assert_eq!(makers(&format!("/layers/{layer}/reused")), 1, "{layer}");
    }
    let verified = told.lines().filter(|line| line.contains("Verify repositories:"));
    assert_eq!(verified.count(), 1, "{told}");
}

fn the_images_are_what_they_are_alone(pair: &Pair, reports: [&Value; 2]) {
    for (report, number) in reports.iter().zip(0..) {
        let args = ["build", pair.template(number), "--offline", "--format", "json"];
        let alone = pair.run("alone", &args).json();
        assert_eq!(alone["image"]["digest"], report["image"]["digest"], "{alone}");
    }
}

/// Neither has a base when both begin.
fn two_calls_make_the_base_once(pair: &Pair, reports: [&Value; 2]) {
    let start = |number| {
        let mut command = pair.command("beside", &["build", pair.template(number), "--format", "json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(0), start(1)];
    let beside = children.map(|child| Finished::of(&child.wait_with_output().unwrap()).json());
    for (beside, report) in beside.iter().zip(reports) {
        assert_eq!(beside["image"]["digest"], report["image"]["digest"]);
    }
    let made = beside.iter().filter(|report| report["base"]["reused"] == false);
    assert_eq!(made.count(), 1, "one makes the base, the other waits for it");
    pair.tiny.oic.assert_clean();
}

fn one_that_fails_does_not_stop_the_other(pair: &Pair, report: &Value) {
    let image = pair.image("work", "first");
    fs::remove_file(&image).unwrap();
    let broken = Distribution::template(&pair.tiny.oic.work_dir, "broken", "[hello]");
    let text = fs::read_to_string(&broken).unwrap();
    let failing = "  configurations: [{cmd: \"echo deliberate >&2; exit 3\"}]\n";
    fs::write(&broken, text + failing).unwrap();
    let run = pair.run(
        "work",
        &["build", broken.to_str().unwrap(), pair.template(0), "--offline"],
    );
    run.assert_fails(1, &["deliberate", "exit 3"]);
    assert_eq!(image_digest::of(&image), report["image"]["digest"].as_str().unwrap());
    assert!(!pair.image("work", "broken").exists());
}

/// While one works for both and the other waits for it.
fn an_interrupt_ends_all_of_them(pair: &Pair) {
    let args = ["build", "--offline", pair.template(0), pair.template(1)];
    let mut command = pair.command("interrupted", &args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let logs = ["first", "second"].map(|name| pair.image("interrupted", name).with_file_name("build.log"));
    let installs = |log: &PathBuf| fs::read_to_string(log).is_ok_and(|text| text.contains("=== Install\n"));
    while !logs.iter().any(installs) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before one was installing"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(logs.iter().all(|log| log.exists()), "both have begun");
    let begun = Instant::now();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(begun.elapsed() < INTERRUPTED_WITHIN, "{:?}", begun.elapsed());
    pair.tiny.oic.assert_clean();
}
