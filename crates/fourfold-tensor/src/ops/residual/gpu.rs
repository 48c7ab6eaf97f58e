//! A branch added to the residual stream, on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::reduce::{Rows, sum_rows};
use crate::device::{Address, Gpu, GpuBuffer, Module, Source};
use crate::ops::gpu::{Pieces, int, like, row_packs};
use crate::tape::{Flow, Node};
use crate::{Precision, Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    stream: Address,
    branch: Address,
    scale: Address,
    y: Address,
    rows: i32,
    width: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BranchArgs {
    dy: Address,
    scale: Address,
    dbranch: Address,
    rows: i32,
    width: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ScaleArgs {
    dy: Address,
    branch: Address,
    pieces: Address,
    rows: i32,
    width: i32,
    rows_per_piece: i32,
    pad: i32,
}

pub(super) fn residual(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    stream: &Tensor,
    branch: &Tensor,
    scale: Option<&Tensor>,
) -> Result<Tensor> {
    let (rows, width) = (stream.rows(), stream.width());
    let y = like(gpu, stream)?;
    let args = ForwardArgs {
        stream: stream.address(),
        branch: branch.address(),
        scale: scale.map_or(0, Tensor::address),
        y: y.address(),
        rows: int(rows),
        width: int(width),
    };
    let spread = row_packs(rows, width);
    gpu.launch(module(branch), "residual_forward", spread, &args)?;
    let mut inputs = vec![stream, branch];
    inputs.extend(scale);
    let (gpu, stream_node) = (Arc::clone(gpu), stream.node);
    let (branch, scale) = (branch.clone(), scale.cloned());
    Ok(tape.record(&inputs, y, move |dy, flow| {
        let dy = dy.to_precision(Precision::F32);
        if let Some(node) = scale.as_ref().and_then(|scale| scale.node) {
            scale_gradient(&gpu, node, &branch, &dy, flow)?;
        }
        if branch.node.is_some() {
            let gradient = like(&gpu, &branch)?;
            let args = BranchArgs {
                dy: dy.address(),
                scale: scale.as_ref().map_or(0, Tensor::address),
                dbranch: gradient.address(),
                rows: int(rows),
                width: int(width),
            };
            gpu.launch(module(&branch), "residual_branch", spread, &args)?;
            flow.add(branch.node, gradient)?;
        }
        flow.add(stream_node, dy)
    }))
}

fn module(branch: &Tensor) -> Module {
    Module::new(Source::Residual).format("IN", branch.precision())
}

/// Adds `Σ branch · dy` over rows to the gradient of the scale.
fn scale_gradient(
    gpu: &Arc<Gpu>,
    node: Node,
    branch: &Tensor,
    dy: &Tensor,
    flow: &mut Flow<'_>,
) -> Result<()> {
    let (rows, width) = (branch.rows(), branch.width());
    let cut = Pieces::of(rows);
    let pieces = GpuBuffer::new(gpu, cut.count * width * size_of::<f32>())?;
    let args = ScaleArgs {
        dy: dy.address(),
        branch: branch.address(),
        pieces: pieces.address(),
        rows: int(rows),
        width: int(width),
        rows_per_piece: int(cut.rows),
        pad: 0,
    };
    gpu.launch(
        module(branch),
        "residual_scale_pieces",
        cut.spread(width),
        &args,
    )?;
    let sums = Rows {
        numbers: &pieces,
        count: cut.count,
        stride: width,
    };
    flow.accumulate_on(gpu, Some(node), &[width], |out, accumulate| {
        sum_rows(sums, 0, out, accumulate)
    })
}
