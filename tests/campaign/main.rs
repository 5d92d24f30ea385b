//! A campaign against the build host: kills, signals, flipped bits, full disks, builds at once, escapes, mirrors and
//! packages that mean harm. After each attempt, what should be zero is counted; the table at the end is that of
//! `docs/security.md`.
//!
//! `cargo test --test campaign` runs a short form. `make campaign` runs the long one: its environment gives the seed
//! (`CAMPAIGN_SEED`), the most minutes (`CAMPAIGN_MINUTES`) and the program (`CAMPAIGN_OIC`). Needs root.

// Clippy takes only `#[test]` functions for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod escape;
mod flips;
mod full;
mod ground;
mod hostile;
mod kills;
mod mirror_faults;
mod packages;
mod program;
mod random;
mod tally;
mod together;

#[path = "../it/support/escapes.rs"]
#[allow(dead_code)] // what only other tests use
mod escapes;
#[path = "../it/support/mirror.rs"]
#[allow(dead_code)]
mod mirror;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Arguments, Trial};

use ground::{Ground, Scale};
use tally::{Line, Tally};

/// A chapter: its name, its share of the time, and what it does.
type Chapter = (&'static str, u32, fn(&Ground) -> Tally);

const CHAPTERS: [Chapter; 9] = [
    ("SIGKILL", 26, kills::sigkill),
    ("SIGINT, SIGTERM, SIGHUP", 24, kills::signals),
    ("bits flipped by writes", 14, flips::by_write),
    ("bits flipped below the file system", 10, flips::below),
    ("full disks", 8, full::chapter),
    (
        "builds at once, beside gc, verify, clean and mounts",
        5,
        together::chapter,
    ),
    ("escapes from the sandbox", 1, escape::chapter),
    ("mirror faults", 7, mirror_faults::chapter),
    ("hostile packages", 5, hostile::chapter),
];

/// The minutes of the short form, after its first build. A machine that does nothing else needs fewer.
const SHORT_MINUTES: u64 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == hostile::COMMAND) {
        return hostile::unpack(&words[1..]);
    }
    let mut arguments = Arguments::from_args();
    // Each chapter looks at all processes of the program.
    arguments.test_threads = Some(1);
    if !arguments.list {
        oic::mount::namespace::enter_private().expect("the campaign needs root (CAP_SYS_ADMIN)");
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let ground = Arc::new(Mutex::new(None));
    let trials = (0..CHAPTERS.len())
        .map(|number| trial(number, &ground, &lines))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let lines = lines.lock().unwrap();
    if !lines.is_empty() {
        tally::print(&lines);
    }
    conclusion.exit_code()
}

/// Makes the trial of a chapter; the first that runs prepares the ground.
fn trial(number: usize, ground: &Arc<Mutex<Option<(Ground, Instant)>>>, lines: &Arc<Mutex<Vec<Line>>>) -> Trial {
    let (name, share, chapter) = CHAPTERS[number];
    let (ground, lines) = (Arc::clone(ground), Arc::clone(lines));
    Trial::test(name, move || {
        let mut ground = ground.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (ground, end) = ground.get_or_insert_with(prepare);
        let begun = Instant::now();
        let others: u32 = CHAPTERS[number..].iter().map(|(_, share, _)| share).sum();
        ground.scale.until = begun + end.saturating_duration_since(begun) * share / others;
        let tally = chapter(ground);
        let verdict = tally.verdict();
        lines.lock().unwrap().push(Line {
            chapter: name.to_owned(),
            tally,
            took: begun.elapsed(),
        });
        Ok(verdict?)
    })
}

/// Reads the environment, and builds for the first time. Also gives the end of all.
fn prepare() -> (Ground, Instant) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap())
    };
    let minutes = number("CAMPAIGN_MINUTES");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let scale = Scale {
        is_short: minutes.is_none(),
        seed: number("CAMPAIGN_SEED").unwrap_or(now),
        until: Instant::now(),
    };
    let program = std::env::var_os("CAMPAIGN_OIC")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let program = program.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_oic")));
    println!("the seed is {} (CAMPAIGN_SEED={0} repeats this order)", scale.seed);
    let program = program.canonicalize().expect("the program of CAMPAIGN_OIC");
    let ground = Ground::new(scale, Path::new(&program), &mirror::variables());
    let length = Duration::from_secs(60 * minutes.unwrap_or(SHORT_MINUTES));
    (ground, Instant::now() + length)
}
