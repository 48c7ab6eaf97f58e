//! Attention of new rows of sequences over the keys and values that a cache keeps.

use std::ops::Range;

use rayon::prelude::*;

use super::cache::{KeyValueCache, Sequence, tile_sizes, with_tiles};
use super::forward::{BLOCK_ROWS, attend};
use super::gpu_step;
use super::plan::cut;
use super::softmax::Sight;
use super::tile::{TILE, load_rows, padded, sized, store_row};
use crate::ops::Heads;
use crate::ops::formats::{build_in, with_numbers};
use crate::tensor::Storable;
use crate::{Element, Precision, Result, Tensor, TensorError};

/// New rows of some sequences: row *i* of `qkv: [n, heads.columns()]` belongs to `sequences[i]`, and several rows of one
/// sequence follow one another. Their keys and values are appended to the cache, then the queries of each attend to all
/// rows of its sequence up to its own, or with a `window` to the last so many, its own counted: `[n, query * width]` in
/// the precision of `qkv`.
///
/// # Errors
/// When shapes do not fit, or a sequence does not exist, has rows that do not follow one another or no room for them;
/// the cache is unchanged then.
pub fn attention_step(
    qkv: &Tensor,
    heads: Heads,
    cache: &mut KeyValueCache,
    sequences: &[usize],
    window: Option<usize>,
) -> Result<Tensor> {
    cache.check(qkv, heads)?;
    if qkv.shape().len() != 2 || qkv.rows() != sequences.len() {
        return Err(TensorError::shape(
            "attention_step",
            format!("qkv {:?} for {} sequences", qkv.shape(), sequences.len()),
        ));
    }
    let runs = Run::all(sequences);
    let mut named = vec![false; cache.sequences()];
    for run in &runs {
        cache.check_room(run.sequence, run.rows.len())?;
        if std::mem::replace(&mut named[run.sequence], true) {
            return Err(TensorError::shape(
                "attention_step",
                format!(
                    "rows of sequence {} that do not follow one another in {sequences:?}",
                    run.sequence
                ),
            ));
        }
    }
    if cache.on_gpu.is_some() {
        return gpu_step::attention_step(qkv, heads, cache, &runs, window);
    }
    for run in &runs {
        cache.append(run.sequence, qkv, heads, run.rows.clone());
    }
    let shape = [sequences.len(), heads.query * heads.width];
    Ok(build_in!(qkv.precision(), &shape, |out| step(
        qkv, heads, cache, &runs, window, out
    )))
}

/// Rows of one sequence that follow one another, its last ones.
pub(super) struct Run {
    pub sequence: usize,
    pub rows: Range<usize>,
}

impl Run {
    fn all(sequences: &[usize]) -> Vec<Self> {
        let mut end = 0;
        let runs = sequences.chunk_by(|a, b| a == b);
        runs.map(|run| {
            let start = end;
            end += run.len();
            Self {
                sequence: run[0],
                rows: start..end,
            }
        })
        .collect()
    }

    /// What row `place` of the run sees of its sequence, which has `length` rows.
    fn sees(&self, place: usize, length: usize, window: Option<usize>) -> Range<usize> {
        let end = length - self.rows.len() + place + 1;
        end.saturating_sub(window.unwrap_or(end))..end
    }
}

/// Buffers that a thread keeps from task to task.
#[derive(Default)]
struct Scratch {
    queries: Vec<f32>,
    output: Vec<f32>,
    scores: Vec<f32>,
    tile: Vec<f32>,
}

fn step<T: Storable>(
    qkv: &Tensor,
    heads: Heads,
    cache: &KeyValueCache,
    runs: &[Run],
    window: Option<usize>,
    out: &mut [T],
) {
    let (row, shared) = (heads.query * heads.width, heads.group() * heads.width);
    let mut rest = out;
    let mut parts = Vec::with_capacity(runs.len());
    for run in runs {
        let (own, later) = rest.split_at_mut(run.rows.len() * row);
        parts.push((run, own));
        rest = later;
    }
    let attend = |scratch: &mut Scratch, run: &Run, key_value: usize, out: &mut [T]| {
        let length = cache.lengths[run.sequence];
        let sees = |place| run.sees(place, length, window);
        let source = (qkv, run.rows.clone(), key_value);
        with_tiles!(&cache.tiles, |tiles| {
            attend_all(source, heads, &tiles[run.sequence], sees, scratch, out);
        });
    };
    parts.into_par_iter().for_each(|(run, out)| {
        // The query heads that share a key-value head lie side by side, of one row a task each. Those of several rows
        // do not, and are enough for one task.
        if run.rows.len() == 1 {
            out.par_chunks_mut(shared)
                .enumerate()
                .for_each_init(Scratch::default, |scratch, (key_value, out)| {
                    attend(scratch, run, key_value, out)
                });
        } else {
            let mut scratch = Scratch::default();
            for key_value in 0..heads.key_value {
                attend(&mut scratch, run, key_value, &mut out[key_value * shared..]);
            }
        }
    });
}

/// The query heads of some rows that share `key_value` look at the cached rows that each `sees`, and write to the
/// beginnings of the rows of `out`.
fn attend_all<C: Storable, T: Element>(
    (qkv, rows, key_value): (&Tensor, Range<usize>, usize),
    heads: Heads,
    tiles: &Sequence<C>,
    sees: impl Fn(usize) -> Range<usize>,
    scratch: &mut Scratch,
    out: &mut [T],
) {
    let (group, width, lanes) = (heads.group(), heads.width, padded(heads.width));
    let (key_size, size) = tile_sizes(width);
    let count = rows.len() * group;
    let queries = sized(&mut scratch.queries, count * lanes);
    let output = sized(&mut scratch.output, count * lanes);
    let scores = sized(&mut scratch.scores, BLOCK_ROWS * TILE);
    let scale = 1.0 / (width as f32).sqrt();
    for (row, queries) in rows.clone().zip(queries.chunks_mut(group * lanes)) {
        let first = row * heads.columns() + key_value * group * width;
        with_numbers!(qkv, |values| {
            load_rows(&values[first..], width, group, width, scale, queries);
        });
    }
    output.fill(0.0);
    let (mut max, mut sum) = (vec![f32::NEG_INFINITY; count], vec![0.0; count]);
    let seen = (0..count).map(|query| sees(query / group));
    let (start, end): (Vec<u32>, Vec<u32>) = seen
        .map(|seen| (seen.start as u32, seen.end as u32))
        .unzip();
    let seen = sees(0).start..sees(rows.len() - 1).end;
    for (tile, keys) in tiles.iter().zip(cut(0..seen.end, TILE)) {
        if keys.end <= seen.start {
            continue;
        }
        let tile = &tile[key_value * size..][..size];
        let tile = match bytemuck::try_cast_slice::<C, f32>(tile) {
            Ok(numbers) if C::PRECISION == Precision::F32 => numbers,
            _ => {
                let numbers = sized(&mut scratch.tile, size);
                load_rows(tile, size, 1, size, 1.0, numbers);
                &*numbers
            }
        };
        let (turned_keys, values) = tile.split_at(key_size);
        for block in cut(0..count, BLOCK_ROWS) {
            let (start, end) = (&start[block.clone()], &end[block.clone()]);
            let Some(sight) = Sight::new(start, end, keys.clone()) else {
                continue;
            };
            let numbers = block.start * lanes..block.end * lanes;
            attend(
                &queries[numbers.clone()],
                turned_keys,
                values,
                &sight,
                width,
                scores,
                &mut output[numbers],
                &mut max[block.clone()],
                &mut sum[block],
            );
        }
    }
    let rows = out.chunks_mut(heads.query * width);
    let outs = rows.flat_map(|row| row.chunks_exact_mut(width).take(group));
    for (query, out) in outs.enumerate() {
        store_row(&output[query * lanes..][..width], 1.0 / sum[query], out);
    }
}
