//! Random words by counting: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! 2011). Word after word they depend on the key and the place alone, so that any processor draws any of them by itself.
//!
//! `shaders/random/philox.wgsl` is the same in WGSL.

/// A seed's 64 bits.
pub(in crate::ops) type Key = [u32; 2];

/// The high and low halves of a product.
fn product(a: u32, b: u32) -> [u32; 2] {
    let wide = (u64::from(a) * u64::from(b)).to_be_bytes();
    let [a, b, c, d, e, f, g, h] = wide;
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

/// The four words at a place.
pub(in crate::ops) fn philox(mut counter: [u32; 4], mut key: Key) -> [u32; 4] {
    for _ in 0..10 {
        let [high0, low0] = product(0xd251_1f53, counter[0]);
        let [high1, low1] = product(0xcd9e_8d57, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// The words for the elements of a tensor in order: those of unit u are the four at place u.
pub(in crate::ops) fn words(key: Key) -> impl Iterator<Item = u32> {
    (0u32..=u32::MAX).flat_map(move |unit| philox([unit, 0, 0, 0], key))
}

/// A number of 24 bits in [0, 1), which `f32` holds exactly.
pub(in crate::ops) fn unit_interval(word: u32) -> f64 {
    f64::from(word >> 8) / f64::from(1u32 << 24)
}

/// A key whose bits all depend on those of a seed and of a number: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
pub(in crate::ops) fn key(seed: u64, stream: u64) -> Key {
    let mut z = seed.wrapping_add(stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [a, b, c, d, e, f, g, h] = (z ^ (z >> 31)).to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers that the authors publish with their code.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
