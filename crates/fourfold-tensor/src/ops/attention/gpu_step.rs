//! Decoding on a device.

use super::cache::KeyValueCache;
use super::gpu::check_width;
use super::gpu_cache::{Sequences, StepArgs};
use super::step::Run;
use crate::device::{GpuBuffer, Spread};
use crate::ops::Heads;
use crate::ops::gpu::{THREADS, int};
use crate::{Result, Tensor, TensorError};

/// Keys that a block of `attend_pieces` looks at.
const PIECE: usize = 256;
/// Query heads of one key-value head that it takes.
const MEMBERS: usize = 4;
/// The most rows that one launch takes: a grid is not longer in its third direction.
const MOST_ROWS: usize = 65_535;

/// What `attention_step` does, for a cache on a device; room was asked for.
pub(super) fn attention_step(
    qkv: &Tensor,
    heads: Heads,
    cache: &mut KeyValueCache,
    runs: &[Run],
    window: Option<usize>,
) -> Result<Tensor> {
    check_width("attention_step", heads)?;
    let rows = qkv.rows();
    if rows > MOST_ROWS {
        return Err(TensorError::shape(
            "attention_step",
            format!("{rows} new rows; on a device at most {MOST_ROWS} at once"),
        ));
    }
    let KeyValueCache {
        lengths,
        on_gpu: Some(kept),
        ..
    } = cache
    else {
        return Err(TensorError::shape("attention_step", "a cache on cpu"));
    };
    let (mut sequences, mut positions, mut longest) = (Vec::new(), Vec::new(), 0);
    for run in runs {
        let length = lengths[run.sequence];
        kept.make_room(run.sequence, length, length + run.rows.len())?;
        for position in length..length + run.rows.len() {
            sequences.push(run.sequence as u32);
            positions.push(position as u32);
            longest = longest.max((position + 1).min(window.unwrap_or(usize::MAX)));
        }
    }
    let new = kept.new_rows(&sequences, &positions)?;
    kept.append(&new, qkv, heads, (0, rows))?;
    let out = Tensor::on_gpu(
        kept.gpu(),
        &[rows, heads.query * heads.width],
        qkv.precision(),
    )?;
    let args = StepArgs {
        qkv: qkv.address(),
        out: out.address(),
        window: int(window.unwrap_or(0)),
        ..new.args(heads, rows)
    };
    attend(kept, qkv, heads, longest.div_ceil(PIECE), args)?;
    for run in runs {
        lengths[run.sequence] += run.rows.len();
    }
    Ok(out)
}

/// Weighs what each row sees, in `pieces` pieces at most, and adds them up.
fn attend(
    kept: &Sequences,
    qkv: &Tensor,
    heads: Heads,
    pieces: usize,
    args: StepArgs,
) -> Result<()> {
    let (gpu, rows, module) = (kept.gpu(), qkv.rows(), kept.module(qkv));
    let all = rows * heads.query * pieces;
    let sums = GpuBuffer::new(gpu, all * heads.width * size_of::<f32>())?;
    let seen = GpuBuffer::new(gpu, all * 2 * size_of::<f32>())?;
    let args = StepArgs {
        sums: sums.address(),
        seen: seen.address(),
        pieces: int(pieces),
        ..args
    };
    let blocks = heads.key_value * heads.group().div_ceil(MEMBERS);
    let spread = Spread {
        grid: [pieces as u32, blocks as u32, rows as u32],
        threads: 128,
        shared: 0,
    };
    gpu.launch(module, "attend_pieces", spread, &args)?;
    let warps = THREADS as usize / 32;
    let spread = Spread::row((rows * heads.query).div_ceil(warps), THREADS);
    gpu.launch(module, "join_pieces", spread, &args)
}
