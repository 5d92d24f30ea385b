//! The binary header, twice, each with the metadata in JSON ("LUKS2 On-Disk Format Specification" 1.1.4, 2 and 3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use uuid::Uuid;
use zerocopy::big_endian::{U16, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use super::keyslot::{DIGEST_ROUNDS, LANES, MEMORY_KIB, PASSES, STRIPES, Slot};
use super::{KEY_BYTES, SECTOR_BYTES, Secret};
use crate::package::Sha256;

/// The size of a header with its JSON area, in bytes.
const HEADER_BYTES: u64 = 16 << 10;
/// The place of the key slot in bytes.
pub(super) const SLOT_OFFSET_BYTES: u64 = 2 * HEADER_BYTES;
/// The place of the encrypted content in bytes; that of cryptsetup(8), so that there is room for more key slots.
pub const SEGMENT_OFFSET_BYTES: u64 = 16 << 20;
const CIPHER: &str = "aes-xts-plain64";
const CHECKSUM_OFFSET: usize = 448;

/// The binary header.
#[derive(Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 6],
    version: U16,
    header_bytes: U64,
    sequence: U64,
    label: [u8; 48],
    checksum_algorithm: [u8; 32],
    salt: [u8; 64],
    uuid: [u8; 40],
    subsystem: [u8; 48],
    offset_bytes: U64,
    padding: [u8; 184],
    checksum: [u8; 64],
    padding_too: [u8; 3584],
}

const _: () = assert!(size_of::<Header>() == 4096);

/// Returns both headers and their places in bytes.
pub(super) fn headers(uuid: Uuid, slot: &Slot, secret: &Secret) -> [(u64, Vec<u8>); 2] {
    let text = metadata(slot).to_string();
    [
        (0, *b"LUKS\xba\xbe", "salt"),
        (HEADER_BYTES, *b"SKUL\xba\xbe", "second salt"),
    ]
    .map(|(offset_bytes, magic, label)| {
        let header = Header {
            magic,
            version: U16::new(2),
            header_bytes: U64::new(HEADER_BYTES),
            sequence: U64::new(1),
            label: [0; 48],
            checksum_algorithm: padded("sha256"),
            salt: {
                let mut salt = [0; 64];
                salt.copy_from_slice(&secret.draw(label, 64));
                salt
            },
            uuid: padded(&uuid.to_string()),
            subsystem: [0; 48],
            offset_bytes: U64::new(offset_bytes),
            padding: [0; 184],
            checksum: [0; 64],
            padding_too: [0; 3584],
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.resize(HEADER_BYTES as usize, 0);
        let checksum = Sha256::of(&bytes).0;
        bytes[CHECKSUM_OFFSET..CHECKSUM_OFFSET + checksum.len()].copy_from_slice(&checksum);
        (offset_bytes, bytes)
    })
}

/// Makes the metadata: one key slot, one segment to the end of the partition, the digest of the volume key.
fn metadata(slot: &Slot) -> Value {
    let (digest_salt, digest) = &slot.digest;
    // Sectors of 4 KiB, as the space for each key slot begins at one.
    let area_bytes = (slot.area.len() as u64).next_multiple_of(4096);
    json!({
        "keyslots": {"0": {
            "type": "luks2",
            "key_size": KEY_BYTES,
            "af": {"type": "luks1", "stripes": STRIPES, "hash": "sha256"},
            "area": {
                "type": "raw",
                "offset": SLOT_OFFSET_BYTES.to_string(),
                "size": area_bytes.to_string(),
                "encryption": CIPHER,
                "key_size": KEY_BYTES,
            },
            "kdf": {
                "type": "argon2id",
                "time": PASSES,
                "memory": MEMORY_KIB,
                "cpus": LANES,
                "salt": BASE64.encode(&slot.salt),
            },
        }},
        "tokens": {},
        "segments": {"0": {
            "type": "crypt",
            "offset": SEGMENT_OFFSET_BYTES.to_string(),
            "size": "dynamic",
            "iv_tweak": "0",
            "encryption": CIPHER,
            "sector_size": SECTOR_BYTES,
        }},
        "digests": {"0": {
            "type": "pbkdf2",
            "keyslots": ["0"],
            "segments": ["0"],
            "hash": "sha256",
            "iterations": DIGEST_ROUNDS,
            "salt": BASE64.encode(digest_salt),
            "digest": BASE64.encode(digest),
        }},
        "config": {
            "json_size": (HEADER_BYTES - 4096).to_string(),
            "keyslots_size": (SEGMENT_OFFSET_BYTES - SLOT_OFFSET_BYTES).to_string(),
        },
    })
}

/// Returns `text` with zeros behind it; what does not fit is lost.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut padded = [0; N];
    padded
        .iter_mut()
        .zip(text.bytes())
        .for_each(|(place, byte)| *place = byte);
    padded
}
