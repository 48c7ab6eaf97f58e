//! Adding rows to the rows of a table that they came from.

use rayon::prelude::*;

use crate::isa::{fma, multiversion};
use crate::parallel::rows_per_task;

/// `table[ids[i]] += factor · rows[i]` with `table: [n, width]`, `rows: [ids, width]`; the table is zeroed first
/// unless `accumulate` is set.
///
/// Each task owns a range of table rows and adds to one of them in the order of `ids`, so that the sums are
/// the same for any number of threads. Every id must be below `n`.
pub(in crate::ops) fn scatter_add(
    table: &mut [f32],
    width: usize,
    ids: &[u32],
    rows: &[f32],
    factor: f32,
    accumulate: bool,
) {
    if width == 0 {
        return;
    }
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_by_key(|row| ids[*row as usize]);
    let id_of = |row: &u32| ids[*row as usize] as usize;
    let step = rows_per_task(width);
    let scatter = |(piece, table): (usize, &mut [f32])| {
        if !accumulate {
            table.fill(0.0);
        }
        let first = piece * step;
        let start = order.partition_point(|row| id_of(row) < first);
        let end = order.partition_point(|row| id_of(row) < first + step);
        for row in &order[start..end] {
            let (to, from) = ((id_of(row) - first) * width, *row as usize * width);
            add(
                &rows[from..from + width],
                factor,
                &mut table[to..to + width],
            );
        }
    };
    table
        .par_chunks_mut(step * width)
        .enumerate()
        .for_each(scatter);
}

multiversion! {
    fn add(values: &[f32], factor: f32, out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = fma::<FMA>(*value, factor, *out);
        }
    }
}
