//! Dot products of a few rows with rows of a weight, in AVX-512.
//!
//! Written out because the compiler turns lane loops of this shape into vectors for some row counts and into single
//! numbers for others.

use std::arch::x86_64::*;

use half::bf16;

use crate::{Element, Isa};

/// Numbers of a vector.
const LANES: usize = 16;
/// Rows of the weight read side by side: as many independent sums for each row.
const COLUMNS: usize = 4;

/// Writes `sums: [n, m]` of `rows: [m, k]` and `weight: [n, k]`, where the machine can; says whether it did.
pub(super) fn dots<T: Widen>(rows: &[f32], weight: &[T], k: usize, sums: &mut [f32]) -> bool {
    let found = Isa::current() >= Isa::Avx512;
    if found {
        // SAFETY: `Isa::current` found the instructions.
        #[allow(unsafe_code)]
        unsafe {
            all(rows, weight, k, sums);
        }
    }
    found
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn all<T: Widen>(rows: &[f32], weight: &[T], k: usize, sums: &mut [f32]) {
    let m = rows.len() / k;
    for (weight, sums) in weight.chunks(COLUMNS * k).zip(sums.chunks_mut(COLUMNS * m)) {
        if weight.len() == COLUMNS * k {
            some_columns::<T, COLUMNS>(rows, weight, k, sums);
        } else {
            for (weight, sums) in weight.chunks_exact(k).zip(sums.chunks_exact_mut(m)) {
                some_columns::<T, 1>(rows, weight, k, sums);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn some_columns<T: Widen, const N: usize>(rows: &[f32], weight: &[T], k: usize, sums: &mut [f32]) {
    const ROWS: usize = 4;
    let m = rows.len() / k;
    for (index, rows) in rows.chunks(ROWS * k).enumerate() {
        let sums = &mut sums[index * ROWS..];
        match rows.len() / k {
            1 => tile::<T, 1, N>(rows, weight, k, sums, m),
            2 => tile::<T, 2, N>(rows, weight, k, sums, m),
            3 => tile::<T, 3, N>(rows, weight, k, sums, m),
            _ => tile::<T, ROWS, N>(rows, weight, k, sums, m),
        }
    }
}

/// `sums[j * m + i] = rows[i] · weight[j]` for `ROWS` rows and `N` rows of the weight.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[allow(unsafe_code)]
fn tile<T: Widen, const ROWS: usize, const N: usize>(
    rows: &[f32],
    weight: &[T],
    k: usize,
    sums: &mut [f32],
    m: usize,
) {
    assert!(rows.len() >= ROWS * k && weight.len() >= N * k);
    let mut lanes = [[_mm512_setzero_ps(); ROWS]; N];
    for at in (0..k).step_by(LANES) {
        let mask = if k - at >= LANES {
            !0
        } else {
            (1 << (k - at)) - 1
        };
        if at.is_multiple_of(2 * LANES) {
            for column in 0..N {
                // The rows after these: each passes by only once.
                let ahead = weight.as_ptr().wrapping_add((N + column) * k + at);
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
            }
        }
        let mut x = [_mm512_setzero_ps(); ROWS];
        for (row, x) in x.iter_mut().enumerate() {
            // SAFETY: `rows` holds ROWS rows of k numbers; the mask leaves out what lies beyond the row's end.
            *x = unsafe { _mm512_maskz_loadu_ps(mask, rows.as_ptr().wrapping_add(row * k + at)) };
        }
        for (column, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: as above, for `weight` and its N rows.
            let w = unsafe { T::widen(weight.as_ptr().wrapping_add(column * k + at), mask) };
            for (lanes, x) in lanes.iter_mut().zip(x) {
                *lanes = _mm512_fmadd_ps(x, w, *lanes);
            }
        }
    }
    for (column, lanes) in lanes.into_iter().enumerate() {
        for (row, lanes) in lanes.into_iter().enumerate() {
            sums[column * m + row] = _mm512_reduce_add_ps(lanes);
        }
    }
}

/// A format that vectors of f32 are read from.
pub(in crate::gemm) trait Widen: Element {
    /// The numbers from `start` on whose bit is set in `mask`, zero in the other lanes.
    ///
    /// # Safety
    /// The machine must have AVX-512 F, BW and VL, and the numbers in `mask` must be readable.
    #[allow(unsafe_code)]
    unsafe fn widen(start: *const Self, mask: __mmask16) -> __m512;
}

#[allow(unsafe_code)]
impl Widen for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen(start: *const Self, mask: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(mask, start) }
    }
}

#[allow(unsafe_code)]
impl Widen for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn widen(start: *const Self, mask: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        let numbers = unsafe { _mm256_maskz_loadu_epi16(mask, start.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(numbers)))
    }
}
