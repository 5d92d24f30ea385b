//! A snapshot read cold and warm against `tar xzf` of the same tarball.
//!
//! The tree is made of some 60 MB of this machine's own programs and documents.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use oic::cancel::Cancel;
use oic::overlay::layer::{Entry, FileKind, Layer, NodeId};
use oic::package::Sha256;
use oic::snapshot::{MemberId, Snapshot, SnapshotPaths, SnapshotSummary, WriteOptions, write};

const TREE_BYTES: u64 = 60 << 20;

/// Copies files below `from` until `limit` bytes were taken.
fn fill(from: &Path, to: &Path, limit: u64) {
    let mut left = limit;
    let mut stack = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = stack.pop() {
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(&from).unwrap().map(Result::unwrap) {
            let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
            if kind.is_dir() {
                stack.push((entry.path(), target));
            } else if kind.is_file() {
                let size = entry.metadata().unwrap().len();
                if size <= left {
                    fs::copy(entry.path(), target).unwrap();
                    left -= size;
                }
            }
        }
    }
}

fn read_all(layer: &dyn Layer, node: NodeId, buffer: &mut [u8]) -> u64 {
    let meta = layer.attributes(node).unwrap();
    let mut total = 0;
    match meta.kind {
        FileKind::Regular => {
            while total < meta.size_bytes {
                total += layer.read_at(node, total, buffer).unwrap() as u64;
            }
        }
        FileKind::Directory => {
            let mut children = Vec::new();
            let mut collect = |entry: Entry<'_>| {
                children.push(entry.node);
                true
            };
            layer.entries(node, 0, &mut collect).unwrap();
            total = children.into_iter().map(|child| read_all(layer, child, buffer)).sum();
        }
        _ => {}
    }
    total
}

fn cold(paths: &SnapshotPaths) -> Snapshot {
    let _ = fs::remove_dir_all(&paths.backing_dir);
    Snapshot::open(paths).unwrap()
}

fn whole(snapshot: &Snapshot) -> u64 {
    read_all(snapshot, snapshot.root(), &mut vec![0; 128 << 10])
}

fn untar(tarball: &Path, out: &Path) -> Duration {
    let _ = fs::remove_dir_all(out);
    fs::create_dir(out).unwrap();
    let started = Instant::now();
    let status = Command::new("tar").arg("-xzf").arg(tarball).arg("-C").arg(out).status();
    assert!(status.unwrap().success());
    started.elapsed()
}

/// Prints how much faster than `tar xzf` the whole of it is read or unpacked, best of three.
fn compare(paths: &SnapshotPaths, summary: &SnapshotSummary, out: &Path) {
    let best = |run: &dyn Fn() -> Duration| (0..3).map(|_| run()).min().unwrap_or_default();
    let timed = |work: &dyn Fn(&Snapshot)| {
        let snapshot = cold(paths);
        let started = Instant::now();
        work(&snapshot);
        started.elapsed()
    };
    let all: Vec<_> = (0..summary.members as u32).map(MemberId).collect();
    let tar = best(&|| untar(&paths.tarball, out));
    let read = best(&|| timed(&|snapshot| assert_eq!(whole(snapshot), summary.content_bytes)));
    let ahead = best(&|| timed(&|snapshot| snapshot.prefetch(&all, 2, &Cancel::default())));
    let ratio = |time: Duration| tar.as_secs_f64() / time.as_secs_f64();
    println!("tar xzf: {tar:.2?}");
    println!("cold full read, 1 thread: {read:.2?}, {:.2} times as fast", ratio(read));
    println!("unpacking, 2 threads: {ahead:.2?}, {:.2} times as fast", ratio(ahead));
}

fn snapshot(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fill(Path::new("/usr/bin"), &at("tree/bin"), TREE_BYTES * 2 / 3);
    fill(Path::new("/usr/share/doc"), &at("tree/doc"), TREE_BYTES / 3);
    let paths = SnapshotPaths {
        tarball: at("chrootenv.tar.gz"),
        index: at("chrootenv.idx"),
        backing_dir: at("chroot"),
    };
    let started = Instant::now();
    let options = WriteOptions::new(Sha256::of("bench"));
    let summary = write(&at("tree"), &paths.tarball, &paths.index, &options).unwrap();
    println!("written in {:.2?}: {summary:?}", started.elapsed());
    compare(&paths, &summary, &at("out"));

    criterion.bench_function("snapshot/open", |bencher| {
        bencher.iter(|| Snapshot::open(&paths).unwrap())
    });
    let warm = Snapshot::open(&paths).unwrap();
    whole(&warm);
    criterion.bench_function("snapshot/read warm", |bencher| bencher.iter(|| whole(&warm)));
    let programs = warm.lookup(warm.root(), "bin".as_ref()).unwrap().unwrap();
    let mut first = None;
    let mut take = |entry: Entry<'_>| {
        first = Some(entry.node);
        false
    };
    warm.entries(programs, 0, &mut take).unwrap();
    criterion.bench_function("snapshot/read one file cold", |bencher| {
        let read = |snapshot: Snapshot| read_all(&snapshot, first.unwrap(), &mut [0; 128 << 10]);
        bencher.iter_batched(|| cold(&paths), read, BatchSize::PerIteration);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    targets = snapshot
}
criterion_main!(benches);
