//! Containers under the eyes of `qemu-img`, and archives under those of GNU tar, bsdtar and Python.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use super::packed::Packer;
use super::*;
use crate::image::containers::contents::Contents;
use crate::image::tool::tests::{run, run_any};
use crate::image::tree::is_zero;

/// The function of a format that makes `T` for a disk.
type Make<T> = fn(&Disk<'_>) -> T;

/// The formats that are a layout: the word of `qemu-img`, and the function.
const FORMATS: [(&str, Make<Layout>); 6] = [
    ("qcow2", qcow2::layout),
    ("vpc", vhd::fixed),
    ("vpc", vhd::dynamic),
    ("vhdx", vhdx::layout),
    ("vdi", vdi::layout),
    ("vmdk", |disk| vmdk::sparse(disk, "file")),
];
/// The formats with compressed blocks.
const PACKED: [(&str, Make<Box<dyn Packer>>); 2] = [
    ("qcow2", |disk| Box::new(qcow2_packed::Packed::new(disk))),
    ("vmdk", |disk| Box::new(vmdk_stream::Stream::new(disk, "file"))),
];

/// A disk with its raw image, in a directory of its own.
struct Sample {
    directory: tempfile::TempDir,
    raw: File,
    size_bytes: u64,
    ranges: Vec<(u64, u64)>,
}

impl Sample {
    /// Makes a disk with bytes in `ranges`: half of them repeat, the others are as if random.
    fn new(size_bytes: u64, ranges: Vec<(u64, u64)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = File::options();
        let raw = options.create_new(true).read(true).write(true);
        let raw = raw.open(directory.path().join("raw")).unwrap();
        raw.set_len(size_bytes).unwrap();
        let mut state = 1_u64;
        for &(start, end) in &ranges {
            let byte = |at: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(at | 1);
                let is_random = at >> 17 & 1 == 1;
                if is_random {
                    (state >> 33) as u8
                } else {
                    (at >> 9) as u8
                }
            };
            let bytes: Vec<u8> = (start..end).map(byte).collect();
            raw.write_all_at(&bytes, start).unwrap();
        }
        Self {
            directory,
            raw,
            size_bytes,
            ranges,
        }
    }

    fn disk(&self) -> Disk<'_> {
        Disk {
            size_bytes: self.size_bytes,
            ranges: &self.ranges,
            uuid: Uuid::from_u128(0xffff_ffff_0000_0000_0000_0000_0000_0007),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `layout` to a new file.
    fn write(&self, layout: &Layout) -> PathBuf {
        let path = self.path("file");
        let file = File::create(&path).unwrap();
        file.set_len(layout.size_bytes()).unwrap();
        let contents = Contents::new(layout, &self.raw);
        let mut at = 0;
        while at < layout.size_bytes() {
            let (start, end) = contents.next_data(at, layout.size_bytes().min(at + (4 << 20))).unwrap();
            let mut bytes = vec![0; (end - start) as usize];
            contents.read_exact_at(&mut bytes, start).unwrap();
            file.write_all_at(&bytes, start).unwrap();
            at = end;
        }
        path
    }

    /// Writes the blocks of the disk through `packer` to a new file.
    fn pack(&self, packer: &mut dyn Packer) -> PathBuf {
        let path = self.path("file");
        let mut file = BufWriter::new(File::create(&path).unwrap());
        let block_bytes = packer.block_bytes();
        for index in self.disk().blocks(block_bytes) {
            let start = index * block_bytes;
            let mut block = vec![0; block_bytes.min(self.size_bytes - start) as usize];
            self.raw.read_exact_at(&mut block, start).unwrap();
            if !is_zero(&block) {
                let packed = packer.pack()(&block).unwrap();
                packer.append(index, &packed, &mut file).unwrap();
            }
        }
        let head = packer.finish(&mut file).unwrap();
        file.flush().unwrap();
        file.get_ref().write_all_at(&head, 0).unwrap();
        path
    }

    /// Has `qemu-img` compare and check a container of `format`.
    fn judge(&self, format: &str, container: &Path) {
        let raw = self.path("raw");
        let (raw, container) = (raw.to_str().unwrap(), container.to_str().unwrap());
        let (same, text) = run_any(
            "qemu-utils",
            "qemu-img",
            &["compare", "-f", "raw", "-F", format, raw, container],
        );
        assert!(same && !text.contains("Warning"), "{format}: {text}");
        if !["vpc", "raw"].contains(&format) {
            run("qemu-utils", "qemu-img", &["check", "-f", format, container]);
        }
    }
}

/// Disks of up to 100 MB with up to 12 ranges of data.
fn samples() -> impl Strategy<Value = (u64, Vec<(u64, u64)>)> {
    let range = (0..100_u64 << 20, 1..300_000_u64);
    (1..200_000_u64, prop::collection::vec(range, 0..12)).prop_map(|(sectors, ranges)| {
        let size_bytes = sectors * disk::SECTOR_BYTES;
        (size_bytes, tidy(size_bytes, ranges))
    })
}

/// Sorts `ranges` (start and length) and cuts them to a disk of `size_bytes`, so that none touches another.
fn tidy(size_bytes: u64, mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut tidy: Vec<(u64, u64)> = Vec::new();
    for (start, length) in ranges {
        let end = (start + length).min(size_bytes);
        let start = start.max(tidy.last().map_or(0, |(_, end)| end + 1));
        if start < end {
            tidy.push((start, end));
        }
    }
    tidy
}

/// Calls `judge` with some [`samples`].
fn each_sample(cases: u32, judge: impl Fn(Sample)) {
    let mut runner = TestRunner::new(Config {
        cases,
        ..Config::default()
    });
    let judged = runner.run(&samples(), |(size_bytes, ranges)| {
        judge(Sample::new(size_bytes, ranges));
        Ok(())
    });
    judged.unwrap();
}

#[test]
fn every_format_holds_the_disk() {
    each_sample(8, |sample| {
        for (format, make) in FORMATS {
            let layout = make(&sample.disk());
            assert_eq!(layout, make(&sample.disk()));
            sample.judge(format, &sample.write(&layout));
        }
        for (format, make) in PACKED {
            sample.judge(format, &sample.pack(&mut *make(&sample.disk())));
        }
    });
}

/// Tables that are longer than a block, and places beyond 32 bits.
#[test]
fn a_large_disk_costs_what_its_contents_cost() {
    let size_bytes = 9 << 30;
    let ranges = vec![
        (0, 70_000),
        (1 << 30, (1 << 30) + 5_000_000),
        (6 << 30, (6 << 30) + 1),
        (size_bytes - 100_000, size_bytes),
    ];
    let sample = Sample::new(size_bytes, ranges);
    let judge = |format, container: PathBuf| {
        let used = container.metadata().unwrap().blocks() * 512;
        assert!(used < 20 << 20, "{format}: {used}");
        sample.judge(format, &container);
    };
    for (format, make) in FORMATS {
        let layout = make(&sample.disk());
        // qemu-img reads all zeros of a fixed disk.
        if layout != vhd::fixed(&sample.disk()) {
            judge(format, sample.write(&layout));
        }
    }
    for (format, make) in PACKED {
        judge(format, sample.pack(&mut *make(&sample.disk())));
    }
}

/// What clouds read of a file, beyond its data.
#[test]
fn the_clouds_find_what_they_ask_for() {
    let sample = Sample::new(3 << 20, vec![(0, 4096), (2 << 20, (2 << 20) + 100)]);
    let info = |format: &str, path: PathBuf| {
        let path = path.to_str().unwrap();
        run("qemu-utils", "qemu-img", &["info", "-f", format, "--output=json", path])
    };
    let path = sample.write(&vhd::fixed(&sample.disk()));
    assert_eq!(path.metadata().unwrap().len(), (3 << 20) + 512);
    let found = info("vpc", path);
    assert!(found.contains("\"virtual-size\": 3145728"), "{found}");
    let found = info(
        "vmdk",
        sample.pack(&mut vmdk_stream::Stream::new(&sample.disk(), "file")),
    );
    assert!(
        found.contains("streamOptimized") && !found.contains("\"cid\": 4294967295"),
        "{found}"
    );
    let found = info("qcow2", sample.pack(&mut qcow2_packed::Packed::new(&sample.disk())));
    assert!(found.contains("\"compression-type\": \"zstd\""), "{found}");
}

#[test]
fn tar_programs_unpack_the_disk_with_its_holes() {
    let judge = |sample: &Sample| {
        let archive = sample.write(&gcp::layout(&sample.disk()));
        let (archive, directory) = (archive.to_str().unwrap(), sample.directory.path().to_str().unwrap());
        let disk = sample.path("disk.raw");
        let python = format!(
            "import tarfile; f = tarfile.open({archive:?}); m, = f.getmembers(); assert m.issparse(); \
             f.extractall({directory:?})"
        );
        let programs: [(&str, &str, &[&str]); 3] = [
            ("tar", "tar", &["-C", directory, "-xf", archive]),
            ("libarchive-tools", "bsdtar", &["-C", directory, "-xf", archive]),
            ("python3", "python3", &["-c", &python]),
        ];
        for (package, program, arguments) in programs {
            run(package, program, arguments);
            sample.judge("raw", &disk);
            let used = disk.metadata().unwrap().blocks() * 512;
            let stored = Path::new(archive).metadata().unwrap().len();
            assert!(used <= stored + (1 << 20), "{program}: {used} of {stored}");
            std::fs::remove_file(&disk).unwrap();
        }
    };
    each_sample(4, |sample| judge(&sample));
    // A map of several blocks, and places that octal digits cannot hold.
    let many: Vec<_> = (0..60).map(|at| (at << 20, (at << 20) + 1000)).collect();
    judge(&Sample::new(64 << 20, many));
    judge(&Sample::new(20 << 30, vec![(0, 1), (19 << 30, (19 << 30) + 10)]));
}
