//! The signature of a unified kernel image of 60 MB against `sbsign` of the same file.
//!
//! `cargo bench --bench sign` needs openssl, sbsigntool and systemd-boot-efi. Runs are interleaved, medians compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use oic::boot::{authenticode, pe};
use oic::image::content::Source;
use oic::sign::key::FileSigner;
use oic::sign::{Certificate, Signer};

const RUNS: usize = 7;
const IMAGE_BYTES: usize = 60_000_000;
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// The longest time that a signature may take, in seconds.
const LIMIT_SECONDS: f64 = 0.1;

fn main() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-sign");
    oic::durable::remove_tree(&directory).unwrap();
    fs::create_dir_all(&directory).unwrap();
    let at = |name: &str| directory.join(name).display().to_string();
    let (key, certificate, image, theirs) = (at("key"), at("crt"), at("image.efi"), at("theirs.efi"));
    run(
        "openssl",
        &format!("req -new -x509 -newkey rsa:2048 -nodes -subj /CN=bench -keyout {key} -out {certificate}"),
    );
    let noise: Vec<u8> = (0..IMAGE_BYTES as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let stub = fs::read(STUB).expect("the package systemd-boot-efi is needed");
    let program = pe::append(stub, vec![(".linux", Source::Bytes(noise))]).unwrap();
    let mut file = fs::File::create(&image).unwrap();
    std::io::copy(&mut program.reader(), &mut file).unwrap();
    let parsed = Certificate::read(Path::new(&certificate)).unwrap();
    let signer: Arc<dyn Signer> = Arc::new(FileSigner::open(Path::new(&key), None, parsed, SystemTime::now()).unwrap());
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..RUNS {
        let start = Instant::now();
        authenticode::signed(&program, &signer).unwrap();
        times[0].push(start.elapsed());
        let start = Instant::now();
        run(
            "sbsign",
            &format!("--key {key} --cert {certificate} --output {theirs} {image}"),
        );
        times[1].push(start.elapsed());
    }
    let [ours, peer] = times.map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        times[RUNS / 2].as_secs_f64()
    });
    println!("signature of a unified kernel image of {} MB", IMAGE_BYTES / 1_000_000);
    println!("  sbsign   {:8.1} ms", peer * 1e3);
    println!(
        "  oic      {:8.1} ms   {:.3} x   (at most {} ms)",
        ours * 1e3,
        ours / peer,
        LIMIT_SECONDS * 1e3
    );
    oic::durable::remove_tree(&directory).unwrap();
}

fn run(program: &str, args: &str) {
    let output = Command::new(program).args(args.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
