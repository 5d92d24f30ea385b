//! Commands that are ended at a time that is drawn: SIGKILL, and each signal that a command may handle, once and twice
//! in a row.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ground::{Ground, Site};
use crate::random::Random;
use crate::tally::Tally;

/// The code of a command that a signal has stopped.
const INTERRUPTED: i32 = 130;
/// A command that dies sooner than this may do so before it handles signals; it has not begun its work then.
const BEGINNING: Duration = Duration::from_millis(300);

/// A command, what it has to do, and how often it is drawn.
struct Kind {
    name: &'static str,
    weight: u64,
    args: fn(&Ground, &Site) -> Vec<String>,
    prepare: fn(&Site),
}

fn build(ground: &Ground, _: &Site) -> Vec<String> {
    words(&["build", ground.template().to_str().unwrap()])
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "build from nothing",
        weight: 1,
        args: build,
        prepare: |site| site.forget(&["chrootbuild", "imagebuild"]),
    },
    Kind {
        name: "build that downloads",
        weight: 2,
        args: build,
        prepare: |site| {
            site.forget(&["imagebuild", "chrootbuild/layers"]);
            remove_some_packages(site);
        },
    },
    Kind {
        name: "build that installs",
        weight: 5,
        args: build,
        prepare: |site| site.forget(&["imagebuild", "chrootbuild/layers"]),
    },
    Kind {
        name: "build that writes the image",
        weight: 4,
        args: build,
        prepare: |site| site.forget(&["imagebuild/tiny/.image-record", "imagebuild/tiny/tiny-13.raw"]),
    },
    Kind {
        name: "build again",
        weight: 4,
        args: build,
        prepare: |_| (),
    },
    Kind {
        name: "mount",
        weight: 2,
        args: |_, _| words(&["mount", oic_testkit::tiny::PROVIDER, "--tmp-upper", "--foreground"]),
        prepare: |_| (),
    },
    Kind {
        name: "verify",
        weight: 2,
        args: |_, _| words(&["cache", "verify", "--repair"]),
        prepare: |_| (),
    },
    Kind {
        name: "gc",
        weight: 2,
        args: |_, _| words(&["cache", "gc", "--max-size", "1M"]),
        prepare: |_| (),
    },
];

/// Removes every eighth package from the cache.
fn remove_some_packages(site: &Site) {
    for (number, file) in fs::read_dir(site.packages())
        .into_iter()
        .flatten()
        .flatten()
        .enumerate()
    {
        if number % 8 == 0 && file.path().extension().is_some_and(|end| end == "deb") {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// The time that each command takes when nothing ends it, once it was drawn.
static MEASURED: [OnceLock<Duration>; KINDS.len()] = [const { OnceLock::new() }; KINDS.len()];

/// Draws a command by its weight. The short form leaves out the first, which takes as long as all others together.
fn draw(ground: &Ground, random: &mut Random) -> usize {
    let first = usize::from(ground.scale.is_short);
    let mut number = random.below(KINDS[first..].iter().map(|kind| kind.weight).sum());
    for (at, kind) in KINDS.iter().enumerate().skip(first) {
        match number.checked_sub(kind.weight) {
            Some(rest) => number = rest,
            None => return at,
        }
    }
    unreachable!("the weights add up")
}

/// Prepares `site` for the command and returns its arguments.
fn prepared(ground: &Ground, site: &Site, kind: &Kind) -> Vec<String> {
    (kind.prepare)(site);
    (kind.args)(ground, site)
}

fn measured(ground: &Ground, site: &Site, number: usize) -> Duration {
    let kind = &KINDS[number];
    *MEASURED[number].get_or_init(|| match kind.name {
        // It stays until a signal comes.
        "mount" => Duration::from_millis(600),
        _ => {
            let args = prepared(ground, site, kind);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            ground.measure(site, &args)
        }
    })
}

/// Starts a command that is drawn, and sends it `signals` at a time that is drawn. Returns its kind in words, and how it
/// ended.
fn strike(ground: &Ground, site: &Site, random: &mut Random, signals: &[Signal]) -> (String, crate::program::Ended) {
    let number = draw(ground, random);
    let (kind, took) = (&KINDS[number], measured(ground, site, number));
    let args = prepared(ground, site, kind);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let after = Duration::from_micros(random.below(u64::try_from(took.as_micros()).unwrap()));
    let mut running = ground.start(site, &args);
    running.wait_until(after);
    for signal in signals {
        running.signal(*signal);
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
    let case = format!(
        "{} {signals:?} after {} ms of {} ms",
        kind.name,
        after.as_millis(),
        took.as_millis()
    );
    (case, running.end())
}

/// Ends commands with SIGKILL.
pub fn sigkill(ground: &Ground) -> Tally {
    let planned = ground.scale.count(8, 210);
    let (mut tally, mut random) = (Tally::of(planned), ground.random("sigkill"));
    let site = ground.site("sigkill");
    for _ in 0..planned {
        if !tally.goes_on(&ground.scale) {
            break;
        }
        tally.attempts(1);
        let (case, ended) = strike(ground, &site, &mut random, &[Signal::SIGKILL]);
        ground.check_end(&mut tally, &case, &ended, &[None, Some(0)]);
        ground.check_leftovers(&mut tally, &case, &site, false);
        ground.check_build(&mut tally, &case, &site);
        ground.check_leftovers(&mut tally, &format!("{case}, after the next build"), &site, true);
    }
    tally
}

/// Ends commands with SIGINT, SIGTERM and SIGHUP.
pub fn signals(ground: &Ground) -> Tally {
    let planned = ground.scale.count(9, 315);
    let (mut tally, mut random) = (Tally::of(planned), ground.random("signals"));
    let site = ground.site("signals");
    for number in 0..planned {
        if !tally.goes_on(&ground.scale) {
            break;
        }
        tally.attempts(1);
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let first = all[usize::try_from(number % 3).unwrap()];
        let signals = match random.below(2) {
            0 => vec![first],
            _ => vec![first, *random.one_of(&all)],
        };
        let (case, ended) = strike(ground, &site, &mut random, &signals);
        let codes: &[_] = match ended.took < BEGINNING {
            true => &[Some(0), Some(INTERRUPTED), None],
            false => &[Some(0), Some(INTERRUPTED)],
        };
        ground.check_end(&mut tally, &case, &ended, codes);
        ground.check_leftovers(&mut tally, &case, &site, true);
        // What was ended in the midst of the base leaves nothing to mount.
        let has_base = site.provider().join("chrootbuild/chrootenv.tar.gz").exists();
        if ground.scale.is_short || number % 4 == 3 || !has_base {
            ground.check_build(&mut tally, &case, &site);
        }
    }
    tally
}
