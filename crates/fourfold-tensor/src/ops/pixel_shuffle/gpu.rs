//! Neighbouring patches side by side, on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Blocks;
use crate::device::{Address, Gpu, Module, Source};
use crate::ops::gpu::{int, row_packs};
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    rows: i32,
    width: i32,
    down: i32,
    across: i32,
    factor: i32,
    back: i32,
}

pub(super) fn pixel_shuffle(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    x: &Tensor,
    blocks: Blocks,
    shape: &[usize],
) -> Result<Tensor> {
    let y = shuffled(gpu, x, blocks, shape, false)?;
    let (gpu, node, shape) = (Arc::clone(gpu), x.node, x.shape().to_vec());
    Ok(tape.record(&[x], y, move |dy, flow| {
        flow.add(node, shuffled(&gpu, &dy, blocks, &shape, true)?)
    }))
}

fn shuffled(
    gpu: &Arc<Gpu>,
    x: &Tensor,
    blocks: Blocks,
    shape: &[usize],
    back: bool,
) -> Result<Tensor> {
    let y = Tensor::on_gpu(gpu, shape, x.precision())?;
    let rows = x.len() / blocks.width.max(1);
    let args = Args {
        x: x.address(),
        y: y.address(),
        rows: int(rows),
        width: int(blocks.width),
        down: int(blocks.down),
        across: int(blocks.across),
        factor: int(blocks.factor),
        back: i32::from(back),
    };
    let module = Module::new(Source::PixelShuffle).format("T", x.precision());
    gpu.launch(
        module,
        "pixel_shuffle",
        row_packs(rows, blocks.width),
        &args,
    )?;
    Ok(y)
}
