//! Writing an image against a plain copy of it, and against `mke2fs -d` of the same files.
//!
//! `cargo bench --bench serialize` needs root, e2fsprogs and coreutils. Two trees, made of this machine's own files:
//! one like an image's (a third of its bytes in a packed base that nobody unpacked, the rest in an upper), and one of
//! many small files in large directories. Runs are interleaved, medians compared. Nothing is synced but where it
//! says so. What is read is in memory: a build has just written or read it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oic::cancel::Cancel;
use oic::image::canvas::{Canvas, Drawn};
use oic::image::ext4::{self, Kind, Spec};
use oic::image::merged::Merged;
use oic::image::region::Region;
use oic::image::tree;
use oic::overlay::directory::DirectoryLayer;
use oic::overlay::layer::Layer;
use oic::package::Sha256;
use oic::snapshot::{self, Snapshot, SnapshotPaths, WriteOptions};
use oic::work::Work;
use uuid::Uuid;

const RUNS: usize = 5;
const MIB: u64 = 1 << 20;

fn main() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-serialize");
    oic::durable::remove_tree(&root).unwrap();
    fs::create_dir_all(&root).unwrap();
    like_an_image(&root.join("image")).compare("like an image", 2048);
    many_files(&root.join("many")).compare("many files", 2048);
    oic::durable::remove_tree(&root).unwrap();
}

/// A tree, in layers and as a whole.
struct Case {
    directory: PathBuf,
    base: Option<SnapshotPaths>,
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

fn like_an_image(directory: &Path) -> Case {
    let at = |name: &str| directory.join(name);
    fill(Path::new("/usr/bin"), &at("base/usr/bin"), 60 * MIB);
    fill(Path::new("/usr/share"), &at("base/usr/share"), 60 * MIB);
    fill(Path::new("/usr/lib"), &at("upper/usr/lib"), 260 * MIB);
    fs::create_dir(at("upper/etc")).unwrap();
    fs::write(at("upper/etc/hostname"), "bench\n").unwrap();
    let paths = SnapshotPaths {
        tarball: at("chrootenv.tar.gz"),
        index: at("chrootenv.idx"),
        backing_dir: at("chroot"),
    };
    let options = WriteOptions::new(Sha256::of("bench"));
    snapshot::write(&at("base"), &paths.tarball, &paths.index, &options).unwrap();
    run(Command::new("cp").args(["-a", "base", "whole"]).current_dir(directory));
    run(Command::new("cp")
        .args(["-a", "upper/.", "whole"])
        .current_dir(directory));
    Case {
        directory: directory.to_owned(),
        base: Some(paths),
    }
}

fn many_files(directory: &Path) -> Case {
    for part in 0..4 {
        let at = directory.join(format!("whole/{part}"));
        fs::create_dir_all(&at).unwrap();
        for i in 0..10_000 {
            fs::write(at.join(format!("file-{i}")), format!("{i} ").repeat(i % 300)).unwrap();
        }
    }
    std::os::unix::fs::symlink("whole", directory.join("upper")).unwrap();
    Case {
        directory: directory.to_owned(),
        base: None,
    }
}

#[derive(Default)]
struct Times {
    copy: Vec<Duration>,
    copy_synced: Vec<Duration>,
    mke2fs: Vec<Duration>,
    fresh: Vec<Duration>,
    fresh_synced: Vec<Duration>,
    same: Vec<Duration>,
    changed: Vec<Duration>,
}

impl Case {
    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn compare(&self, name: &str, size_mib: u64) {
        let mut times = Times::default();
        let (mut written, mut written_changed) = (0, 0);
        let upper = self.at("upper").canonicalize().unwrap();
        for run in 0..=RUNS {
            let _ = fs::remove_dir_all(self.at("chroot"));
            let (fresh, (drawn, bytes)) = time(|| self.serialize("image.raw", size_mib, None));
            written = bytes;
            let fresh_synced = fresh + sync(&self.at("image.raw"));
            let (copy, ()) = time(|| self.copy());
            let copy_synced = copy + sync(&self.at("copy.raw"));
            let (mke2fs, ()) = time(|| self.mke2fs(size_mib));
            sync(&self.at("peer.raw"));
            let (same, (_, none)) = time(|| self.serialize("image.raw", size_mib, Some(&drawn)));
            assert_eq!(none, 0);
            fs::write(upper.join("new"), "one file more").unwrap();
            let (changed, (_, bytes)) = time(|| self.serialize("image.raw", size_mib, Some(&drawn)));
            written_changed = bytes;
            fs::remove_file(upper.join("new")).unwrap();
            // The first run only warms up.
            if run > 0 {
                times.copy.push(copy);
                times.copy_synced.push(copy_synced);
                times.mke2fs.push(mke2fs);
                times.fresh.push(fresh);
                times.fresh_synced.push(fresh_synced);
                times.same.push(same);
                times.changed.push(changed);
            }
        }
        self.check();
        let data = used_bytes(&self.at("image.raw"));
        println!(
            "{name}: {} MiB of data, {:.2} of it written; after one more file {:.3}",
            data / MIB,
            written as f64 / data as f64,
            written_changed as f64 / data as f64
        );
        times.print();
    }

    /// As a build does it, from opening the layers on.
    fn serialize(&self, name: &str, size_mib: u64, before: Option<&Drawn>) -> (Drawn, u64) {
        let mut layers: Vec<Arc<dyn Layer>> = vec![Arc::new(DirectoryLayer::open(&self.at("upper")).unwrap())];
        if let Some(base) = &self.base {
            layers.push(Arc::new(Snapshot::open(base).unwrap()));
        }
        let merged = Merged::new(layers).unwrap();
        let tree = tree::collect(merged.overlay(), Path::new("/"), &[], 2).unwrap();
        let path = self.at(name);
        if before.is_none() {
            let _ = fs::remove_file(&path);
        }
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .unwrap();
        file.set_len(size_mib * MIB).unwrap();
        let canvas = Canvas::new(&file, &path, before);
        let spec = Spec {
            kind: Kind::Ext4,
            size_bytes: size_mib * MIB,
            uuid: Uuid::from_u128(1),
            hash_seed: Uuid::from_u128(2),
            label: None,
            epoch_seconds: 1_700_000_000,
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let cancel = Cancel::default();
        let work = Work {
            threads,
            ..Work::quiet(&cancel)
        };
        ext4::write(Region::new(&canvas, 0, spec.size_bytes), &spec, &tree, work).unwrap();
        let written = canvas.written_bytes();
        (canvas.finish().unwrap().0, written)
    }

    fn copy(&self) {
        let _ = fs::remove_file(self.at("copy.raw"));
        run(Command::new("cp")
            .args(["--sparse=always", "image.raw", "copy.raw"])
            .current_dir(&self.directory));
    }

    fn mke2fs(&self, size_mib: u64) {
        let _ = fs::remove_file(self.at("peer.raw"));
        File::create(self.at("peer.raw"))
            .unwrap()
            .set_len(size_mib * MIB)
            .unwrap();
        run(Command::new("mke2fs")
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-E",
                "nodiscard,assume_storage_prezeroed=1",
                "-d",
                "whole",
            ])
            .args(["peer.raw"])
            .current_dir(&self.directory));
    }

    fn check(&self) {
        run(Command::new("e2fsck")
            .args(["-fn", "image.raw"])
            .current_dir(&self.directory));
    }
}

impl Times {
    fn print(&self) {
        let rows = [
            ("cp --sparse=always", &self.copy),
            ("cp --sparse=always, synced", &self.copy_synced),
            ("mke2fs -d", &self.mke2fs),
            ("oic", &self.fresh),
            ("oic, synced", &self.fresh_synced),
            ("oic again, nothing changed", &self.same),
            ("oic again, one file more", &self.changed),
        ];
        let [copy, copy_synced, mke2fs] = [&self.copy, &self.copy_synced, &self.mke2fs].map(|times| median(times));
        println!(
            "{:<30} {:>8} {:>8} {:>10} {:>10}",
            "", "seconds", "to cp", "to synced", "to mke2fs"
        );
        for (name, times) in rows {
            let seconds = median(times);
            println!(
                "{name:<30} {seconds:>8.3} {:>8.2} {:>10.2} {:>10.3}",
                seconds / copy,
                seconds / copy_synced,
                seconds / mke2fs
            );
        }
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64()
}

fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed(), result)
}

fn sync(path: &Path) -> Duration {
    time(|| File::open(path).unwrap().sync_all().unwrap()).0
}

fn used_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).unwrap().blocks() * 512
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}
