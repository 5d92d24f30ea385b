//! Installing `.rpm` packages into a plain directory, against `dnf --installroot` with the same package files.
//! The directories of both lie in memory, as that of a base does in a build: a disk would be what is measured.
//!
//! `cargo bench --bench rpm` needs root, and what `scripts/host-packages test` installs; the first run makes the
//! RPM distribution of `tests/rpm_fixture`. Runs are interleaved; the medians are compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oic::archive::unpack::UnpackOptions;
use oic::base::BaseRequest;
use oic::cancel::Cancel;
use oic::mount::memory;
use oic::package::{Arch, ResolvedPackage};
use oic::repo::rpm::{FileOwners, Rpm, parse_filelists, parse_primary};
use oic::resolve::{Request, ResolveError, rpm::resolve};
use oic::system::System as _;
use oic::work::Work;
use oic_testkit::rpm_fixture;

const RUNS: usize = 3;
const ROOM_BYTES: u64 = 1 << 30;

fn main() {
    println!("median of {RUNS} interleaved runs, packages at hand");
    println!("{:<36} {:>9} {:>9} {:>7}", "", "dnf", "oic", "ratio");
    for (label, names) in [
        ("base", &["core-packages-container"][..]),
        ("whole system", &rpm_fixture::SYSTEM[..]),
    ] {
        let packages = packages(names);
        let files: Vec<_> = packages.iter().map(|(_, file)| file.clone()).collect();
        let (mut dnf, mut oic) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            dnf.push(time(|root| rpm_fixture::dnf(&files, root)));
            oic.push(time(|root| install(&packages, root)));
        }
        let (dnf, oic) = (median(dnf), median(oic));
        println!(
            "{:<36} {:>8.2}s {:>8.2}s {:>7.2}",
            format!("{label}, {} packages", packages.len()),
            dnf.as_secs_f64(),
            oic.as_secs_f64(),
            oic.as_secs_f64() / dnf.as_secs_f64()
        );
    }
}

fn install(packages: &[(ResolvedPackage, PathBuf)], root: &Path) {
    let request = BaseRequest {
        packages,
        root,
        arch: Arch::X86_64,
        epoch: rpm_fixture::EPOCH,
        helper: Path::new(env!("CARGO_BIN_EXE_oic")),
        unpack: &unpack,
    };
    Rpm.bootstrap(&request, Work::quiet(&Cancel::default())).unwrap();
}

/// Returns `names` and all that they need, in installation order, with their files.
fn packages(names: &[&str]) -> Vec<(ResolvedPackage, PathBuf)> {
    let repository = rpm_fixture::directory().join("azl3");
    let index = |kind| rpm_fixture::index(&repository, kind);
    let records = parse_primary(index("primary"), &"fixture".into(), 500, &|_| true)
        .unwrap()
        .records;
    let request = Request {
        arch: Arch::X86_64,
        packages: names.iter().map(|name| (*name).to_owned()).collect(),
        recommending: Vec::new(),
        include_essential: false,
    };
    let owners =
        |paths: &_| -> Result<FileOwners, ResolveError> { Ok(parse_filelists(index("filelists"), paths).unwrap()) };
    let resolution = resolve(&request, &records, owners).unwrap();
    let with_file = |package: ResolvedPackage| (package.clone(), repository.join(&package.path));
    resolution.packages.into_iter().map(with_file).collect()
}

fn unpack(file: &Path, root: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let root = File::open(root)?;
    oic::archive::rpm::extract(file, root.as_fd(), &UnpackOptions::default())?;
    Ok(())
}

/// How long `work` takes in an empty directory.
fn time(work: impl FnOnce(&Path)) -> Duration {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let _memory = memory::mount(directory.path(), ROOM_BYTES)
        .unwrap()
        .expect("memory is short");
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let begun = Instant::now();
    work(&root);
    begun.elapsed()
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}
