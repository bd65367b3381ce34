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

/// The words of twelve bytes.
fn words(bytes: [u8; 12], word: impl Fn([u8; 4]) -> u32) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(word)
}

/// `jhash(key, length, seed)` of `include/linux/jhash.h` (Bob Jenkins, lookup3, 2006) on a machine that reads a word
/// from four bytes by `word`. The last bytes of a key, twelve at most, are put together one by one: there the order of
/// the machine does not count.
fn hash(key: &[u8], seed: u32, word: fn([u8; 4]) -> u32) -> u32 {
    // The kernel counts lengths in 32 bits; keys here are at most 40 bytes.
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut state = [0xdead_beef_u32.wrapping_add(length).wrapping_add(seed); 3];
    let add = |[a, b, c]: [u32; 3], [x, y, z]: [u32; 3]| {
        [a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z)]
    };
    let mut rest = key;
    while let Some((chunk, after)) = rest.split_first_chunk()
        && !after.is_empty()
    {
        state = rotate_mix(add(state, words(*chunk, word)));
        rest = after;
    }
    if rest.is_empty() {
        let [_, _, c] = state;
        return c;
    }
    let mut last = [0; 12];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    finish(add(state, words(last, u32::from_le_bytes)))
}

/// `jhash` as a little-endian machine computes it: the same everywhere, for what flbc itself derives from names and
/// addresses.
pub fn jhash(key: &[u8], seed: u32) -> u32 {
    hash(key, seed, u32::from_le_bytes)
}

/// `jhash` as the kernel of this machine computes it, for packets.
pub fn kernel_jhash(key: &[u8], seed: u32) -> u32 {
    hash(key, seed, u32::from_ne_bytes)
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

    /// A big-endian machine reads each word of a longer key the other way round, but for the last twelve bytes.
    #[test]
    fn only_words_before_the_last_bytes_depend_on_the_machine() {
        let key: Vec<u8> = (1..=40).collect();
        for length in 0..=key.len() {
            let (whole, last) = key[..length].split_at(length.saturating_sub(1) / 12 * 12);
            let mut turned: Vec<u8> = whole
                .chunks(4)
                .flat_map(|word| word.iter().rev().copied())
                .collect();
            turned.extend(last);
            let big = hash(&key[..length], SEED, u32::from_be_bytes);
            assert_eq!(big, jhash(&turned, SEED), "{length}");
            assert_eq!(big == jhash(&key[..length], SEED), length <= 12, "{length}");
        }
    }

    #[test]
    fn buckets_cover_the_range_in_order() {
        assert_eq!(bucket(0, 7), 0);
        assert_eq!(bucket(u32::MAX, 7), 6);
        assert_eq!(bucket(1 << 31, 10), 5);
    }
}
