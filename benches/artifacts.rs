//! Delivered files against the programs that people use for them.
//!
//! `cargo bench --bench artifacts` needs pigz, zstd, xz-utils, bzip2, qemu-utils and coreutils. The disk is sparse and holds files of
//! this machine; the peers get the same data without the holes. Runs are interleaved, medians compared. Everything is
//! in memory but where it says cold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use oic::cancel::Cancel;
use oic::image::artifacts::{self, Order};
use oic::image::digest;
use oic::model::{Artifact, ArtifactFormat, Compression};
use oic::work::Work;
use uuid::Uuid;

const RUNS: usize = 5;
const MIB: u64 = 1 << 20;
/// The size of the disk and of the data in it, for methods that are fast and for those that are slow.
const FAST: (u64, u64) = (4096 * MIB, 384 * MIB);
const SLOW: (u64, u64) = (512 * MIB, 64 * MIB);

fn main() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-artifacts");
    oic::durable::remove_tree(&root).unwrap();
    let fast = Disk::new(&root.join("fast"), FAST);
    let slow = Disk::new(&root.join("slow"), SLOW);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    fast.against(Compression::Gzip, 6, &format!("pigz -6 -p {threads}"));
    fast.against(Compression::Zstd, 3, "zstd -q -3 -T0");
    fast.against(Compression::Zstd, 6, "zstd -q -6 -T0");
    slow.against(Compression::Xz, 6, "xz -6 -T0");
    slow.against(Compression::Bzip2, 9, "bzip2 -9");
    fast.again();
    fast.two_at_once();
    fast.containers();
    oic::durable::remove_tree(&root).unwrap();
}

/// A sparse disk, and its data alone.
struct Disk {
    directory: PathBuf,
    data_bytes: u64,
}

impl Disk {
    fn new(directory: &Path, (size_bytes, data_bytes): (u64, u64)) -> Self {
        fs::create_dir_all(directory).unwrap();
        let data = files_of_this_machine(data_bytes);
        fs::write(directory.join("data"), &data).unwrap();
        let raw = File::create(directory.join("image.raw")).unwrap();
        raw.set_len(size_bytes).unwrap();
        // A quarter at each of four places, as partitions and groups of blocks are.
        let part = data.len() / 4;
        for (number, piece) in (0..).zip(data.chunks(part)) {
            raw.write_all_at(piece, number * (size_bytes / 4) * 9 / 10 + MIB)
                .unwrap();
        }
        raw.sync_all().unwrap();
        Self {
            directory: directory.to_owned(),
            data_bytes,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes `artifacts`; only from the record of the run before if `again`.
    fn make(&self, artifacts: &[Artifact], again: bool) -> Duration {
        let record = self.at("record");
        if !again {
            let _ = fs::remove_file(&record);
        }
        let cancel = Cancel::default();
        let work = Work {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ..Work::quiet(&cancel)
        };
        // A build knows it from writing the image.
        let tree = again.then(|| digest::of_file(&self.at("image.raw"), work).unwrap());
        let order = Order {
            raw: &self.at("image.raw"),
            directory: &self.directory,
            tree: tree.as_ref(),
            stem: "image",
            artifacts,
            beside: &[],
            record: &record,
            uuid: Uuid::from_u128(7),
            with_all_digests: false,
        };
        time(|| drop(artifacts::make(order, work).unwrap()))
    }

    fn shell(&self, script: &str) -> Duration {
        time(|| {
            let mut command = Command::new("sh");
            let output = command
                .args(["-c", script])
                .current_dir(&self.directory)
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{script}: {stderr}");
        })
    }

    /// Compresses the disk, and its data by `peer`, a command from stdin to stdout.
    fn against(&self, method: Compression, level: u32, peer: &str) {
        let artifact = [compressed(method, level)];
        let name = artifacts::file_name("image", &artifact[0]);
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            own.push(self.make(&artifact, false));
            other.push(self.shell(&format!("{peer} < data > data.packed && sync data.packed")));
        }
        let size = |name: &str| fs::metadata(self.at(name)).unwrap().len() as f64;
        println!(
            "{name} at level {level}: {:.2} s, {:.0} MB/s; {:.2} of the time of {peer}, {:.3} of its bytes",
            median(&own),
            self.data_bytes as f64 / median(&own) / 1e6,
            median(&own) / median(&other),
            size(&name) / size("data.packed")
        );
    }

    /// Makes the `.gz` again when nothing and when one file has changed, against a copy of it.
    fn again(&self) {
        let artifact = [compressed(Compression::Gzip, 6)];
        self.make(&artifact, true);
        let raw = File::options().write(true).open(self.at("image.raw")).unwrap();
        let (mut same, mut changed, mut copy) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..RUNS as u64 {
            same.push(self.make(&artifact, true));
            raw.write_all_at(&vec![run as u8 + 1; 200_000], 40 * MIB).unwrap();
            changed.push(self.make(&artifact, true));
            copy.push(self.shell("cp image.raw.gz copy.gz && sync copy.gz"));
        }
        let copy = median(&copy);
        println!(
            "image.raw.gz again: nothing changed {:.2}, one file changed {:.2} of the time of cp ({copy:.3} s)",
            median(&same) / copy,
            median(&changed) / copy
        );
    }

    /// Makes the `.gz` and another format at once, against the `.gz` alone, cold.
    fn two_at_once(&self) {
        let one = [compressed(Compression::Gzip, 6)];
        let two = [one[0].clone(), plain(ArtifactFormat::Vhdx)];
        let (mut alone, mut both) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            self.forget();
            alone.push(self.make(&one, false));
            self.forget();
            both.push(self.make(&two, false));
        }
        let ratio = median(&both) / median(&alone);
        println!("image.raw.gz and image.vhdx, cold: {ratio:.2} of the time of image.raw.gz alone");
    }

    /// Makes each format that is not compressed, against a copy of the raw image and `qemu-img convert`.
    fn containers(&self) {
        let formats = [
            (ArtifactFormat::Qcow2, "qcow2"),
            (ArtifactFormat::Vhd, "vpc -o subformat=fixed,force_size=on"),
            (ArtifactFormat::VhdDynamic, "vpc -o subformat=dynamic,force_size=on"),
            (ArtifactFormat::Vhdx, "vhdx"),
            (ArtifactFormat::VmdkSparse, "vmdk"),
            (ArtifactFormat::Vdi, "vdi"),
            (ArtifactFormat::Vmdk, "vmdk -o subformat=streamOptimized"),
            (ArtifactFormat::Qcow2Zstd, "qcow2 -c -o compression_type=zstd"),
        ];
        for (format, peer) in formats {
            let artifact = [plain(format)];
            let (mut own, mut copy, mut other) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..RUNS {
                own.push(self.make(&artifact, false));
                copy.push(self.shell("cp --sparse=always image.raw copy.raw && sync copy.raw"));
                other.push(self.shell(&format!(
                    "qemu-img convert -f raw -O {peer} image.raw copy.disk && sync copy.disk"
                )));
            }
            println!(
                "{}: {:.2} s; {:.2} of the time of cp, {:.2} of that of qemu-img convert",
                artifacts::file_name("image", &artifact[0]),
                median(&own),
                median(&own) / median(&copy),
                median(&own) / median(&other)
            );
        }
    }

    /// Drops the disk from the page cache.
    fn forget(&self) {
        self.shell("dd if=image.raw iflag=nocache count=0 status=none");
    }
}

fn compressed(method: Compression, level: u32) -> Artifact {
    Artifact {
        format: ArtifactFormat::Raw,
        compression: Some(method),
        level: Some(level),
    }
}

fn plain(format: ArtifactFormat) -> Artifact {
    Artifact {
        format,
        compression: None,
        level: None,
    }
}

/// Reads files of this machine, as an image has them: programs, libraries, texts.
fn files_of_this_machine(limit_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut stack: Vec<PathBuf> = ["/usr/share", "/usr/lib", "/usr/bin"].map(PathBuf::from).to_vec();
    while let Some(path) = stack.pop().filter(|_| (bytes.len() as u64) < limit_bytes) {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            entries.sort();
            stack.extend(entries);
        } else if metadata.is_file() {
            File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            // Files begin at a block of their own.
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
        }
    }
    bytes.truncate(limit_bytes as usize);
    bytes
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
