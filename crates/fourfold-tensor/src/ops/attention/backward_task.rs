//! The gradient of attention for the keys of one task: probabilities are computed again, tile by tile, from the
//! kept row sums.
//!
//! With `P = softmax(S)`, `S = scale · Q Kᵀ` and `O = P V`: `dV = Pᵀ dO`, `dS = P ∘ (dO Vᵀ - Σ dO ∘ O)`,
//! `dQ = scale · dS K`, `dK = scale · dSᵀ Q` (FlashAttention-2, arXiv 2307.08691).

use super::backward::{Received, Task};
use super::cpu::Part;
use super::forward::{Problem, load_view};
use super::plan::cut;
use super::softmax::{Sight, gradient, row_products};
use super::tile::{Rows, Strided, TILE, padded, product, sized, store_row, transpose};
use crate::Element;
use crate::gemm::{Matrix, Packed, Session};

/// Query rows that are multiplied with a tile at once.
const BLOCK_ROWS: usize = 32;

/// What a task writes of the gradient.
pub(super) struct Written<'a, T> {
    pub keys: Part<'a, T>,
    pub values: Part<'a, T>,
    /// Those of all query heads that share the keys, where the task is alone.
    pub queries: Option<Part<'a, T>>,
}

/// Buffers that a thread keeps from task to task.
#[derive(Default)]
pub(super) struct Scratch {
    queries: Vec<f32>,
    d_output: Vec<f32>,
    output: Vec<f32>,
    d_queries: Vec<f32>,
    log_sums: Vec<f32>,
    delta: Vec<f32>,
    keys: Vec<f32>,
    turned_keys: Vec<f32>,
    values: Vec<f32>,
    turned_values: Vec<f32>,
    d_keys: Vec<f32>,
    d_values: Vec<f32>,
    scores: Vec<f32>,
    d_scores: Vec<f32>,
    packed: PackedScratch,
}

/// Operands of products in 16 bits.
#[derive(Default)]
struct PackedScratch {
    /// One a query head, of all its rows.
    queries: Vec<Packed>,
    d_output: Vec<Packed>,
    /// As right operands, one a block of rows, head by head.
    query_blocks: Vec<Packed>,
    d_output_blocks: Vec<Packed>,
    keys: Packed,
    turned_keys: Packed,
    turned_values: Packed,
    weights: Packed,
}

impl PackedScratch {
    /// Packs queries and gradients of results, `[query heads, rows, lanes]`.
    fn pack_queries(
        &mut self,
        session: Session,
        [queries, d_output]: [&[f32]; 2],
        rows: usize,
        lanes: usize,
    ) {
        let (head, block) = (rows * lanes, BLOCK_ROWS * lanes);
        let pairs = [
            (queries, &mut self.queries, &mut self.query_blocks),
            (d_output, &mut self.d_output, &mut self.d_output_blocks),
        ];
        for (numbers, whole, blocks) in pairs {
            let heads = numbers.len() / head;
            whole.resize_with(heads, Packed::default);
            blocks.resize_with(heads * rows.div_ceil(BLOCK_ROWS), Packed::default);
            let mut blocks = blocks.iter_mut();
            for (numbers, packed) in numbers.chunks_exact(head).zip(whole) {
                session.left(Matrix::dense(numbers, rows, lanes), packed);
                for (numbers, packed) in numbers.chunks(block).zip(&mut blocks) {
                    let matrix = Matrix::dense(numbers, numbers.len() / lanes, lanes);
                    session.right(matrix, packed);
                }
            }
        }
    }
}

/// Writes the gradients of the task's keys and values, and either writes those of its queries or returns them as
/// `[query heads that share the keys, rows, padded width]`.
pub(super) fn run<T: Element>(
    problem: &Problem<'_>,
    received: &Received<'_>,
    task: &Task,
    session: Option<Session>,
    scratch: &mut Scratch,
    out: &mut Written<'_, T>,
) -> Vec<f32> {
    let (heads, count) = (problem.heads, task.rows.len());
    let (group, width, lanes) = (heads.group(), heads.width, padded(heads.width));
    load_queries(problem, received, task, scratch);
    let packed = &mut scratch.packed;
    if let Some(session) = session {
        let len = group * count * lanes;
        let numbers = [&scratch.queries[..len], &scratch.d_output[..len]];
        packed.pack_queries(session, numbers, count, lanes);
    }
    let blocks = count.div_ceil(BLOCK_ROWS);
    let d_queries = sized(&mut scratch.d_queries, group * count * lanes);
    d_queries.fill(0.0);
    let keys = sized(&mut scratch.keys, TILE * lanes);
    let turned_keys = sized(&mut scratch.turned_keys, TILE * lanes);
    let values = sized(&mut scratch.values, TILE * lanes);
    let turned_values = sized(&mut scratch.turned_values, TILE * lanes);
    let d_keys = sized(&mut scratch.d_keys, TILE * lanes);
    let d_values = sized(&mut scratch.d_values, TILE * lanes);
    let scores = sized(&mut scratch.scores, TILE * BLOCK_ROWS);
    let d_scores = sized(&mut scratch.d_scores, TILE * BLOCK_ROWS);

    for tile in cut(task.keys.clone(), TILE) {
        problem.load(tile.clone(), problem.key_column(task.key_value), 1.0, keys);
        problem.load(
            tile.clone(),
            problem.value_column(task.key_value),
            1.0,
            values,
        );
        if let Some(session) = session {
            keys[tile.len() * lanes..].fill(0.0);
            values[tile.len() * lanes..].fill(0.0);
            let (keys, values) = (
                Matrix::dense(keys, TILE, lanes),
                Matrix::dense(values, TILE, lanes),
            );
            session.right(keys, &mut packed.keys);
            session.right(keys.t(), &mut packed.turned_keys);
            session.right(values.t(), &mut packed.turned_values);
        } else {
            transpose(keys, tile.len(), width, turned_keys);
            transpose(values, tile.len(), width, turned_values);
        }
        d_keys.fill(0.0);
        d_values.fill(0.0);
        for block in cut(task.rows.clone(), BLOCK_ROWS) {
            let start = &problem.visibility.start()[block.clone()];
            let end = &problem.visibility.end()[block.clone()];
            let Some(sight) = Sight::new(start, end, tile.clone()) else {
                continue;
            };
            let (rows, span, seen) = (block.len(), sight.vectors(), sight.lanes.len());
            for member in 0..group {
                let first = member * count + block.start - task.rows.start;
                let numbers = first * lanes..(first + rows) * lanes;
                if let Some(session) = session {
                    let within = block.start - task.rows.start;
                    let number = member * blocks + within / BLOCK_ROWS;
                    let queries = (&packed.queries[member], within, rows);
                    session.multiply(queries, &packed.turned_keys, scores, TILE, false);
                    let d_output = (&packed.d_output[member], within, rows);
                    session.multiply(d_output, &packed.turned_values, d_scores, TILE, false);
                    let log_sums = &scratch.log_sums[first..first + rows];
                    let delta = &scratch.delta[first..first + rows];
                    gradient(scores, d_scores, &sight, log_sums, delta);
                    sight.clear_unseen(&mut scores[..rows * TILE]);
                    sight.clear_unseen(&mut d_scores[..rows * TILE]);
                    let weights = &mut packed.weights;
                    session.left(Matrix::dense(scores, rows, TILE).t(), weights);
                    let d_output = &packed.d_output_blocks[number];
                    session.multiply((weights, 0, TILE), d_output, d_values, lanes, true);
                    let d_scores = Matrix::dense(d_scores, rows, TILE);
                    session.left(d_scores.t(), weights);
                    let queries = &packed.query_blocks[number];
                    session.multiply((weights, 0, TILE), queries, d_keys, lanes, true);
                    session.left(d_scores, weights);
                    let d_queries = &mut d_queries[numbers];
                    session.multiply((weights, 0, rows), &packed.keys, d_queries, lanes, true);
                    continue;
                }
                let queries = &scratch.queries[numbers.clone()];
                let d_output = &scratch.d_output[numbers.clone()];
                let by_key = |values| Rows {
                    values,
                    stride: lanes,
                };
                let by_lane = |values| Rows {
                    values,
                    stride: TILE,
                };
                let whole = |values| Strided {
                    values,
                    row: lanes,
                    column: 1,
                };

                let turned = by_lane(&turned_keys[span.start..]);
                let part = &mut scores[span.start..];
                product(
                    whole(queries),
                    turned,
                    part,
                    TILE,
                    rows,
                    width,
                    span.len(),
                    false,
                );
                let turned = by_lane(&turned_values[span.start..]);
                let part = &mut d_scores[span.start..];
                product(
                    whole(d_output),
                    turned,
                    part,
                    TILE,
                    rows,
                    width,
                    span.len(),
                    false,
                );
                gradient(
                    scores,
                    d_scores,
                    &sight,
                    &scratch.log_sums[first..first + rows],
                    &scratch.delta[first..first + rows],
                );
                let across = |values| Strided {
                    values,
                    row: 1,
                    column: TILE,
                };
                let along = |values| Strided {
                    values,
                    row: TILE,
                    column: 1,
                };
                let (from, keys) = (span.start * lanes, by_key(&keys[span.start * lanes..]));
                let (weights, d_weights) = (&scores[span.start..], &d_scores[span.start..]);
                let d_values = &mut d_values[from..];
                product(
                    across(weights),
                    by_key(d_output),
                    d_values,
                    lanes,
                    seen,
                    rows,
                    lanes,
                    true,
                );
                let d_keys = &mut d_keys[from..];
                product(
                    across(d_weights),
                    by_key(queries),
                    d_keys,
                    lanes,
                    seen,
                    rows,
                    lanes,
                    true,
                );
                let d_queries = &mut d_queries[numbers];
                product(
                    along(d_weights),
                    keys,
                    d_queries,
                    lanes,
                    rows,
                    seen,
                    lanes,
                    true,
                );
            }
        }
        for (offset, row) in tile.enumerate() {
            let numbers = offset * lanes..offset * lanes + width;
            store_row(&d_keys[numbers.clone()], 1.0, out.keys.row(row));
            store_row(&d_values[numbers], 1.0, out.values.row(row));
        }
    }

    let Some(out) = &mut out.queries else {
        return d_queries.to_vec();
    };
    for member in 0..group {
        for (offset, row) in task.rows.clone().enumerate() {
            let out = &mut out.row(row)[member * width..][..width];
            let gradient = &d_queries[(member * count + offset) * lanes..][..width];
            store_row(gradient, problem.scale(), out);
        }
    }
    Vec::new()
}

/// Loads queries, gradients of results and row sums of the task's rows, head by head.
fn load_queries(
    problem: &Problem<'_>,
    received: &Received<'_>,
    task: &Task,
    scratch: &mut Scratch,
) {
    let (heads, count) = (problem.heads, task.rows.len());
    let (group, lanes) = (heads.group(), padded(heads.width));
    let queries = sized(&mut scratch.queries, group * count * lanes);
    let d_output = sized(&mut scratch.d_output, group * count * lanes);
    let output = sized(&mut scratch.output, count * lanes);
    let log_sums = sized(&mut scratch.log_sums, group * count);
    let delta = sized(&mut scratch.delta, group * count);
    for member in 0..group {
        let head = task.key_value * group + member;
        let column = problem.column(head);
        let numbers = member * count * lanes..(member + 1) * count * lanes;
        let queries = &mut queries[numbers.clone()];
        problem.load(task.rows.clone(), column, problem.scale(), queries);
        let stride = heads.query * heads.width;
        let load = |values, out: &mut [f32]| {
            load_view(
                values,
                stride,
                task.rows.clone(),
                column,
                heads.width,
                1.0,
                out,
            );
        };
        load(received.gradient, &mut d_output[numbers.clone()]);
        load(received.output, output);
        let part = member * count..(member + 1) * count;
        row_products(&d_output[numbers], output, lanes, &mut delta[part.clone()]);
        for (log_sum, row) in log_sums[part].iter_mut().zip(task.rows.clone()) {
            *log_sum = received.log_sums[row * heads.query + head];
        }
    }
}
