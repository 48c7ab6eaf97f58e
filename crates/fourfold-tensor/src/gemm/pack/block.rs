//! Blocks of 16 lines by 16 pairs, read from either format and storage order and transposed in registers.

use std::arch::x86_64::*;

use half::bf16;

use super::super::cut::Part;
use super::super::lanes::{SIDE, first_16, first_32};
use crate::Element;

/// An operand as lines (rows of the left one, columns of the right one) of `depth` numbers to be summed over.
pub(super) struct Source<'a, T> {
    pub values: &'a [T],
    pub lines: usize,
    pub depth: usize,
    /// Whether a line is contiguous, `[lines, depth]`; otherwise it is stored as `[depth, lines]`.
    pub depth_contiguous: bool,
}

type Block = [__m512i; SIDE];

impl<T: Number> Source<'_, T> {
    /// Fills `out` with groups of [`SIDE`] lines from `first_line` on, each as blocks of [`SIDE`] pairs, `pairs` pairs
    /// from `first_pair` on; what lies beyond the last line or the depth becomes zero.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) fn groups(
        &self,
        first_line: usize,
        first_pair: usize,
        pairs: usize,
        out: &mut [u32],
    ) {
        const BLOCK: usize = SIDE * SIDE;
        if self.depth_contiguous {
            // Line by line, as they are stored: it is reading that takes the time.
            for (line, out) in out.chunks_mut(SIDE * pairs).enumerate() {
                for within in 0..SIDE {
                    for block in 0..pairs / SIDE {
                        let vector =
                            self.line(first_line + line * SIDE + within, first_pair + block * SIDE);
                        store(&mut out[block * BLOCK + within * SIDE..], vector);
                    }
                }
            }
            return;
        }
        for block in 0..pairs / SIDE {
            for (group, out) in out.chunks_mut(SIDE * pairs).enumerate() {
                let read = self.read(first_line + group * SIDE, first_pair + block * SIDE);
                let out = out[block * BLOCK..][..BLOCK].chunks_mut(SIDE);
                for (out, vector) in out.zip(transpose(read)) {
                    store(out, vector);
                }
            }
        }
    }

    /// Fills `out: [panels, pairs, columns]` with the lines from `first_line` on, the pairs of `part`; `columns` is a
    /// multiple of [`SIDE`], and what lies beyond the last line becomes zero.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) fn panels(&self, first_line: usize, part: Part, out: &mut [u32], columns: usize) {
        let panel = columns * part.pairs;
        let panels = out.len() / panel;
        for pair in (0..part.pairs).step_by(SIDE) {
            for line in (0..panels * columns).step_by(SIDE) {
                let mut block = self.read(first_line + line, part.first + pair);
                if self.depth_contiguous {
                    block = transpose(block);
                }
                let out = &mut out[line / columns * panel + pair * columns + line % columns..];
                for (out, vector) in out.chunks_mut(columns).zip(block) {
                    store(out, vector);
                }
            }
        }
    }

    /// [`SIDE`] pairs of one line that is contiguous.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    #[allow(unsafe_code)]
    fn line(&self, line: usize, first_pair: usize) -> __m512i {
        if line >= self.lines {
            return _mm512_setzero_si512();
        }
        let end = (2 * (first_pair + SIDE)).min(self.depth);
        let start = (2 * first_pair).min(end);
        // SAFETY: this function runs only where the machine has the same instructions.
        unsafe { T::pairs(&self.values[line * self.depth + start..line * self.depth + end]) }
    }

    /// The block at a line and a pair in its storage order: a vector holds the pairs of one line where lines are
    /// contiguous, and one pair of the 16 lines otherwise.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    #[allow(unsafe_code)]
    fn read(&self, first_line: usize, first_pair: usize) -> Block {
        let mut block = [_mm512_setzero_si512(); SIDE];
        let first_depth = 2 * first_pair;
        if self.depth_contiguous {
            for (line, vector) in (first_line..).zip(&mut block) {
                *vector = self.line(line, first_pair);
            }
        } else {
            let end = (first_line + SIDE).min(self.lines);
            let start = first_line.min(end);
            let row = |depth: usize| &self.values[depth * self.lines..][start..end];
            for (depth, vector) in (first_depth..self.depth).step_by(2).zip(&mut block) {
                // SAFETY: this function runs only where the machine has the same instructions.
                *vector = unsafe { T::singles(row(depth)) };
                if depth + 1 < self.depth {
                    // SAFETY: as above.
                    let high = unsafe { T::singles(row(depth + 1)) };
                    *vector = _mm512_or_si512(*vector, _mm512_slli_epi32::<16>(high));
                }
            }
        }
        block
    }
}

/// A format that vectors of 16-bit numbers are read from.
pub(super) trait Number: Element {
    /// Up to 32 neighbours as 16 pairs, zero beyond them.
    ///
    /// # Safety
    /// The machine must have AVX-512 with its BW, VL and BF16 parts.
    #[allow(unsafe_code)]
    unsafe fn pairs(values: &[Self]) -> __m512i;

    /// Up to 16 neighbours, each in the low half of a lane, zero beyond them.
    ///
    /// # Safety
    /// As for [`Number::pairs`].
    #[allow(unsafe_code)]
    unsafe fn singles(values: &[Self]) -> __m512i;
}

#[allow(unsafe_code)]
impl Number for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pairs(values: &[Self]) -> __m512i {
        // SAFETY: the mask leaves out the lanes beyond `values`.
        unsafe { _mm512_maskz_loadu_epi16(first_32(values.len()), values.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn singles(values: &[Self]) -> __m512i {
        // SAFETY: as above.
        let numbers =
            unsafe { _mm256_maskz_loadu_epi16(first_16(values.len()), values.as_ptr().cast()) };
        _mm512_cvtepu16_epi32(numbers)
    }
}

#[allow(unsafe_code)]
impl Number for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pairs(values: &[Self]) -> __m512i {
        let (low, high) = values.split_at(values.len().min(SIDE));
        // SAFETY: the masks leave out the lanes beyond `values`; both vector types are 512 plain bits.
        unsafe {
            let low = _mm512_maskz_loadu_ps(first_16(low.len()), low.as_ptr());
            let high = _mm512_maskz_loadu_ps(first_16(high.len()), high.as_ptr());
            std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn singles(values: &[Self]) -> __m512i {
        // SAFETY: as above, with 256 bits.
        let numbers: __m256i = unsafe {
            let numbers = _mm512_maskz_loadu_ps(first_16(values.len()), values.as_ptr());
            std::mem::transmute(_mm512_cvtneps_pbh(numbers))
        };
        _mm512_cvtepu16_epi32(numbers)
    }
}

/// Writes the 16 numbers of a vector to the beginning of `out`.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
fn store(out: &mut [u32], vector: __m512i) {
    let out = &mut out[..SIDE];
    // SAFETY: `out` holds exactly the 16 numbers that are written.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), vector) }
}

/// The transposed block of sums, as vectors.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
pub(in crate::gemm) fn transpose_sums(sums: &[[f32; SIDE]; SIDE]) -> [__m512; SIDE] {
    // SAFETY: each row holds a whole vector.
    let block = sums
        .each_ref()
        .map(|row| unsafe { _mm512_loadu_si512(row.as_ptr().cast()) });
    transpose(block).map(|vector| _mm512_castsi512_ps(vector))
}

/// The transposed block, in four rounds that each exchange halves at twice the distance of the one before.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(mut r: Block) -> Block {
    let mut t = r;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..4 {
        let [a, b, c, d] = [t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]];
        r[4 * i] = _mm512_unpacklo_epi64(a, c);
        r[4 * i + 1] = _mm512_unpackhi_epi64(a, c);
        r[4 * i + 2] = _mm512_unpacklo_epi64(b, d);
        r[4 * i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for i in 0..4 {
        t[i] = _mm512_shuffle_i32x4::<EVEN_QUARTERS>(r[i], r[i + 4]);
        t[i + 4] = _mm512_shuffle_i32x4::<ODD_QUARTERS>(r[i], r[i + 4]);
        t[i + 8] = _mm512_shuffle_i32x4::<EVEN_QUARTERS>(r[i + 8], r[i + 12]);
        t[i + 12] = _mm512_shuffle_i32x4::<ODD_QUARTERS>(r[i + 8], r[i + 12]);
    }
    for i in 0..8 {
        r[i] = _mm512_shuffle_i32x4::<EVEN_QUARTERS>(t[i], t[i + 8]);
        r[i + 8] = _mm512_shuffle_i32x4::<ODD_QUARTERS>(t[i], t[i + 8]);
    }
    r
}

/// 128-bit quarters 0 and 2 of both operands, and 1 and 3.
const EVEN_QUARTERS: i32 = 0b10_00_10_00;
const ODD_QUARTERS: i32 = 0b11_01_11_01;
