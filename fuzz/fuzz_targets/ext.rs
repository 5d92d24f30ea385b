//! File systems of the ext family; checksums are not compared here.
//!
//! Invariant: names are not empty and have no slash, what is listed is found, and no more is read than the size says.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oic::disk::area::Area;
use oic::disk::ext4::Ext;
use oic::disk::medium::Memory;
use oic::overlay::layer::{FileKind, Layer, LayerError};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(opened) = Ext::open(Area::whole(Arc::new(Memory::new(bytes)))) {
        let _ = opened.facts();
        let _ = walk(&opened);
    }
});

/// Reads everything that `layer` shows, up to limits.
fn walk(layer: &dyn Layer) -> Result<(), LayerError> {
    let mut open = vec![layer.root()];
    let mut left = 300;
    while let Some(directory) = open.pop() {
        let mut names = Vec::new();
        layer.entries(directory, 0, &mut |entry| {
            assert!(!entry.name.is_empty() && !entry.name.as_encoded_bytes().contains(&b'/') && entry.cookie > 0);
            names.push((entry.name.to_owned(), entry.node));
            names.len() < 100
        })?;
        for (name, node) in names {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            assert!(layer.lookup(directory, &name)?.is_some());
            for name in layer.xattr_names(node)? {
                let _ = layer.xattr(node, &name);
            }
            let _ = layer.read_link(node);
            let attributes = layer.attributes(node)?;
            let mut buffer = vec![0; 9000];
            if let Ok(count) = layer.read_at(node, 5000, &mut buffer) {
                assert!(5000 + count as u64 <= attributes.size_bytes.max(5000));
            }
            if let Ok(next) = layer.next_data(node, 10) {
                assert!(next >= 10);
            }
            if attributes.kind == FileKind::Directory {
                open.push(node);
            }
        }
    }
    Ok(())
}
