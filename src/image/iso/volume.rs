//! The descriptors of the volume (ECMA-119, 8), and dates.

use super::number::{both16, both32};
use super::time::{long_time, no_time, record_time};
use super::{BLOCK_BYTES, Inputs, Layout, directory};

/// What all descriptors begin with, behind their type.
const STANDARD: &[u8] = b"CD001\x01";
const BLOCK: usize = BLOCK_BYTES as usize;

/// Makes the primary descriptor of `layout`.
pub(super) fn primary(inputs: Inputs<'_>, layout: &Layout) -> Vec<u8> {
    let table_bytes = u32::try_from(directory::path_table_bytes(&layout.tree)).unwrap_or(u32::MAX);
    let (root, root_bytes) = layout.places.directories.first().copied().unwrap_or_default();
    let now = long_time(inputs.epoch_seconds);
    let mut bytes = vec![1];
    bytes.extend(STANDARD);
    bytes.push(0);
    bytes.extend(text("LINUX", 32));
    bytes.extend(text(inputs.label, 32));
    bytes.extend([0; 8]);
    bytes.extend(both32(layout.blocks));
    bytes.extend([0; 32]);
    bytes.extend(both16(1));
    bytes.extend(both16(1));
    bytes.extend(both16(BLOCK_BYTES as u16));
    bytes.extend(both32(table_bytes));
    bytes.extend(layout.tables[0].to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(layout.tables[1].to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([34, 0]);
    bytes.extend(both32(root));
    bytes.extend(both32(root_bytes));
    bytes.extend(record_time(inputs.epoch_seconds));
    bytes.extend([2, 0, 0]);
    bytes.extend(both16(1));
    bytes.extend([1, 0]);
    // Set, publisher, preparer, application.
    for _ in 0..4 {
        bytes.extend(text("", 128));
    }
    // Files of copyright, abstract, bibliography.
    for _ in 0..3 {
        bytes.extend(text("", 37));
    }
    // Made, changed, no end, valid from.
    for time in [&now, &now, &no_time(), &no_time()] {
        bytes.extend(time);
    }
    bytes.push(1);
    bytes.resize(BLOCK, 0);
    bytes
}

/// Makes the descriptor that leads to the `catalog` of El Torito (2.0, "Boot Record Volume Descriptor").
pub(super) fn boot_record(catalog: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(STANDARD);
    bytes.extend(b"EL TORITO SPECIFICATION");
    bytes.resize(71, 0);
    bytes.extend(catalog.to_le_bytes());
    bytes.resize(BLOCK, 0);
    bytes
}

/// Makes the last descriptor.
pub(super) fn terminator() -> Vec<u8> {
    let mut bytes = vec![255];
    bytes.extend(STANDARD);
    bytes.resize(BLOCK, 0);
    bytes
}

fn text(text: &str, length: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_owned();
    bytes.resize(length, b' ');
    bytes
}
