//! A row or a few against a weight stored as `[out, in]`, as decoding has them: dot products with the weight's rows as
//! they lie. Reading the weight once is nearly all the work, so nothing is packed or converted in memory.

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(not(target_arch = "x86_64"))]
use crate::Element as Number;
#[cfg(target_arch = "x86_64")]
use avx512::Widen as Number;

use rayon::prelude::*;

use super::portable::rounded;
use super::{Matrix, Output};
use crate::isa::{fma, multiversion};
use crate::ops::formats::{convert_all, with_view};
use crate::ops::gelu_in_place;
use crate::pool::Words;
use crate::tensor::View;
use crate::{Element, Precision};

/// The most rows taken this way.
const MOST_ROWS: usize = 8;
/// Partial sums kept side by side for one result.
const LANES: usize = 32;
/// Weight numbers that one task reads.
const NUMBERS_PER_TASK: usize = 64 * 1024;

/// Whether the product is of this kind.
pub(super) fn suits(a: Matrix<'_>, b: Matrix<'_>, precision: Precision) -> bool {
    let rounding_the_weight = precision != Precision::F32 && precision != b.view.precision();
    a.rows <= MOST_ROWS && a.columns > 0 && !a.transposed && b.transposed && !rounding_the_weight
}

/// `out (+)= a · b + bias` for operands that [`suits`] accepts.
pub(super) fn product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
    precision: Precision,
    output: Output<'_>,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    if m == 0 || n == 0 {
        return;
    }
    let mut rows = Words::take(m * k * size_of::<f32>());
    let rows: &mut [f32] = rows.as_mut_slice(m * k);
    with_view!(a.view, |values| rounded(values, precision, rows));
    let mut sums = Words::take(m * n * size_of::<f32>());
    let sums: &mut [f32] = sums.as_mut_slice(m * n);
    match b.view {
        View::F32(weight) => all_dots(rows, weight, k, sums),
        View::Bf16(weight) => all_dots(rows, weight, k, sums),
        // No kernel reads it: it is converted whole, each time.
        View::F16(weight) => {
            let mut wide = Words::take(weight.len() * size_of::<f32>());
            let wide: &mut [f32] = wide.as_mut_slice(weight.len());
            convert_all(weight, wide);
            all_dots(rows, &*wide, k, sums);
        }
    }
    let value =
        |row: usize, column: usize| sums[column * m + row] + bias.map_or(0.0, |bias| bias[column]);
    match output {
        Output::F32 { out, accumulate } => each(out, n, |out, row, column| {
            *out = value(row, column) + if accumulate { *out } else { 0.0 };
        }),
        Output::Added { out, to } => each(out, n, |out, row, column| {
            *out = value(row, column) + to[row * n + column];
        }),
        Output::Bf16(out) => each(out, n, |out, row, column| {
            *out = Element::store(value(row, column));
        }),
        Output::Gelu(out, kind) => {
            each(out, n, |out, row, column| {
                *out = Element::store(value(row, column))
            });
            gelu_in_place(kind, out);
        }
    }
}

/// Calls `write` with each place of `out`, rows of `n`, and its row and column.
fn each<T>(out: &mut [T], n: usize, write: impl Fn(&mut T, usize, usize)) {
    for (row, out) in out.chunks_exact_mut(n).enumerate() {
        for (column, out) in out.iter_mut().enumerate() {
            write(out, row, column);
        }
    }
}

/// `sums: [n, m]` of `rows: [m, k]` and `weight: [n, k]`, over threads where it is worth it.
fn all_dots<T: Number>(rows: &[f32], weight: &[T], k: usize, sums: &mut [f32]) {
    let m = rows.len() / k;
    if weight.len() < 2 * NUMBERS_PER_TASK {
        return dots(rows, weight, k, sums);
    }
    let columns = (NUMBERS_PER_TASK / k).max(1).next_multiple_of(4);
    sums.par_chunks_mut(columns * m)
        .zip(weight.par_chunks(columns * k))
        .for_each(|(sums, weight)| dots(rows, weight, k, sums));
}

/// `sums[j, i] = Σ rows[i, :] · weight[j, :]`.
pub(super) fn dots<T: Number>(rows: &[f32], weight: &[T], k: usize, sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if avx512::dots(rows, weight, k, sums) {
        return;
    }
    portable_dots(rows, weight, k, sums);
}

multiversion! {
    pub(super) fn portable_dots<T: Element>(rows: &[f32], weight: &[T], k: usize, sums: &mut [f32]) {
        let m = rows.len() / k;
        for (weight, sums) in weight.chunks_exact(k).zip(sums.chunks_exact_mut(m)) {
            for (row, sum) in rows.chunks_exact(k).zip(sums) {
                *sum = dot::<T, FMA>(row, weight);
            }
        }
    }
}

#[inline(always)]
fn dot<T: Element, const FMA: bool>(row: &[f32], weight: &[T]) -> f32 {
    let (row, weight) = (row.chunks_exact(LANES), weight.chunks_exact(LANES));
    let rest = row.remainder().iter().zip(weight.remainder());
    let mut sum = rest.map(|(x, w)| x * w.load()).sum::<f32>();
    let mut lanes = [0.0f32; LANES];
    for (row, weight) in row.zip(weight) {
        for ((lane, x), w) in lanes.iter_mut().zip(row).zip(weight) {
            *lane = fma::<FMA>(*x, w.load(), *lane);
        }
    }
    for lane in lanes {
        sum += lane;
    }
    sum
}
