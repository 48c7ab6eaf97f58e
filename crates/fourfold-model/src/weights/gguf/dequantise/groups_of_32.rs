//! The older formats: 32 numbers share a scale, and in the `_1` formats a minimum.
//!
//! Of a pair of halves of a byte, the low one belongs to the first 16 numbers, the high one to the last 16.

use super::half;

/// `d`, 16 bytes of 4 bits: x = d · (q − 8).
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half([block[0], block[1]]);
    for (i, byte) in block[2..].iter().enumerate() {
        out[i] = d * (f32::from(byte & 15) - 8.0);
        out[i + 16] = d * (f32::from(byte >> 4) - 8.0);
    }
}

/// `d`, `m`, 16 bytes of 4 bits: x = d · q + m.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half([block[0], block[1]]), half([block[2], block[3]]));
    for (i, byte) in block[4..].iter().enumerate() {
        out[i] = d * f32::from(byte & 15) + m;
        out[i + 16] = d * f32::from(byte >> 4) + m;
    }
}

/// `d`, 32 fifth bits, 16 bytes of 4 bits: x = d · (q − 16).
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half([block[0], block[1]]);
    let fifth = Fifth::new([block[2], block[3], block[4], block[5]]);
    for (i, byte) in block[6..].iter().enumerate() {
        out[i] = d * (f32::from(byte & 15 | fifth.of(i)) - 16.0);
        out[i + 16] = d * (f32::from(byte >> 4 | fifth.of(i + 16)) - 16.0);
    }
}

/// `d`, `m`, 32 fifth bits, 16 bytes of 4 bits: x = d · q + m.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half([block[0], block[1]]), half([block[2], block[3]]));
    let fifth = Fifth::new([block[4], block[5], block[6], block[7]]);
    for (i, byte) in block[8..].iter().enumerate() {
        out[i] = d * f32::from(byte & 15 | fifth.of(i)) + m;
        out[i + 16] = d * f32::from(byte >> 4 | fifth.of(i + 16)) + m;
    }
}

/// `d`, 32 signed bytes: x = d · q.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half([block[0], block[1]]);
    for (out, byte) in out.iter_mut().zip(&block[2..]) {
        *out = d * f32::from(byte.cast_signed());
    }
}

/// The fifth bits of 32 numbers: bit `i` belongs to number `i`.
struct Fifth(u32);

impl Fifth {
    fn new(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    /// The fifth bit of a number, in its place.
    fn of(&self, number: usize) -> u8 {
        ((self.0 >> number & 1) as u8) << 4
    }
}
