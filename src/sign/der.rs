//! Distinguished encoding (X.690, 10) of the few shapes that signed messages are made of.

use std::iter;

/// Tags of X.690, 8.1.2.
pub const INTEGER: u8 = 0x02;
/// As above.
pub const OCTET_STRING: u8 = 0x04;
/// As above.
pub const NULL: u8 = 0x05;
/// As above.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// As above.
pub const SEQUENCE: u8 = 0x30;
/// As above.
pub const SET: u8 = 0x31;

/// Encodes the value of `parts`, one after the other, under `tag`.
pub fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let digits: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|digit| *digit == 0)
            .collect();
        bytes.push(0x80 | digits.len() as u8);
        bytes.extend(digits);
    }
    bytes.extend(parts.concat());
    bytes
}

/// Encodes an object identifier, given as the bytes of its value.
pub fn oid(bytes: &[u8]) -> Vec<u8> {
    value(OBJECT_IDENTIFIER, &[bytes])
}

/// Encodes a set of `items`, which are encoded already, in the order that X.690, 11.6 asks for.
pub fn set(mut items: Vec<Vec<u8>>) -> Vec<u8> {
    items.sort();
    let items: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
    value(SET, &items)
}

/// Returns the content of the value at the start of `bytes`, without tag and length; `None` if there is no whole one.
pub fn content(bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let count = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
    let digits = rest.get(..count).filter(|_| count <= 4)?;
    let length = match count {
        0 => usize::from(first),
        _ => digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
    };
    rest.get(count..)?.get(..length)
}

/// Encodes a text as a string of 16-bit units, big-endian (X.690, 8.23), under `tag`.
pub fn wide_text(tag: u8, text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    value(tag, &[&units])
}

/// Encodes a number.
pub fn small_integer(number: u8) -> Vec<u8> {
    value(INTEGER, &[&iter::once(number).collect::<Vec<_>>()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_as_many_digits_as_they_need() {
        for (length, start) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (300, &[4, 0x82, 1, 44]),
            (70_000, &[4, 0x83, 1, 0x11, 0x70]),
        ] {
            let bytes = vec![7; length];
            let encoded = value(OCTET_STRING, &[&bytes]);
            assert_eq!((&encoded[..start.len()], encoded.len()), (start, start.len() + length));
            assert_eq!(content(&encoded), Some(bytes.as_slice()));
            assert_eq!(content(&encoded[..encoded.len() - 1]), None);
        }
        assert_eq!(content(&[4, 0x88, 255, 255, 255, 255, 255, 255, 255, 255]), None);
        assert_eq!(set(vec![vec![2, 0], vec![1, 0]]), [0x31, 4, 1, 0, 2, 0]);
    }
}
