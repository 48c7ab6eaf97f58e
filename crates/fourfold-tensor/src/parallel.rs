//! Splitting loops over threads with the same result for any number of them.
//!
//! Work is cut by fixed sizes, never by the number of threads, and partial sums are added in order: this is
//! what makes a run repeat bit for bit.

use rayon::prelude::*;

/// Rows that one task takes so that it handles about `16 Ki` elements.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (16 * 1024 / width.max(1)).max(1)
}

/// Calls `work(first_row, rows)` for pieces of whole rows of `out`, in parallel.
pub(crate) fn for_rows<T: Send>(
    out: &mut [T],
    width: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    if width == 0 || out.is_empty() {
        return;
    }
    let rows = rows_per_task(width);
    out.par_chunks_mut(rows * width)
        .enumerate()
        .for_each(|(piece, out)| work(piece * rows, out));
}

/// Sums, in a fixed order, one partial result of `width` numbers per piece of rows into `total`.
pub(crate) fn sum_over_rows(
    rows: usize,
    width: usize,
    total: &mut [f32],
    work: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) {
    let step = 256.max(rows.div_ceil(64));
    let partials: Vec<Vec<f32>> = (0..rows.div_ceil(step))
        .into_par_iter()
        .map(|piece| {
            let mut partial = vec![0.0; width];
            work(piece * step..((piece + 1) * step).min(rows), &mut partial);
            partial
        })
        .collect();
    for partial in partials {
        for (total, value) in total.iter_mut().zip(partial) {
            *total += value;
        }
    }
}
