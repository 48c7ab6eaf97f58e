//! The K formats: 256 numbers share a scale or two, groups of 16 or 32 of them have quantised scales of their own.

use super::half;

/// 16 bytes of scale (low half) and minimum (high half) of 16 numbers each; 64 bytes of 2 bits; `d`; `dmin`:
/// x = (d · scale) · q − dmin · minimum.
///
/// Each 32 bytes hold four stretches of 32 numbers, the first in the lowest two bits of each byte.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, quants) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half([block[80], block[81]]), half([block[82], block[83]]));
    for (i, out) in out.iter_mut().enumerate() {
        let scale = scales[i / 16];
        let q = quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        *out = d * f32::from(scale & 15) * f32::from(q) - dmin * f32::from(scale >> 4);
    }
}

/// 32 bytes of third bits; 64 bytes of 2 bits; 12 bytes of sixteen 6-bit scales; `d`:
/// x = (d · (scale − 32)) · (q − 4), where q is the two bits and, as its third, the third bit.
///
/// The two bits lie as in [`q2_k`]. Bit `k` of byte `j` of the third bits belongs to number `32 · k + j`. The low four
/// bits of scale `s` are half a byte of the first eight (the low halves are scales 0 to 7), the high two bits lie in
/// byte `8 + s % 4`, at bit `s / 4 · 2`.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let (thirds, quants, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half([block[108], block[109]]);
    for (i, out) in out.iter_mut().enumerate() {
        let s = i / 16;
        let low = scales[s % 8] >> (s / 8 * 4) & 15;
        let high = scales[8 + s % 4] >> (s / 4 * 2) & 3;
        let scale = f32::from(low | high << 4) - 32.0;
        let two = quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        let third = thirds[i % 32] >> (i / 32) & 1;
        *out = d * scale * (f32::from(two | third << 2) - 4.0);
    }
}

/// `d`; `dmin`; 12 bytes of [`ScaleMin`]s; 128 bytes of 4 bits: x = (d · scale) · q − dmin · minimum.
///
/// Each 32 bytes hold two stretches of 32 numbers, the first in the low halves; each stretch has its scale and minimum.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let scales = ScaleMin::new(&block[..16]);
    for (i, out) in out.iter_mut().enumerate() {
        let (scale, minimum) = scales.of(i / 32);
        *out = scale * f32::from(four_bits(&block[16..], i)) - minimum;
    }
}

/// `d`; `dmin`; 12 bytes of [`ScaleMin`]s; 32 bytes of fifth bits; 128 bytes of 4 bits as in [`q4_k`]:
/// x = (d · scale) · q − dmin · minimum. Bit `k` of byte `j` of the fifth bits belongs to number `32 · k + j`.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let scales = ScaleMin::new(&block[..16]);
    let (fifths, quants) = (&block[16..48], &block[48..]);
    for (i, out) in out.iter_mut().enumerate() {
        let (scale, minimum) = scales.of(i / 32);
        let fifth = fifths[i % 32] >> (i / 32) & 1;
        *out = scale * f32::from(four_bits(quants, i) | fifth << 4) - minimum;
    }
}

/// 128 bytes of the low 4 bits; 64 bytes of the high 2 bits; 16 signed bytes of scales of 16 numbers each; `d`:
/// x = (d · scale) · (q − 32).
///
/// In each half of 128 numbers: 64 bytes hold the low bits, the first 64 numbers in the low halves; 32 bytes hold the
/// high bits, the first 32 numbers in the lowest two bits.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (lows, highs, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half([block[208], block[209]]);
    for (i, out) in out.iter_mut().enumerate() {
        let low = lows[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
        let high = highs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        let scale = f32::from(scales[i / 16].cast_signed());
        *out = d * scale * (f32::from(low | high << 4) - 32.0);
    }
}

/// The 4 bits of number `i`: 32 numbers in the low halves of 32 bytes, 32 in their high halves, and so on.
fn four_bits(quants: &[u8], i: usize) -> u8 {
    quants[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15
}

/// Eight scales and eight minima of 6 bits each, packed into 12 bytes behind `d` and `dmin`.
///
/// Scales 0 to 3 are the low 6 bits of bytes 0 to 3, minima 0 to 3 those of bytes 4 to 7. Scale `4 + k` has its low four
/// bits in the low half of byte `8 + k` and its high two bits at the top of byte `k`; minimum `4 + k` has them in the high
/// half of byte `8 + k` and at the top of byte `4 + k`.
struct ScaleMin([(f32, f32); 8]);

impl ScaleMin {
    /// From `d`, `dmin` and the 12 bytes.
    fn new(head: &[u8]) -> Self {
        let (d, dmin) = (half([head[0], head[1]]), half([head[2], head[3]]));
        let packed = &head[4..16];
        let pairs = std::array::from_fn(|group| {
            let (scale, minimum) = match group {
                0..4 => (packed[group] & 63, packed[group + 4] & 63),
                _ => {
                    let (low, k) = (packed[group + 4], group - 4);
                    let scale = low & 15 | packed[k] >> 6 << 4;
                    (scale, low >> 4 | packed[k + 4] >> 6 << 4)
                }
            };
            (d * f32::from(scale), dmin * f32::from(minimum))
        });
        Self(pairs)
    }

    /// Scale and minimum of a group, times `d` and `dmin`.
    fn of(&self, group: usize) -> (f32, f32) {
        self.0[group]
    }
}
