//! The factor on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, Module, Source, Spread};
use crate::ops::gpu::like;
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    count: u64,
    factor: f32,
    pad: i32,
}

pub(super) fn scale(gpu: &Arc<Gpu>, tape: &Tape<'_>, x: &Tensor, factor: f32) -> Result<Tensor> {
    let y = scaled(gpu, x, factor)?;
    let (gpu, node, precision) = (Arc::clone(gpu), x.node, x.precision());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dx = scaled(&gpu, &dy.to_precision(precision), factor)?;
        flow.add(node, dx)
    }))
}

fn scaled(gpu: &Arc<Gpu>, x: &Tensor, factor: f32) -> Result<Tensor> {
    let y = like(gpu, x)?;
    let args = Args {
        x: x.address(),
        y: y.address(),
        count: x.len() as u64,
        factor,
        pad: 0,
    };
    let module = Module::new(Source::Scale).format("T", x.precision());
    gpu.launch(module, "scale", Spread::packs(x.len()), &args)?;
    Ok(y)
}
