//! Attention, tile by tile with the online softmax of Milakov and Gimelshein (arXiv 1805.02867), as in
//! FlashAttention-2 (arXiv 2307.08691).

use std::ops::Range;

use rayon::prelude::*;

use super::cpu::{Part, Rectangle, parts};
use super::plan::{cut, documents, keys_seen_by};
use super::softmax::{Sight, online, scale_rows};
use super::tile::{Rows, Strided, TILE, load_rows, padded, product, sized, store_row, transpose};
use crate::gemm::{Matrix, Packed, Session, SmallProducts};
use crate::ops::formats::with_view;
use crate::ops::{Heads, Visibility};
use crate::tensor::View;
use crate::{Element, Precision};

/// Query rows that one task takes: enough to pay for turning the keys.
const TASK_ROWS: usize = 256;

/// Query rows that are multiplied with a tile at once.
pub(super) const BLOCK_ROWS: usize = 32;

/// What one key-value head and the query heads that share it compute with.
pub(super) struct Problem<'a> {
    pub qkv: View<'a>,
    pub heads: Heads,
    pub visibility: &'a Visibility,
    /// Of products.
    pub precision: Precision,
}

impl Problem<'_> {
    /// Factor of the scores.
    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.heads.width as f32).sqrt()
    }

    /// First column of the `head`-th head of a row: query heads, then key heads, then value heads.
    pub(super) fn column(&self, head: usize) -> usize {
        head * self.heads.width
    }

    pub(super) fn key_column(&self, key_value: usize) -> usize {
        self.column(self.heads.query + key_value)
    }

    pub(super) fn value_column(&self, key_value: usize) -> usize {
        self.column(self.heads.query + self.heads.key_value + key_value)
    }

    /// Loads `rows` of the head at `column` times `scale`.
    pub(super) fn load(&self, rows: Range<usize>, column: usize, scale: f32, out: &mut [f32]) {
        let stride = self.heads.columns();
        load_view(self.qkv, stride, rows, column, self.heads.width, scale, out);
    }
}

/// Loads `width` columns from `column` on of `rows` of a matrix, in f32 and padded.
pub(super) fn load_view(
    values: View<'_>,
    stride: usize,
    rows: Range<usize>,
    column: usize,
    width: usize,
    scale: f32,
    out: &mut [f32],
) {
    let first = rows.start * stride + column;
    with_view!(values, |values| load_rows(
        &values[first..],
        stride,
        rows.len(),
        width,
        scale,
        out
    ))
}

/// Buffers that a thread keeps from task to task.
#[derive(Default)]
struct Scratch {
    queries: Vec<f32>,
    keys: Vec<f32>,
    turned_keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
    output: Vec<f32>,
    max: Vec<f32>,
    sum: Vec<f32>,
    packed: PackedScratch,
}

/// Operands of products in 16 bits.
#[derive(Default)]
struct PackedScratch {
    /// One a query head.
    queries: Vec<Packed>,
    turned_keys: Packed,
    values: Packed,
    weights: Packed,
}

impl PackedScratch {
    /// What [`attend`] does, in 16 bits: for the rows of query head `member` from `first` on.
    #[allow(clippy::too_many_arguments)]
    fn attend(
        &mut self,
        session: Session,
        (member, first): (usize, usize),
        sight: &Sight<'_>,
        scores: &mut [f32],
        output: &mut [f32],
        max: &mut [f32],
        sum: &mut [f32],
    ) {
        let rows = max.len();
        let lanes = output.len() / rows;
        let queries = (&self.queries[member], first, rows);
        session.multiply(queries, &self.turned_keys, scores, TILE, false);
        let mut correction = [0.0; BLOCK_ROWS];
        let correction = &mut correction[..rows];
        online(scores, sight, max, sum, correction);
        scale_rows(output, lanes, correction);
        sight.clear_unseen(&mut scores[..rows * TILE]);
        session.left(Matrix::dense(scores, rows, TILE), &mut self.weights);
        session.multiply((&self.weights, 0, rows), &self.values, output, lanes, true);
    }
}

/// Writes attention to `out: [tokens, query * width]` and the logarithm of each row's sum of exponentials to
/// `log_sums: [tokens, query]`.
pub(super) fn forward<T: Element>(problem: &Problem<'_>, out: &mut [T], log_sums: &mut [f32]) {
    let heads = problem.heads;
    let tasks: Vec<(Range<usize>, usize)> = documents(problem.visibility)
        .into_iter()
        .flat_map(|document| cut(document, TASK_ROWS))
        .flat_map(|rows| (0..heads.key_value).map(move |head| (rows.clone(), head)))
        .collect();
    // A task writes its rows in the columns of its query heads, `width` numbers each.
    let written = |width: usize| {
        let width = width * heads.group();
        let rectangle = |(rows, head): &(Range<usize>, usize)| Rectangle {
            rows: rows.clone(),
            columns: head * width..(head + 1) * width,
        };
        tasks.iter().map(rectangle).collect::<Vec<_>>()
    };
    let outputs = parts(out, heads.query * heads.width, written(heads.width));
    let log_sums = parts(log_sums, heads.query, written(1));
    tasks.par_iter().zip(outputs).zip(log_sums).for_each_init(
        Scratch::default,
        |scratch, (((rows, key_value), mut out), mut log_sums)| {
            let mut work = |session| {
                task(
                    problem,
                    rows.clone(),
                    *key_value,
                    session,
                    scratch,
                    &mut out,
                    &mut log_sums,
                );
            };
            match SmallProducts::find(problem.precision) {
                Some(small) => small.session(|session| work(Some(session))),
                None => work(None),
            }
        },
    );
}

/// All query heads that share `key_value`, for `rows`.
fn task<T: Element>(
    problem: &Problem<'_>,
    rows: Range<usize>,
    key_value: usize,
    session: Option<Session>,
    scratch: &mut Scratch,
    out: &mut Part<'_, T>,
    log_sums: &mut Part<'_, f32>,
) {
    let (heads, count) = (problem.heads, rows.len());
    let (group, width, lanes) = (heads.group(), heads.width, padded(heads.width));
    let queries = sized(&mut scratch.queries, group * count * lanes);
    let keys = sized(&mut scratch.keys, TILE * lanes);
    let turned_keys = sized(&mut scratch.turned_keys, TILE * lanes);
    let values = sized(&mut scratch.values, TILE * lanes);
    let scores = sized(&mut scratch.scores, TILE * BLOCK_ROWS);
    let output = sized(&mut scratch.output, group * count * lanes);
    let max = sized(&mut scratch.max, group * count);
    let sum = sized(&mut scratch.sum, group * count);
    max.fill(f32::NEG_INFINITY);
    sum.fill(0.0);
    output.fill(0.0);
    for (member, queries) in queries.chunks_exact_mut(count * lanes).enumerate() {
        let column = problem.column(key_value * group + member);
        problem.load(rows.clone(), column, problem.scale(), queries);
    }
    let packed = &mut scratch.packed;
    if let Some(session) = session {
        packed.queries.resize_with(group, Packed::default);
        for (queries, packed) in queries.chunks_exact(count * lanes).zip(&mut packed.queries) {
            session.left(Matrix::dense(queries, count, lanes), packed);
        }
    }

    for tile in cut(keys_seen_by(problem.visibility, rows.clone()), TILE) {
        problem.load(tile.clone(), problem.key_column(key_value), 1.0, keys);
        problem.load(tile.clone(), problem.value_column(key_value), 1.0, values);
        match session {
            Some(session) => {
                keys[tile.len() * lanes..].fill(0.0);
                values[tile.len() * lanes..].fill(0.0);
                let (keys, values) = (&*keys, &*values);
                session.right(
                    Matrix::dense(keys, TILE, lanes).t(),
                    &mut packed.turned_keys,
                );
                session.right(Matrix::dense(values, TILE, lanes), &mut packed.values);
            }
            None => transpose(keys, tile.len(), width, turned_keys),
        }
        for block in cut(rows.clone(), BLOCK_ROWS) {
            let start = &problem.visibility.start()[block.clone()];
            let end = &problem.visibility.end()[block.clone()];
            let Some(sight) = Sight::new(start, end, tile.clone()) else {
                continue;
            };
            for member in 0..group {
                let first = member * count + block.start - rows.start;
                let block_rows = first..first + block.len();
                let within = block.start - rows.start;
                let block = first * lanes..(first + block.len()) * lanes;
                if let Some(session) = session {
                    packed.attend(
                        session,
                        (member, within),
                        &sight,
                        scores,
                        &mut output[block],
                        &mut max[block_rows.clone()],
                        &mut sum[block_rows],
                    );
                    continue;
                }
                attend(
                    &queries[block.clone()],
                    turned_keys,
                    values,
                    &sight,
                    width,
                    scores,
                    &mut output[block],
                    &mut max[block_rows.clone()],
                    &mut sum[block_rows],
                );
            }
        }
    }

    for member in 0..group {
        for (offset, row) in rows.clone().enumerate() {
            let index = member * count + offset;
            let out = &mut out.row(row)[member * width..][..width];
            store_row(&output[index * lanes..][..width], 1.0 / sum[index], out);
            log_sums.row(row)[member] = max[index] + sum[index].ln();
        }
    }
}

/// A block of query rows looks at one tile: `output`, `max` and `sum` are carried from tile to tile.
#[allow(clippy::too_many_arguments)]
pub(super) fn attend(
    queries: &[f32],
    turned_keys: &[f32],
    values: &[f32],
    sight: &Sight<'_>,
    width: usize,
    scores: &mut [f32],
    output: &mut [f32],
    max: &mut [f32],
    sum: &mut [f32],
) {
    let (rows, lanes, span) = (max.len(), padded(width), sight.vectors());
    product(
        Strided {
            values: queries,
            row: lanes,
            column: 1,
        },
        Rows {
            values: &turned_keys[span.start..],
            stride: TILE,
        },
        &mut scores[span.start..],
        TILE,
        rows,
        width,
        span.len(),
        false,
    );
    let mut correction = [0.0; BLOCK_ROWS];
    let correction = &mut correction[..rows];
    online(scores, sight, max, sum, correction);
    scale_rows(output, lanes, correction);
    product(
        Strided {
            values: &scores[span.start..],
            row: TILE,
            column: 1,
        },
        Rows {
            values: &values[span.start * lanes..],
            stride: lanes,
        },
        output,
        lanes,
        rows,
        sight.lanes.len(),
        lanes,
        true,
    );
}
