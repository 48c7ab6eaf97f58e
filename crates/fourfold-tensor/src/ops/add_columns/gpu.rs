//! The sum in some columns on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, Module, Source};
use crate::ops::gpu::{int, like, row_packs};
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    y: Address,
    delta: Address,
    out: Address,
    rows: i32,
    width: i32,
    first: i32,
    columns: i32,
    factor: f32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BackwardArgs {
    dy: Address,
    ddelta: Address,
    rows: i32,
    width: i32,
    first: i32,
    columns: i32,
    factor: f32,
    pad: i32,
}

pub(super) fn add_columns(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    y: &Tensor,
    delta: &Tensor,
    first: usize,
    factor: f32,
) -> Result<Tensor> {
    let (rows, width, columns) = (y.rows(), y.width(), delta.width());
    let module = |y, delta| {
        let module = Module::new(Source::AddColumns).format("T", y);
        module.format("DELTA", delta)
    };
    let sum = like(gpu, y)?;
    let args = ForwardArgs {
        y: y.address(),
        delta: delta.address(),
        out: sum.address(),
        rows: int(rows),
        width: int(width),
        first: int(first),
        columns: int(columns),
        factor,
        pad: 0,
    };
    let forward = module(y.precision(), delta.precision());
    gpu.launch(forward, "add_columns", row_packs(rows, width), &args)?;
    let (gpu, y_node, y_precision) = (Arc::clone(gpu), y.node, y.precision());
    let (delta_node, shape, precision) = (delta.node, delta.shape().to_vec(), delta.precision());
    Ok(tape.record(&[y, delta], sum, move |dy, flow| {
        if delta_node.is_some() {
            let gradient = Tensor::on_gpu(&gpu, &shape, precision)?;
            let args = BackwardArgs {
                dy: dy.address(),
                ddelta: gradient.address(),
                rows: int(rows),
                width: int(width),
                first: int(first),
                columns: int(columns),
                factor,
                pad: 0,
            };
            let module = module(dy.precision(), precision);
            let spread = row_packs(rows, columns);
            gpu.launch(module, "add_columns_backward", spread, &args)?;
            flow.add(delta_node, gradient)?;
        }
        flow.add(y_node, dy.to_precision(y_precision))
    }))
}
