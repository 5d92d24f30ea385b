//! Writing an initrd against `find | cpio | gzip` of the same files.
//!
//! `cargo bench --bench initrd` needs cpio, gzip and coreutils. The tree consists of this machine's own files. Runs are
//! interleaved, medians compared; everything is synced. What is read is in memory: a build has just written or read it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oic::cancel::Cancel;
use oic::image::archive::{self, Format, Inputs};
use oic::image::artifacts::{self, Order};
use oic::image::earlier::{self, Earlier};
use oic::image::merged::Merged;
use oic::model::{Artifact, ArtifactFormat, Compression};
use oic::overlay::directory::DirectoryLayer;
use oic::work::Work;
use uuid::Uuid;

const RUNS: usize = 5;
const MIB: u64 = 1 << 20;
/// What a run makes: the compression, and the most of the time of the peer that it may take.
const CASES: [(Compression, f64); 2] = [(Compression::Gzip, 0.55), (Compression::Zstd, 0.1)];

fn main() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-initrd");
    oic::durable::remove_tree(&root).unwrap();
    let bench = Bench::new(&root);
    for (compression, limit) in CASES {
        bench.compare(compression, limit);
    }
    oic::durable::remove_tree(&root).unwrap();
}

struct Bench {
    directory: PathBuf,
}

impl Bench {
    fn new(directory: &Path) -> Self {
        for (from, limit) in [
            ("/usr/bin", 60 * MIB),
            ("/usr/share", 60 * MIB),
            ("/usr/lib", 260 * MIB),
        ] {
            fill(Path::new(from), &directory.join("tree").join(&from[1..]), limit);
        }
        Self {
            directory: directory.to_owned(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn compare(&self, compression: Compression, limit: f64) {
        let (mut own, mut same, mut other) = (Vec::new(), Vec::new(), Vec::new());
        let peer = "cd tree && find . | cpio -o -H newc --quiet | gzip > ../peer.img && sync ../peer.img";
        // The first run only warms up.
        for run in 0..=RUNS {
            for name in ["record", "artifacts"] {
                let _ = fs::remove_file(self.at(name));
            }
            let fresh = time(|| self.make(compression));
            let again = time(|| self.make(compression));
            let peer = time(|| self.shell(peer));
            if run > 0 {
                own.push(fresh);
                same.push(again);
                other.push(peer);
            }
        }
        let unpacked = fs::metadata(self.at("state")).unwrap().len() / MIB;
        let (own, same, other) = (median(&own), median(&same), median(&other));
        println!(
            "{compression:?}, {unpacked} MiB: {own:.2} s, {:.3} of the time of find | cpio | gzip (to reach: {limit}); \
             nothing changed {:.3}",
            own / other,
            same / other
        );
    }

    /// As a build does it, from opening the layers on.
    fn make(&self, compression: Compression) {
        let cancel = Cancel::default();
        let work = Work {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ..Work::quiet(&cancel)
        };
        let state = self.at("state");
        let before = Earlier::set_aside(std::slice::from_ref(&state), &self.at("record"), &self.at("aside")).unwrap();
        let layer = DirectoryLayer::open(&self.at("tree")).unwrap();
        let merged = Merged::new(vec![Arc::new(layer)]).unwrap();
        let inputs = Inputs {
            merged: &merged,
            format: Format::Cpio,
            uuid: Uuid::from_u128(7),
            epoch_seconds: 1_700_000_000,
        };
        let (summary, _) = archive::write(&state, inputs, before, work).unwrap();
        let order = Order {
            raw: &state,
            directory: &self.directory,
            tree: Some(&summary.tree),
            stem: "image",
            artifacts: &[Artifact {
                format: ArtifactFormat::Img,
                compression: Some(compression),
                level: None,
            }],
            beside: &[],
            record: &self.at("artifacts"),
            uuid: summary.uuid,
            with_all_digests: false,
        };
        artifacts::make(order, work).unwrap();
        earlier::remember(&state, &summary.drawn, &summary.tree, &self.at("record")).unwrap();
    }

    fn shell(&self, script: &str) {
        let mut command = Command::new("sh");
        let output = command
            .args(["-c", script])
            .current_dir(&self.directory)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {stderr}");
    }
}

/// Copies files below `from` until `limit` bytes were taken.
fn fill(from: &Path, to: &Path, limit: u64) {
    let mut left = limit;
    let mut stack = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = stack.pop().filter(|_| left > MIB) {
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(&from).unwrap().map(Result::unwrap) {
            let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
            if kind.is_dir() {
                stack.push((entry.path(), target));
            } else if kind.is_file() && entry.metadata().unwrap().len() <= left {
                left -= fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64()
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}
