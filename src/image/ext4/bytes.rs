//! Little-endian fields.

/// Puts `value` at `offset`, which is within `bytes`.
pub(super) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

pub(super) fn put_u16(bytes: &mut [u8], offset: usize, value: u16) {
    put(bytes, offset, &value.to_le_bytes());
}

pub(super) fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    put(bytes, offset, &value.to_le_bytes());
}

/// Puts the low and the high half of a 32-bit value at two places.
pub(super) fn put_halves(bytes: &mut [u8], value: u32, low: usize, high: usize) {
    put_u16(bytes, low, value as u16);
    put_u16(bytes, high, (value >> 16) as u16);
}

/// Puts the low 32 bits of a value at one place and the others at another.
pub(super) fn put_words(bytes: &mut [u8], value: u64, low: usize, high: usize) {
    put_u32(bytes, low, value as u32);
    put_u32(bytes, high, (value >> 32) as u32);
}
