//! The hash tree of a partition against `veritysetup format` of the same data, and again after a change of one file.
//!
//! `cargo bench --bench verity` needs cryptsetup-bin. A tenth of the partition is data, as in the older tool's templates.
//! `OIC_BENCH_MIB` is the size of the partition; theirs have 4044. Runs are interleaved, medians compared. What is read is in
//! memory: a build has just written it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use oic::cancel::Cancel;
use oic::image::canvas::{Canvas, Drawn};
use oic::image::region::Region;
use oic::image::verity::{self, Identity};
use oic::work::Work;
use uuid::Uuid;

const RUNS: usize = 5;
const DEFAULT_MIB: u64 = 512;
const MIB: u64 = 1 << 20;
const IDENTITY: Identity = Identity {
    uuid: Uuid::from_u128(7),
    salt: [7; 32],
};

fn main() {
    let mib = std::env::var("OIC_BENCH_MIB").map_or(DEFAULT_MIB, |text| text.parse().unwrap());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-verity");
    oic::durable::remove_tree(&directory).unwrap();
    fs::create_dir_all(&directory).unwrap();
    let disk = Disk {
        path: directory.join("disk"),
        data_bytes: mib * MIB,
    };
    let mut times = [const { Vec::new() }; 3];
    for run in 0..RUNS {
        let (new, drawn) = disk.draw(None, 1);
        times[0].push(new);
        times[1].push(disk.draw(Some(&drawn), 2 + run as u8).0);
        times[2].push(disk.peer());
    }
    let [new, changed, peer] = times.map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        times[RUNS / 2].as_secs_f64()
    });
    println!("hash tree of a partition of {mib} MiB, a tenth of it data");
    println!("  veritysetup format   {:8.1} ms", peer * 1e3);
    for (what, seconds) in [("new", new), ("one file changed", changed)] {
        println!("  {what:<20} {:8.1} ms   {:.4} x", seconds * 1e3, seconds / peer);
    }
    oic::durable::remove_tree(&directory).unwrap();
}

struct Disk {
    path: PathBuf,
    data_bytes: u64,
}

impl Disk {
    /// Writes data, with a file of 64 KiB that holds `file`, and the tree. Returns the time that the tree takes.
    fn draw(&self, before: Option<&Drawn>, file: u8) -> (Duration, Drawn) {
        let cancel = Cancel::default();
        if before.is_none() {
            let _ = fs::remove_file(&self.path);
        }
        let raw = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .unwrap();
        raw.set_len(self.data_bytes + verity::size_bytes(self.data_bytes))
            .unwrap();
        let canvas = Canvas::new(&raw, &self.path, before);
        let data = Region::new(&canvas, 0, self.data_bytes);
        let piece: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8 | 1).collect();
        for place in (0..self.data_bytes / MIB).filter(|place| place % 10 == 0) {
            data.put(place * MIB, &piece).unwrap();
        }
        data.put(MIB, &vec![file; 64 << 10]).unwrap();
        let tree = Region::new(&canvas, self.data_bytes, verity::size_bytes(self.data_bytes));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let work = Work {
            threads,
            ..Work::quiet(&cancel)
        };
        let begun = Instant::now();
        verity::write(data, tree, IDENTITY, work).unwrap();
        (begun.elapsed(), canvas.finish().unwrap().0)
    }

    /// Returns the time of `veritysetup format` over the same data.
    fn peer(&self) -> Duration {
        let at = |name: &str| self.path.with_extension(name);
        let (data, tree) = (at("data"), at("tree"));
        if !data.exists() {
            run(Command::new("cp").arg("--sparse=always").args([&self.path, &data]));
            File::options()
                .write(true)
                .open(&data)
                .unwrap()
                .set_len(self.data_bytes)
                .unwrap();
        }
        File::create(&tree).unwrap();
        let (salt, uuid) = ("07".repeat(32), IDENTITY.uuid.to_string());
        let begun = Instant::now();
        let options = ["format", "--salt", &salt, "--uuid", &uuid];
        run(Command::new("veritysetup").args(options).args([&data, &tree]));
        begun.elapsed()
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("cryptsetup-bin is needed");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
