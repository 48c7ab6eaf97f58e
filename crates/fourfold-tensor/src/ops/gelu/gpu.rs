//! GELU on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Gelu;
use crate::device::{Address, Gpu, Module, Source, Spread};
use crate::ops::gpu::like;
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    x: Address,
    y: Address,
    count: u64,
    kind: i32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BackwardArgs {
    x: Address,
    dy: Address,
    dx: Address,
    count: u64,
    kind: i32,
    pad: i32,
}

pub(super) fn gelu(gpu: &Arc<Gpu>, tape: &Tape<'_>, x: &Tensor, kind: Gelu) -> Result<Tensor> {
    let y = like(gpu, x)?;
    let args = ForwardArgs {
        x: x.address(),
        y: y.address(),
        count: x.len() as u64,
        kind: number(kind),
        pad: 0,
    };
    gpu.launch(module(x), "gelu_forward", Spread::packs(x.len()), &args)?;
    Ok(record(gpu, tape, x, y, kind))
}

/// Notes that `y` is the GELU of `x`.
pub(in crate::ops) fn record(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    x: &Tensor,
    y: Tensor,
    kind: Gelu,
) -> Tensor {
    let (gpu, kept) = (Arc::clone(gpu), x.clone());
    tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(kept.precision());
        let dx = like(&gpu, &kept)?;
        let args = BackwardArgs {
            x: kept.address(),
            dy: dy.address(),
            dx: dx.address(),
            count: kept.len() as u64,
            kind: number(kind),
            pad: 0,
        };
        let spread = Spread::packs(kept.len());
        gpu.launch(module(&kept), "gelu_backward", spread, &args)?;
        flow.add(kept.node, dx)
    })
}

fn module(x: &Tensor) -> Module {
    Module::new(Source::Gelu).format("T", x.precision())
}

/// What kernels call `kind`.
fn number(kind: Gelu) -> i32 {
    match kind {
        Gelu::Tanh => 0,
        Gelu::Erf => 1,
        Gelu::Quick => 2,
    }
}
