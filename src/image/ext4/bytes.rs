//! Little-endian fields.

/// Puts `value` at `offset`, which is within `bytes`.
pub(super) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Puts `value` at `offset`, which is within `bytes`.
pub(super) fn put_u16(bytes: &mut [u8], offset: usize, value: u16) {
    put(bytes, offset, &value.to_le_bytes());
}

/// Puts `value` at `offset`, which is within `bytes`.
pub(super) fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    put(bytes, offset, &value.to_le_bytes());
}
