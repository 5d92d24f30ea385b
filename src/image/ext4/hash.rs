//! The hash of a name in an indexed directory: half of MD4 over unsigned characters
//! (`ext2fs_dirhash` in e2fsprogs; `fs/ext4/hash.c` in the kernel).

/// Returns the hash of `name`. Its lowest bit is 0; an index sets it for leaves that continue with the same hash.
pub(super) fn half_md4(name: &[u8], seed: &[u8; 16]) -> u32 {
    let word = |index: usize| u32::from_le_bytes([seed[index], seed[index + 1], seed[index + 2], seed[index + 3]]);
    let mut state = [word(0), word(4), word(8), word(12)];
    if state == [0; 4] {
        state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    }
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = rest.get(32..).unwrap_or_default();
    }
    match state[1] & !1 {
        // readdir takes this value for the end.
        0xffff_fffe => 0xffff_fffc,
        hash => hash,
    }
}

/// Returns the first 32 of `bytes` as 8 words, padded with the length of `bytes`.
fn words(bytes: &[u8]) -> [u32; 8] {
    let length = bytes.len() as u32;
    let pad = (length | length << 8) & 0xffff;
    let pad = pad | pad << 16;
    let mut words = [pad; 8];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(4)) {
        *word = chunk
            .iter()
            .fold(pad, |word, byte| (word << 8).wrapping_add(u32::from(*byte)));
    }
    words
}

/// Runs the shortened MD4 over one block (RFC 1320 has the full one).
fn transform(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (
            |x, y, z| (x & y).wrapping_add((x ^ y) & z),
            0x5a82_7999,
            [1, 3, 5, 7, 0, 2, 4, 6],
            [3, 5, 9, 13],
        ),
        (
            |x, y, z| x ^ y ^ z,
            0x6ed9_eba1,
            [3, 7, 2, 6, 1, 5, 0, 4],
            [3, 9, 11, 15],
        ),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (step, index) in order.into_iter().enumerate() {
            let sum = a
                .wrapping_add(mix(b, c, d))
                .wrapping_add(input[index])
                .wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}
