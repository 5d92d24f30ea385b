//! What a mount costs for a thousand files and for a million: `cargo bench --bench scale`. Needs root and
//! 3 GB in `/dev/shm`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a panic is the report

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oic::layers::{BaseRequest, LayerRequest};
use oic::mount::Restrictions;
use oic::mount::server::Lifetime;
use oic::mount::session::{self, MountRequest, Session};
use oic::package::Sha256;
use oic::snapshot::foreign::{PrepareOptions, prepare};
use oic::snapshot::{SnapshotPaths, WriteOptions, write};
use oic_testkit::scale::{Memory, Place};

fn main() {
    oic::mount::namespace::enter_private().expect("this bench needs root");
    println!(
        "{:>10} {:>9} {:>10} {:>10} {:>12} {:>14} {:>14}",
        "snapshot", "files", "mount", "stat one", "find", "anonymous", "mapped"
    );
    let ours = [1_000, 1_000_000].map(|files| ("own", files, own(files)));
    let theirs = [1_000, 1_000_000].map(|files| ("elsewhere", files, foreign(files)));
    let places: Vec<_> = ours.into_iter().chain(theirs).collect();
    let mut mounting = vec![Vec::new(); places.len()];
    for _ in 0..15 {
        for ((_, _, place), times) in places.iter().zip(&mut mounting) {
            times.push(mount(place).1);
        }
    }
    for ((kind, files, place), mut times) in places.into_iter().zip(mounting) {
        times.sort();
        let (session, _) = mount(&place);
        let start = Instant::now();
        std::fs::metadata(session.mount_point().join("many/f77")).unwrap();
        let one = start.elapsed();
        let start = Instant::now();
        let find = Command::new("find")
            .arg(session.mount_point())
            .args(["-size", "+1k"])
            .stdout(Stdio::null())
            .status();
        assert!(find.unwrap().success());
        let (all, memory) = (start.elapsed(), Memory::of(session.server_pid().unwrap()));
        let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
        println!(
            "{kind:>10} {files:>9} {:>10.1?} {one:>10.1?} {all:>12.1?} {:>14} {:>14}",
            times[times.len() / 2],
            mebibytes(memory.anonymous_bytes),
            mebibytes(memory.file_bytes)
        );
    }
}

/// Writes a snapshot of `files` empty files.
fn own(files: u32) -> Place {
    let place = Place::with_tree(files);
    let options = WriteOptions::new(Sha256::of("scale"));
    write(&place.at("tree"), &place.at("tar.gz"), &place.at("idx"), &options).unwrap();
    std::fs::remove_dir_all(place.at("tree")).unwrap();
    place
}

/// Makes an index of a tarball of one stream with as many files.
fn foreign(files: u32) -> Place {
    let place = Place::with_tarball(files);
    assert!(prepare(&paths(&place), &PrepareOptions::default()).unwrap());
    place
}

/// Gives the places of a snapshot below `place`.
fn paths(place: &Place) -> SnapshotPaths {
    SnapshotPaths {
        tarball: place.at("tar.gz"),
        index: place.at("idx"),
        backing_dir: place.at("store"),
    }
}

/// Mounts a snapshot; returns the mount and how long that took.
fn mount(place: &Place) -> (Session<LayerRequest>, Duration) {
    let layers = LayerRequest {
        base: Some(BaseRequest::at(paths(place))),
        pool: None,
        disk: None,
    };
    let request = MountRequest {
        program: env!("CARGO_BIN_EXE_oic").into(),
        restrictions: Restrictions::VIEW,
        lifetime: Lifetime::Caller,
        ..MountRequest::view(layers, "base")
    };
    let start = Instant::now();
    let session = session::mount(&request, &place.at("mnt")).unwrap();
    (session, start.elapsed())
}
