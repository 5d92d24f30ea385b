//! The snapshot index reader, on an index with right checksums and wrong contents.
//!
//! Invariant: whatever the index says, every question has an answer or an error; a read never gives more than
//! was asked for; cookies of a listing go up.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use oic::overlay::layer::{Layer as _, NodeId};
use oic::package::Sha256;
use oic::snapshot::{Snapshot, SnapshotPaths, WriteOptions, dump, write};

const HEADER_BYTES: usize = 256;
const BLOCK_BYTES: usize = 16 << 10;

struct Fixture {
    directory: tempfile::TempDir,
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Fixture {
    fn paths(&self) -> SnapshotPaths {
        let at = |name: &str| self.directory.path().join(name);
        SnapshotPaths {
            tarball: at("tar.gz"),
            index: at("idx"),
            backing_dir: at("store"),
        }
    }
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("d/e")).unwrap();
        fs::write(tree.join("d/file"), "content".repeat(1000)).unwrap();
        fs::write(tree.join("z"), "z").unwrap();
        fs::hard_link(tree.join("z"), tree.join("d/e/hard")).unwrap();
        std::os::unix::fs::symlink("d", tree.join("link")).unwrap();
        let mut fixture = Fixture {
            directory,
            header: Vec::new(),
            body: Vec::new(),
        };
        let paths = fixture.paths();
        write(
            &tree,
            &paths.tarball,
            &paths.index,
            &WriteOptions::new(Sha256::of("fuzz")),
        )
        .unwrap();
        let index = fs::read(&paths.index).unwrap();
        let body_bytes = u64::from_le_bytes(index[104..112].try_into().unwrap()) as usize;
        fixture.header = index[..HEADER_BYTES].to_vec();
        fixture.body = index[index.len() - body_bytes..].to_vec();
        fixture
    })
}

/// The index with right checksums (docs/snapshot-format.md, section 2).
fn seal(mut header: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let blocks = body.chunks(BLOCK_BYTES);
    let checksums: Vec<u8> = blocks.flat_map(|block| crc32fast::hash(block).to_le_bytes()).collect();
    header[104..112].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[196..200].copy_from_slice(&crc32fast::hash(&checksums).to_le_bytes());
    let crc = crc32fast::hash(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    [header, checksums, body.to_vec()].concat()
}

fn exercise(snapshot: &Snapshot) {
    let mut nodes = vec![snapshot.root(), NodeId(u64::from(u32::MAX))];
    let mut at = 0;
    while let Some(&node) = nodes.get(at) {
        at += 1;
        let mut last = 0;
        let _ = snapshot.entries(node, 0, &mut |entry| {
            assert!(entry.cookie > last);
            last = entry.cookie;
            nodes.push(entry.node);
            nodes.len() < 100
        });
        let _ = snapshot.attributes(node);
        let _ = snapshot.read_link(node);
        let _ = snapshot.xattr_names(node);
        let _ = snapshot.lookup(node, "file".as_ref());
        let _ = snapshot.digest(node);
        for offset in [0, 6999, u64::MAX] {
            let mut buffer = [0; 64];
            let ready = snapshot.is_ready(node, offset, buffer.len());
            let read = snapshot.read_at(node, offset, &mut buffer);
            assert!(read.as_ref().is_ok_and(|read| *read <= buffer.len()) || read.is_err() || ready);
        }
        if nodes.len() >= 100 {
            break;
        }
    }
}

fn run(fixture: &Fixture, index: &Path, bytes: &[u8]) {
    fs::write(index, bytes).unwrap();
    let _ = dump::dump(index, &mut std::io::sink());
    // An index that cannot be used is made again from the tarball: that must always work.
    exercise(&Snapshot::open(&fixture.paths()).expect("the tarball is whole"));
}

// Edits of a valid index: place (2 bytes) and value (4 bytes) each.
fuzz_target!(|data: &[u8]| {
    let fixture = fixture();
    let (mut header, mut body) = (fixture.header.clone(), fixture.body.clone());
    for edit in data.chunks_exact(6) {
        let place = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        // The sections' places; then anything in the body.
        let word = match place {
            88..=192 => header.get_mut(place..place + 4),
            _ => body
                .get_mut(place % fixture.body.len()..)
                .and_then(|rest| rest.get_mut(..4)),
        };
        if let Some(word) = word {
            word.copy_from_slice(&edit[2..]);
        }
    }
    // A backing store of many gigabytes is sparse, but takes time to make.
    header[94..96].fill(0);
    run(fixture, &fixture.paths().index, &seal(header, &body));
});
