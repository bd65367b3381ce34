//! The kernel's `jhash`, so that flbc can say which slot a client hits.
#![expect(
    clippy::many_single_char_names,
    reason = "a, b and c are what every description of lookup3 calls its state"
)]

/// The seed of every hash that flbc makes: "flbc" in ASCII. Fixed, so that a reload moves nobody, and
/// the same in every rule, so that a packet and an ICMP error that quotes it reach one server.
pub const SEED: u32 = 0x666c_6263;

const fn rotate_mix([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    [a, b, c]
}

const fn finish([mut a, mut b, mut c]: [u32; 3]) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// The little-endian words of up to twelve bytes, zeros where there are none.
fn words(bytes: &[u8]) -> [u32; 3] {
    let mut padded = [0; 12];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l] = padded;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes)
}

/// `jhash(key, length, seed)` of `include/linux/jhash.h` (Bob Jenkins, lookup3, 2006), as a little-endian
/// machine computes it.
pub fn jhash(key: &[u8], seed: u32) -> u32 {
    // The kernel counts lengths in 32 bits; keys here are at most 40 bytes.
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut state = [0xdead_beef_u32.wrapping_add(length).wrapping_add(seed); 3];
    let add = |state: [u32; 3], bytes: &[u8]| {
        let [a, b, c] = state;
        let [x, y, z] = words(bytes);
        [a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z)]
    };
    let mut rest = key;
    while rest.len() > 12 {
        let (chunk, after) = rest.split_at(12);
        state = rotate_mix(add(state, chunk));
        rest = after;
    }
    if rest.is_empty() {
        let [_, _, c] = state;
        return c;
    }
    finish(add(state, rest))
}

/// The bucket of a hash: `reciprocal_scale`, `(hash * modulus) >> 32`, not the remainder.
pub fn bucket(hash: u32, modulus: u32) -> u32 {
    // The product's upper half is below `modulus`.
    u32::try_from((u64::from(hash) * u64::from(modulus)) >> 32).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_key_hashes_to_the_initial_value() {
        assert_eq!(jhash(b"", 0), 0xdead_beef);
    }

    /// Values of lookup3.c's own driver, which shares `jhash`'s arithmetic for these lengths and seeds.
    #[test]
    fn known_answers() {
        assert_eq!(jhash(b"Four score and seven years ago", 0), 0x1777_0551);
        assert_eq!(jhash(b"Four score and seven years ago", 1), 0xcd62_8161);
    }

    #[test]
    fn buckets_cover_the_range_in_order() {
        assert_eq!(bucket(0, 7), 0);
        assert_eq!(bucket(u32::MAX, 7), 6);
        assert_eq!(bucket(1 << 31, 10), 5);
    }
}
