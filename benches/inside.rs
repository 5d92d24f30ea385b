//! What `inspect`, `compare`, `sbom` and `verify-image` cost on a built image, beside reading its file once.
//!
//! `OIC_BENCH_IMAGE=image.raw cargo bench --bench inside`; `OIC_BENCH_OTHER` names the image to compare with (by default the
//! same one). Everything is in the page cache: each measurement runs once before it counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::path::PathBuf;
use std::time::Instant;

use oic::cancel::Cancel;
use oic::compare::{Side, compare_files};
use oic::disk::image::Image;
use oic::disk::system::System;
use oic::inspect::{Wanted, inspect};
use oic::installed::{Database, Owners, visit};
use oic::sbom::{Form, Subject, bill};

const RUNS: usize = 5;

fn main() {
    let Some(path) = std::env::var_os("OIC_BENCH_IMAGE").map(PathBuf::from) else {
        println!("OIC_BENCH_IMAGE names the image to measure with");
        return;
    };
    let other = std::env::var_os("OIC_BENCH_OTHER").map_or_else(|| path.clone(), PathBuf::from);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cancel = Cancel::default();
    let wanted = |sizes| Wanted {
        hashes: false,
        sizes,
        threads,
    };
    let report = inspect(&path, wanted(false), &cancel).unwrap();
    let system = report.system.as_ref().unwrap();
    println!(
        "{}: {} packages",
        path.display(),
        system.package_count.unwrap_or_default()
    );
    let read = median(|| drop(std::fs::read(&path).unwrap()));
    show("read the file", read, read);
    show(
        "inspect",
        median(|| drop(inspect(&path, wanted(false), &cancel).unwrap())),
        read,
    );
    show(
        "inspect --size",
        median(|| drop(inspect(&path, wanted(true), &cancel).unwrap())),
        read,
    );
    let layer = System::of(&Image::open(&path).unwrap()).unwrap();
    let subject = Subject {
        name: "bench",
        version: "1",
        epoch_seconds: 0,
        build: None,
        with_files: false,
        threads,
    };
    let documents = || {
        let bill = bill(&layer, &subject).unwrap();
        Form::ALL.map(|form| bill.document(form).len())
    };
    show(
        "sbom, both forms",
        median(|| assert!(documents().iter().all(|bytes| *bytes > 0))),
        read,
    );
    let against = System::of(&Image::open(&other).unwrap()).unwrap();
    let compared = median(|| compare(&layer, &against, threads));
    show("compare, file by file", compared, read * 2.0);
}

/// Compares two systems file by file.
fn compare(one: &System, other: &System, threads: usize) {
    let read = |layer: &System| {
        let database = Database::read(layer).unwrap();
        let owners = Owners::read(layer, &database).unwrap();
        (visit::list(layer, threads), database, owners)
    };
    let (before, after) = (read(one), read(other));
    let from = Side {
        layer: one,
        listing: &before.0,
        database: &before.1,
        owners: &before.2,
    };
    let to = Side {
        layer: other,
        listing: &after.0,
        database: &after.1,
        owners: &after.2,
    };
    drop(compare_files(&from, &to, threads, &Cancel::default()).unwrap());
}

/// Runs `work` and returns the median of its times in seconds.
fn median(work: impl Fn()) -> f64 {
    work();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

fn show(what: &str, seconds: f64, reading: f64) {
    println!(
        "  {what:<24} {:9.1} ms   {:.2} x of reading",
        seconds * 1e3,
        seconds / reading
    );
}
