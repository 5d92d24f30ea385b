//! The block format of LZ4 (`doc/lz4_Block_format.md` of LZ4), decompressed as far as somebody wants it: what follows may be
//! anything.

/// The shortest match in bytes.
const MATCH_MIN: usize = 4;

/// Decompresses `input` until there are `length` bytes; `None` if it is damaged or has fewer.
pub(super) fn decompress(input: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut rest = input;
    let mut output = Vec::with_capacity(length);
    loop {
        let (token, behind) = rest.split_first()?;
        rest = behind;
        let count = extended(usize::from(token >> 4), &mut rest)?.min(length - output.len());
        let (literals, behind) = rest.split_at_checked(count)?;
        output.extend_from_slice(literals);
        if output.len() == length {
            return Some(output);
        }
        let (distance, behind) = behind.split_first_chunk()?;
        rest = behind;
        let distance = usize::from(u16::from_le_bytes(*distance));
        let count = extended(usize::from(token & 0xf), &mut rest)?.checked_add(MATCH_MIN)?;
        let count = count.min(length - output.len());
        let start = output.len().checked_sub(distance).filter(|_| distance > 0)?;
        // A match may overlap with what it makes.
        for at in start..start + count {
            output.push(*output.get(at)?);
        }
        if output.len() == length {
            return Some(output);
        }
    }
}

/// Returns a length that begins with `first`; bytes follow it if it is 15, and as long as they are 255.
fn extended(first: usize, rest: &mut &[u8]) -> Option<usize> {
    let mut length = first;
    let mut is_open = first == 15;
    while is_open {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        length = length.checked_add(usize::from(*byte))?;
        is_open = *byte == 255;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_program_compressed_is_read_and_damage_is_found() {
        let text: Vec<u8> = (0..100_000).map(|at| b"abcdefgh"[at / 7 % 8]).collect();
        let packed = lz4_flex::block::compress(&text);
        assert!(packed.len() < text.len() / 2);
        for length in [1, 5000, text.len()] {
            assert!(decompress(&packed, length).unwrap() == text[..length]);
        }
        assert_eq!(decompress(&packed, text.len() + 1), None);
        for at in 0..packed.len().min(3000) {
            let mut damaged = packed.clone();
            damaged[at] ^= 0xff;
            let _ = decompress(&damaged, text.len());
            assert_eq!(decompress(&packed[..at], text.len()), None);
        }
    }
}
