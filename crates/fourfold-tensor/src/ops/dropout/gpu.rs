//! Dropout on a device: the same numbers are left out as on CPUs.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Mask;
use crate::device::{Address, Gpu, Module, Source, Spread};
use crate::ops::gpu::like;
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    count: u64,
    seed: u64,
    below: u32,
    factor: f32,
}

pub(super) fn dropout(gpu: &Arc<Gpu>, tape: &Tape<'_>, x: &Tensor, mask: Mask) -> Result<Tensor> {
    let y = masked(gpu, x, mask)?;
    let (gpu, node, precision) = (Arc::clone(gpu), x.node, x.precision());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dx = masked(&gpu, &dy.to_precision(precision), mask)?;
        flow.add(node, dx)
    }))
}

fn masked(gpu: &Arc<Gpu>, x: &Tensor, mask: Mask) -> Result<Tensor> {
    let y = like(gpu, x)?;
    let args = Args {
        x: x.address(),
        y: y.address(),
        count: x.len() as u64,
        seed: mask.seed,
        below: mask.below,
        factor: mask.factor,
    };
    let module = Module::new(Source::Dropout).format("T", x.precision());
    gpu.launch(module, "dropout", Spread::packs(x.len()), &args)?;
    Ok(y)
}
