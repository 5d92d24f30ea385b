//! Tarballs from elsewhere: made an index for, and read.
//!
//! Invariant: whatever the tarball says, it is refused, or every question about it has an answer; names of a listing
//! are sorted, hold no slash and no dots; a file gives just as many bytes as its size says, up to the first hole.
#![no_main]

use std::fs;
use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use oic::overlay::layer::{FileKind, Layer, NodeId};
use oic::snapshot::foreign::{Limits, PrepareOptions, prepare};
use oic::snapshot::{Snapshot, SnapshotPaths, dump};

const BLOCK_BYTES: usize = 512;

/// Gives every header its checksum, which no fuzzer finds, and the stream its end.
fn seal(stream: &mut Vec<u8>) {
    stream.resize(stream.len().next_multiple_of(BLOCK_BYTES) + 2 * BLOCK_BYTES, 0);
    let (mut position, end) = (0, stream.len() - 2 * BLOCK_BYTES);
    while position < end {
        let Some(header) = stream.get_mut(position..position + BLOCK_BYTES) else { break };
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok();
        let size = size.and_then(|digits| usize::from_str_radix(digits, 8).ok()).unwrap_or(0);
        position = position.saturating_add(BLOCK_BYTES + size.min(end).next_multiple_of(BLOCK_BYTES));
    }
}

fn visit(layer: &dyn Layer, node: NodeId) {
    let meta = layer.attributes(node).expect("the index is right");
    layer.xattr_names(node).expect("the index is right");
    match meta.kind {
        FileKind::Directory => {
            let mut children = Vec::new();
            let mut visitor = |entry: oic::overlay::layer::Entry<'_>| {
                let name = entry.name.as_encoded_bytes();
                assert!(!name.contains(&b'/') && !name.is_empty() && name != b"." && name != b"..");
                children.push((name.to_vec(), entry.node));
                true
            };
            layer.entries(node, 0, &mut visitor).expect("the index is right");
            assert!(children.windows(2).all(|pair| pair[0].0 < pair[1].0));
            children.iter().for_each(|(_, child)| visit(layer, *child));
        }
        FileKind::Regular => {
            let mut bytes = vec![0; meta.size_bytes.min(1 << 16) as usize + 1];
            let count = layer.read_at(node, 0, &mut bytes).expect("the tarball is whole");
            assert_eq!(count as u64, meta.size_bytes.min(bytes.len() as u64));
        }
        FileKind::Symlink => assert_eq!(layer.read_link(node).expect("it is one").len() as u64, meta.size_bytes),
        _ => {}
    }
}

// The first byte chooses the compression; its highest bit feeds the rest to the decompressor as it is.
fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let mut stream = rest.to_vec();
    let packed = match choice {
        0x80.. => stream,
        _ => {
            seal(&mut stream);
            match choice % 3 {
                0 => stream,
                1 => {
                    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    gzip.write_all(&stream).unwrap();
                    gzip.finish().unwrap()
                }
                _ => zstd::encode_all(&stream[..], 1).unwrap(),
            }
        }
    };
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = |name: &str| directory.path().join(name);
    let paths = SnapshotPaths {
        tarball: at("tar"),
        index: at("idx"),
        backing_dir: at("store"),
    };
    fs::write(&paths.tarball, packed).unwrap();
    let options = PrepareOptions {
        limits: Limits {
            tar_bytes_max: 1 << 26,
            nodes_max: 10_000,
            names_bytes_max: 1 << 24,
        },
        ..PrepareOptions::default()
    };
    if prepare(&paths, &options).is_err() {
        return;
    }
    dump::dump(&paths.index, &mut std::io::sink()).expect("a new index is right");
    let snapshot = Snapshot::open(&paths).expect("it was prepared");
    visit(&snapshot, snapshot.root());
});
