//! Attention of one new row a sequence over the keys and values that a cache keeps.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::cache::{KeyValueCache, Sequence, Tiles, tile_sizes};
use super::forward::{BLOCK_ROWS, attend};
use super::plan::cut;
use super::softmax::Sight;
use super::tile::{TILE, load_rows, padded, sized, store_row};
use crate::ops::Heads;
use crate::tensor::{Storable, View};
use crate::{Element, Precision, Result, Tensor, TensorError};

/// One step of decoding: row *i* of `qkv: [n, heads.columns()]` is the new row of `sequences[i]`. Its key and value
/// are appended to the cache, then its queries attend to every row of the sequence, or with a `window` to the last so
/// many, itself counted: `[n, query * width]` in the precision of `qkv`.
///
/// # Errors
/// When shapes do not fit, a sequence does not exist, is named twice or is full; the cache is unchanged then.
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
    let mut named = vec![false; cache.sequences()];
    for sequence in sequences {
        cache.check_room(*sequence, 1)?;
        if std::mem::replace(&mut named[*sequence], true) {
            return Err(TensorError::shape(
                "attention_step",
                format!("sequence {sequence} is named twice in {sequences:?}"),
            ));
        }
    }
    for (row, sequence) in sequences.iter().enumerate() {
        cache.append(*sequence, qkv, heads, row..row + 1);
    }
    let shape = [sequences.len(), heads.query * heads.width];
    Ok(match qkv.precision() {
        Precision::F32 => Tensor::build::<f32>(&shape, |out| {
            step(qkv, heads, cache, sequences, window, out)
        }),
        Precision::Bf16 => Tensor::build::<bf16>(&shape, |out| {
            step(qkv, heads, cache, sequences, window, out)
        }),
    })
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
    sequences: &[usize],
    window: Option<usize>,
    out: &mut [T],
) {
    // The query heads that share a key-value head lie side by side: one task each.
    out.par_chunks_mut(heads.group() * heads.width)
        .enumerate()
        .for_each_init(Scratch::default, |scratch, (task, out)| {
            let (row, key_value) = (task / heads.key_value, task % heads.key_value);
            let sequence = sequences[row];
            let length = cache.lengths[sequence];
            let rows = length.saturating_sub(window.unwrap_or(length))..length;
            let source = (qkv, row, key_value);
            match &cache.tiles {
                Tiles::F32(tiles) => {
                    attend_all(source, heads, &tiles[sequence], rows, scratch, out)
                }
                Tiles::Bf16(tiles) => {
                    attend_all(source, heads, &tiles[sequence], rows, scratch, out)
                }
            }
        });
}

/// The query heads of one row that share `key_value` look at some cached rows, the last of all among them.
fn attend_all<C: Storable, T: Element>(
    (qkv, row, key_value): (&Tensor, usize, usize),
    heads: Heads,
    tiles: &Sequence<C>,
    rows: Range<usize>,
    scratch: &mut Scratch,
    out: &mut [T],
) {
    let (group, width, lanes) = (heads.group(), heads.width, padded(heads.width));
    let (key_size, size) = tile_sizes(width);
    let queries = sized(&mut scratch.queries, group * lanes);
    let output = sized(&mut scratch.output, group * lanes);
    let scores = sized(&mut scratch.scores, BLOCK_ROWS * TILE);
    let scale = 1.0 / (width as f32).sqrt();
    let first = row * heads.columns() + key_value * group * width;
    match qkv.view() {
        View::F32(values) => load_rows(&values[first..], width, group, width, scale, queries),
        View::Bf16(values) => load_rows(&values[first..], width, group, width, scale, queries),
    }
    output.fill(0.0);
    let (mut max, mut sum) = (vec![f32::NEG_INFINITY; group], vec![0.0; group]);
    let (start, end) = (
        [rows.start as u32; BLOCK_ROWS],
        [rows.end as u32; BLOCK_ROWS],
    );
    for (tile, keys) in tiles.iter().zip(cut(0..rows.end, TILE)) {
        if keys.end <= rows.start {
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
        for block in cut(0..group, BLOCK_ROWS) {
            let count = block.len();
            let Some(sight) = Sight::new(&start[..count], &end[..count], keys.clone()) else {
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
    for (member, out) in out.chunks_exact_mut(width).enumerate() {
        store_row(&output[member * lanes..][..width], 1.0 / sum[member], out);
    }
}
