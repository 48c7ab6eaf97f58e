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
                        let row = first_line + line * SIDE + within;
                        let vector = self.neighbours(row, 2 * (first_pair + block * SIDE));
                        store(&mut out[block * BLOCK + within * SIDE..], vector);
                    }
                }
            }
            return;
        }
        for block in 0..pairs / SIDE {
            for (two, out) in out.chunks_mut(2 * SIDE * pairs).enumerate() {
                let (line, pair) = (first_line + two * 2 * SIDE, first_pair + block * SIDE);
                for half in [Half::Low, Half::High] {
                    let turned = transpose(self.half_of_two(half, line, pair));
                    for (index, vector) in turned.into_iter().enumerate() {
                        let line = half.line(index);
                        let before =
                            line / SIDE * SIDE * pairs + block * BLOCK + line % SIDE * SIDE;
                        // The last group may be alone.
                        if before < out.len() {
                            store(&mut out[before..], vector);
                        }
                    }
                }
            }
        }
    }

    /// Fills `out: [panels, pairs, columns]` with the lines from `first_line` on, the pairs of `part`; `columns` is a
    /// multiple of [`SIDE`], and what lies beyond the last line becomes zero.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) fn panels(&self, first_line: usize, part: Part, out: &mut [u32], columns: usize) {
        let panel = columns * part.pairs;
        let lines = out.len() / part.pairs;
        let place =
            |line: usize, pair: usize| line / columns * panel + pair * columns + line % columns;
        for pair in (0..part.pairs).step_by(SIDE) {
            if self.depth_contiguous {
                for line in (0..lines).step_by(SIDE) {
                    let mut block = [_mm512_setzero_si512(); SIDE];
                    for (line, vector) in (first_line + line..).zip(&mut block) {
                        *vector = self.neighbours(line, 2 * (part.first + pair));
                    }
                    let out = &mut out[place(line, pair)..];
                    for (out, vector) in out.chunks_mut(columns).zip(transpose(block)) {
                        store(out, vector);
                    }
                }
                continue;
            }
            for line in (0..lines).step_by(2 * SIDE) {
                for pair in pair..pair + SIDE {
                    let (low, high) = self.pair_of_two(first_line + line, part.first + pair);
                    let first = _mm512_permutex2var_epi64(low, in_twos(LINES_0_TO_15), high);
                    store(&mut out[place(line, pair)..], first);
                    if line + SIDE < lines {
                        let second = _mm512_permutex2var_epi64(low, in_twos(LINES_16_TO_31), high);
                        store(&mut out[place(line + SIDE, pair)..], second);
                    }
                }
            }
        }
    }

    /// 32 neighbours from `first` on of a row as it is stored, a line or a number of each line; zero beyond its end and
    /// the last row's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    #[allow(unsafe_code)]
    fn neighbours(&self, row: usize, first: usize) -> __m512i {
        let (rows, width) = match self.depth_contiguous {
            true => (self.lines, self.depth),
            false => (self.depth, self.lines),
        };
        if row >= rows {
            return _mm512_setzero_si512();
        }
        let end = (first + 2 * SIDE).min(width);
        let start = first.min(end);
        // SAFETY: this function runs only where the machine has the same instructions.
        unsafe { T::pairs(&self.values[row * width + start..row * width + end]) }
    }

    /// A pair of 32 lines that are not contiguous, as [`Half`] says.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn pair_of_two(&self, first_line: usize, pair: usize) -> (__m512i, __m512i) {
        let first = self.neighbours(2 * pair, first_line);
        let second = self.neighbours(2 * pair + 1, first_line);
        (
            _mm512_unpacklo_epi16(first, second),
            _mm512_unpackhi_epi16(first, second),
        )
    }

    /// [`SIDE`] pairs of half of 32 lines that are not contiguous, a pair in a vector.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn half_of_two(&self, half: Half, first_line: usize, first_pair: usize) -> Block {
        let mut block = [_mm512_setzero_si512(); SIDE];
        for (pair, vector) in (first_pair..).zip(&mut block) {
            let (low, high) = self.pair_of_two(first_line, pair);
            *vector = match half {
                Half::Low => low,
                Half::High => high,
            };
        }
        block
    }
}

/// Two rows of 32 numbers become pairs by an instruction that works within quarters of a vector: of each eight lines the
/// first four are in one result, the others in another.
#[derive(Clone, Copy)]
enum Half {
    Low,
    High,
}

impl Half {
    /// Which of the 32 lines an element belongs to.
    fn line(self, element: usize) -> usize {
        element / 4 * 8 + element % 4 + 4 * self as usize
    }
}

/// Where 16 lines in order are found in the two halves, two lines at a time.
const LINES_0_TO_15: [i64; 8] = [0, 1, 8, 9, 2, 3, 10, 11];
const LINES_16_TO_31: [i64; 8] = [4, 5, 12, 13, 6, 7, 14, 15];

#[inline]
#[target_feature(enable = "avx512f")]
fn in_twos(q: [i64; 8]) -> __m512i {
    _mm512_setr_epi64(q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7])
}

/// A format that vectors of 16-bit numbers are read from.
pub(super) trait Number: Element {
    /// Up to 32 neighbours as 16 pairs, zero beyond them.
    ///
    /// # Safety
    /// The machine must have AVX-512 with its BW, VL and BF16 parts.
    #[allow(unsafe_code)]
    unsafe fn pairs(values: &[Self]) -> __m512i;
}

#[allow(unsafe_code)]
impl Number for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pairs(values: &[Self]) -> __m512i {
        // SAFETY: the mask leaves out the lanes beyond `values`.
        unsafe { _mm512_maskz_loadu_epi16(first_32(values.len()), values.as_ptr().cast()) }
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
