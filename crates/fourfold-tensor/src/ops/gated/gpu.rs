//! The gated activation on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Gate;
use crate::device::{Address, Gpu, Module, Source};
use crate::ops::gpu::{int, like, row_packs};
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    x: Address,
    y: Address,
    rows: i32,
    inner: i32,
    kind: i32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BackwardArgs {
    x: Address,
    dy: Address,
    dx: Address,
    rows: i32,
    inner: i32,
    kind: i32,
    pad: i32,
}

pub(super) fn gated(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    gate_up: &Tensor,
    gate: Gate,
) -> Result<Tensor> {
    let kind = match gate {
        Gate::Silu => 0,
        Gate::GeluTanh => 1,
    };
    let (rows, inner) = (gate_up.rows(), gate_up.width() / 2);
    let mut shape = gate_up.shape().to_vec();
    if let Some(width) = shape.last_mut() {
        *width = inner;
    }
    let module = Module::new(Source::Gated).format("T", gate_up.precision());
    let y = Tensor::on_gpu(gpu, &shape, gate_up.precision())?;
    let args = ForwardArgs {
        x: gate_up.address(),
        y: y.address(),
        rows: int(rows),
        inner: int(inner),
        kind,
        pad: 0,
    };
    gpu.launch(module, "gated_forward", row_packs(rows, inner), &args)?;
    let (gpu, kept) = (Arc::clone(gpu), gate_up.clone());
    Ok(tape.record(&[gate_up], y, move |dy, flow| {
        let dy = dy.to_precision(kept.precision());
        let dx = like(&gpu, &kept)?;
        let args = BackwardArgs {
            x: kept.address(),
            dy: dy.address(),
            dx: dx.address(),
            rows: int(rows),
            inner: int(inner),
            kind,
            pad: 0,
        };
        gpu.launch(module, "gated_backward", row_packs(rows, inner), &args)?;
        flow.add(kept.node, dx)
    }))
}
