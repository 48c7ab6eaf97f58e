//! The norm of heads on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::HeadNorm;
use crate::device::reduce::{Rows, sum_rows};
use crate::device::{Address, Gpu, GpuBuffer, Module, Source, Spread};
use crate::ops::gpu::{Pieces, THREADS, int, like};
use crate::tape::Flow;
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    x: Address,
    query_weight: Address,
    key_weight: Address,
    y: Address,
    rows: i32,
    query_heads: i32,
    key_value_heads: i32,
    width: i32,
    epsilon: f32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BackwardArgs {
    x: Address,
    dy: Address,
    query_weight: Address,
    key_weight: Address,
    dx: Address,
    scales: Address,
    rows: i32,
    query_heads: i32,
    key_value_heads: i32,
    width: i32,
    epsilon: f32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct WeightArgs {
    x: Address,
    dy: Address,
    scales: Address,
    pieces: Address,
    rows: i32,
    query_heads: i32,
    key_value_heads: i32,
    width: i32,
    rows_per_piece: i32,
    pad: i32,
}

pub(super) fn head_norm(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    qkv: &Tensor,
    norm: HeadNorm,
) -> Result<Tensor> {
    let y = like(gpu, qkv)?;
    let heads = norm.heads;
    let args = ForwardArgs {
        x: qkv.address(),
        query_weight: norm.weights[0].address(),
        key_weight: norm.weights[1].address(),
        y: y.address(),
        rows: int(qkv.rows()),
        query_heads: int(heads.query),
        key_value_heads: int(heads.key_value),
        width: int(heads.width),
        epsilon: norm.epsilon,
        pad: 0,
    };
    gpu.launch(
        module(qkv),
        "head_norm_forward",
        norm.spread(qkv.rows()),
        &args,
    )?;
    let (gpu, kept, weights) = (Arc::clone(gpu), qkv.clone(), norm.weights.clone());
    let inputs = [qkv, &weights[0], &weights[1]];
    Ok(tape.record(&inputs, y, move |dy, flow| {
        norm.flow_back(&gpu, &kept, &dy.to_precision(kept.precision()), flow)
    }))
}

fn module(x: &Tensor) -> Module {
    Module::new(Source::HeadNorm).format("T", x.precision())
}

impl HeadNorm {
    /// A warp for each head.
    fn spread(&self, rows: usize) -> Spread {
        const WARPS: usize = THREADS as usize / 32;
        let heads = self.heads.query + 2 * self.heads.key_value;
        Spread::row((rows * heads).div_ceil(WARPS), THREADS)
    }

    fn flow_back(
        &self,
        gpu: &Arc<Gpu>,
        x: &Tensor,
        dy: &Tensor,
        flow: &mut Flow<'_>,
    ) -> Result<()> {
        let (heads, rows, width) = (self.heads, x.rows(), self.heads.width);
        let (query_heads, key_value_heads) = (int(heads.query), int(heads.key_value));
        let scales = rows * (heads.query + heads.key_value) * size_of::<f32>();
        let scales = GpuBuffer::new(gpu, scales)?;
        let dx = like(gpu, x)?;
        let args = BackwardArgs {
            x: x.address(),
            dy: dy.address(),
            query_weight: self.weights[0].address(),
            key_weight: self.weights[1].address(),
            dx: dx.address(),
            scales: scales.address(),
            rows: int(rows),
            query_heads,
            key_value_heads,
            width: int(width),
            epsilon: self.epsilon,
            pad: 0,
        };
        gpu.launch(module(x), "head_norm_backward", self.spread(rows), &args)?;
        flow.add(x.node, dx)?;
        if self.weights.iter().all(|weight| weight.node.is_none()) {
            return Ok(());
        }
        let cut = Pieces::of(rows);
        let pieces = GpuBuffer::new(gpu, cut.count * 2 * width * size_of::<f32>())?;
        let args = WeightArgs {
            x: x.address(),
            dy: dy.address(),
            scales: scales.address(),
            pieces: pieces.address(),
            rows: int(rows),
            query_heads,
            key_value_heads,
            width: int(width),
            rows_per_piece: int(cut.rows),
            pad: 0,
        };
        gpu.launch(
            module(x),
            "head_norm_weight_pieces",
            cut.spread(width),
            &args,
        )?;
        let sums = Rows {
            numbers: &pieces,
            count: cut.count,
            stride: 2 * width,
        };
        for (index, weight) in self.weights.iter().enumerate() {
            flow.accumulate_on(gpu, weight.node, &[width], |out, accumulate| {
                sum_rows(sums, index * width, out, accumulate)
            })?;
        }
        Ok(())
    }
}
