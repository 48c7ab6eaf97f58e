//! The micro-kernel of AVX-512 with `vdpbf16ps`: two products and two sums in each of 16 lanes, one instruction.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::kernel::{Destination, Finish, Left, MicroKernel, Panel};
use super::lanes::{SIDE, first_16};
use crate::Isa;
use crate::ops::{Gelu, gelu_at};

/// f32 lanes of a vector.
const LANES: usize = 16;
/// Vectors across a tile. Eight rows of three vectors are 24 sums in registers, which hides the latency of the dot
/// product twice over and leaves registers for three vectors of `right` and the broadcasts of `left`.
const VECTORS: usize = 3;
/// How many pairs ahead of its use a line of `right` is asked for.
const PREFETCH_PAIRS: usize = 12;

/// Proof that this machine has AVX-512 with 16-bit dot products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// The kernel, where the instruction set in use has it.
    pub(super) fn find() -> Option<Self> {
        Isa::current().has_bf16().then_some(Self(()))
    }
}

impl MicroKernel for Avx512Bf16 {
    const ROWS: usize = 8;
    const COLUMNS: usize = VECTORS * LANES;
    /// 8 rows of the left operand are 16 KiB; the panel streams by.
    const DEPTH: usize = 512;

    #[inline]
    #[allow(unsafe_code)]
    unsafe fn tile(
        self,
        pairs: usize,
        left: Left,
        right: Panel,
        rows: usize,
        columns: usize,
        finish: Finish,
    ) {
        debug_assert!((1..=Self::ROWS).contains(&rows) && (1..=Self::COLUMNS).contains(&columns));
        debug_assert!(pairs > 0 && pairs.is_multiple_of(SIDE));
        debug_assert!(left.extent.holds((pairs - SIDE + rows) * SIDE));
        debug_assert!(right.extent.holds(pairs * Self::COLUMNS));
        debug_assert!(finish.holds(rows, columns));
        let right = right.start;
        // SAFETY: `self` exists only where `Isa::current` found the instructions; the rest is the caller's promise,
        // and each function reads and writes exactly as many rows as its parameter says.
        unsafe {
            match rows {
                1 => tile::<1>(pairs, left, right, columns, finish),
                2 => tile::<2>(pairs, left, right, columns, finish),
                3 => tile::<3>(pairs, left, right, columns, finish),
                4 => tile::<4>(pairs, left, right, columns, finish),
                5 => tile::<5>(pairs, left, right, columns, finish),
                6 => tile::<6>(pairs, left, right, columns, finish),
                7 => tile::<7>(pairs, left, right, columns, finish),
                _ => tile::<8>(pairs, left, right, columns, finish),
            }
        }
    }
}

type Sums<const ROWS: usize> = [[__m512; VECTORS]; ROWS];

/// # Safety
/// The promise of [`MicroKernel::tile`] for `ROWS` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn tile<const ROWS: usize>(
    pairs: usize,
    left: Left,
    right: *const u32,
    columns: usize,
    finish: Finish,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let sums = dot_products::<ROWS>(pairs, left, right);
        write(sums, columns, finish);
    }
}

/// # Safety
/// `left` must be readable for `pairs` pairs of `ROWS` rows of one group, `right` for `pairs` rows of a whole panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn dot_products<const ROWS: usize>(
    pairs: usize,
    left: Left,
    right: *const u32,
) -> Sums<ROWS> {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for pair in 0..pairs {
        let line = right.wrapping_add(pair * VECTORS * LANES);
        let mut vectors = [_mm512_setzero_si512(); VECTORS];
        for (index, vector) in vectors.iter_mut().enumerate() {
            let ahead = line.wrapping_add(PREFETCH_PAIRS * VECTORS * LANES + index * LANES);
            _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
            // SAFETY: `pair < pairs` and the caller's promise for `right`.
            *vector = unsafe { _mm512_loadu_si512(line.wrapping_add(index * LANES).cast()) };
        }
        let first = left
            .start
            .wrapping_add(pair / SIDE * SIDE * SIDE + pair % SIDE);
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row < ROWS`, `pair < pairs` and the caller's promise for `left`.
            let pair = unsafe { first.wrapping_add(row * SIDE).read() };
            let pair = as_bf16(_mm512_set1_epi32(pair as i32));
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = _mm512_dpbf16_ps(*sum, pair, as_bf16(vector));
            }
        }
    }
    sums
}

/// # Safety
/// The places in `finish` must hold `ROWS` by `columns` numbers, its bias `columns`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn write<const ROWS: usize>(sums: Sums<ROWS>, columns: usize, finish: Finish) {
    let masks: [__mmask16; VECTORS] =
        from_fn(|index| first_16(columns.saturating_sub(index * LANES)));
    for (row, sums) in sums.into_iter().enumerate() {
        for (index, (sum, mask)) in sums.into_iter().zip(masks).enumerate() {
            // SAFETY: a lane is in `mask` only if its column is below `columns`, and `row < ROWS`: every number
            // touched is one that the caller promised.
            unsafe { write_vector(sum, row, index * LANES, mask, finish) };
        }
    }
}

/// Finishes and writes the sums of 16 columns from `column` on; lanes outside `mask` are neither read nor written.
///
/// # Safety
/// The places in `finish`, and its bias, must hold the numbers at `row` and the columns in `mask`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
pub(super) unsafe fn write_vector(
    sum: __m512,
    row: usize,
    column: usize,
    mask: __mmask16,
    finish: Finish,
) {
    let lanes = u16::BITS - mask.leading_zeros();
    debug_assert!(lanes == 0 || finish.at(row, column).holds(1, lanes as usize));
    // SAFETY: the caller's promise; both types of sixteen 16-bit numbers are plain bits.
    unsafe {
        let sum = add_earlier_and_bias(sum, row, column, mask, finish);
        match finish.out {
            Destination::F32(out) => {
                _mm512_mask_storeu_ps(out.at(row, column).start, mask, sum);
            }
            Destination::Bf16(out) | Destination::Gelu(out, _) => {
                let rounded = _mm512_cvtneps_pbh(activated(sum, finish));
                let rounded: __m256i = std::mem::transmute(rounded);
                _mm256_mask_storeu_epi16(out.at(row, column).start.cast(), mask, rounded);
            }
        }
    }
}

/// # Safety
/// As for [`write_vector`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn add_earlier_and_bias(
    mut sum: __m512,
    row: usize,
    column: usize,
    mask: __mmask16,
    finish: Finish,
) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(earlier) = finish.earlier {
            let earlier = _mm512_maskz_loadu_ps(mask, earlier.at(row, column).start);
            sum = _mm512_add_ps(sum, earlier);
        }
        if let Some(bias) = finish.bias {
            let bias = _mm512_maskz_loadu_ps(mask, bias.wrapping_add(column));
            sum = _mm512_add_ps(sum, bias);
        }
    }
    sum
}

/// GELU of the numbers, rounded first, where the destination wants it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
pub(super) fn activated(sum: __m512, finish: Finish) -> __m512 {
    let Destination::Gelu(_, kind) = finish.out else {
        return sum;
    };
    // SAFETY: all of them are plain bits, 256 of sixteen 16-bit numbers and 512 of sixteen f32.
    unsafe {
        let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(sum));
        let widened = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(rounded));
        let mut numbers: [f32; LANES] = std::mem::transmute(widened);
        // Loops, not closures, which would not be compiled for the instructions of this function.
        match kind {
            Gelu::Tanh => {
                for x in &mut numbers {
                    *x = gelu_at::<true>(Gelu::Tanh, *x);
                }
            }
            Gelu::Erf => {
                for x in &mut numbers {
                    *x = gelu_at::<true>(Gelu::Erf, *x);
                }
            }
            Gelu::Quick => {
                for x in &mut numbers {
                    *x = gelu_at::<true>(Gelu::Quick, *x);
                }
            }
        }
        std::mem::transmute(numbers)
    }
}

/// The same bits as pairs of 16-bit numbers.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
fn as_bf16(vector: __m512i) -> __m512bh {
    // SAFETY: both are 512 plain bits.
    unsafe { std::mem::transmute(vector) }
}
