//! Feeds the index reader with any bytes.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::snapshot::format::{BLOCK_BYTES, HEADER_BYTES, Header, Section};

/// Makes an index file around any body, with right checksums.
fn seal(mut header: Header, body: &[u8]) -> Vec<u8> {
    let checksums: Vec<u8> = body
        .chunks(BLOCK_BYTES)
        .flat_map(|block| crc32fast::hash(block).to_le_bytes())
        .collect();
    header.body_bytes = body.len() as u64;
    header.blocks_crc = crc32fast::hash(&checksums);
    [header.encode(), checksums, body.to_vec()].concat()
}

fn exercise(snapshot: &Snapshot) {
    let mut nodes = vec![NodeId(0), NodeId(1), NodeId(5), NodeId(u64::from(u32::MAX))];
    for at in 0..nodes.len() {
        let node = nodes[at];
        let _ = snapshot.entries(node, 0, &mut |entry| {
            nodes.push(entry.node);
            nodes.len() < 200
        });
    }
    for node in nodes {
        let _ = snapshot.attributes(node);
        let _ = snapshot.read_link(node);
        let _ = snapshot.xattr_names(node);
        let _ = snapshot.lookup(node, "name".as_ref());
        let _ = snapshot.is_ready(node, 0, 1 << 20);
        let _ = snapshot.digest(node);
        for offset in [0, 1 << 30, u64::MAX - 1] {
            let _ = snapshot.read_at(node, offset, &mut [0; 4096]);
        }
    }
}

fn fixture() -> (Fixture, Header, Vec<u8>) {
    let fixture = Fixture::in_memory();
    fs::write(fixture.tree().join("a"), tree::noise(1, 5000)).unwrap();
    fs::create_dir(fixture.tree().join("d")).unwrap();
    std::os::unix::fs::symlink("a", fixture.tree().join("d/l")).unwrap();
    fixture.write();
    let bytes = fs::read(fixture.paths().index).unwrap();
    let header = Header::decode(&bytes).unwrap();
    let body = bytes[header.body_offset().unwrap() as usize..].to_vec();
    assert_eq!(seal(header.clone(), &body), bytes);
    (fixture, header, body)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn header_decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Header::decode(&bytes);
        let mut sealed = bytes;
        sealed.resize(HEADER_BYTES - 4, 0);
        sealed[..8].copy_from_slice(b"OICSNAP\0");
        sealed[8..12].copy_from_slice(&VERSION.to_le_bytes());
        sealed.extend(crc32fast::hash(&sealed).to_le_bytes());
        let _ = Header::decode(&sealed);
    }
}

#[test]
fn any_body_with_right_checksums_never_panics() {
    let (fixture, header, body) = fixture();
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let edits = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u64>(), any::<bool>()), 1..8);
    let outcome = runner.run(&edits, |edits| {
        let mut body = body.clone();
        let mut header = header.clone();
        for (place, value, wide) in edits {
            let at = place.index(body.len());
            match body.get_mut(at..at + 4) {
                Some(word) if wide => word.copy_from_slice(&(value as u32).to_le_bytes()),
                _ => body[at] = value as u8,
            }
            if value % 16 == 0 {
                header.nodes = Section {
                    offset: value % 100,
                    size_bytes: header.nodes.size_bytes,
                };
            }
        }
        fs::write(fixture.paths().index, seal(header, &body)).unwrap();
        exercise(&fixture.open());
        Ok(())
    });
    outcome.unwrap();
}
