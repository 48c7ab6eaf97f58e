//! Numbers of a device moved, converted and added there.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::{Address, Gpu, Module, Source, Spread, common};
use crate::{Precision, Result, Tensor, TensorError};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AddScaledArgs {
    x: Address,
    y: Address,
    factor_at: Address,
    count: u64,
    factor: f32,
    accumulate: i32,
}

/// Tensors of one shape and format one after the other.
pub(crate) fn stack(
    gpu: &Arc<Gpu>,
    tensors: &[&Tensor],
    shape: &[usize],
    precision: Precision,
) -> Result<Tensor> {
    let stacked = Tensor::on_gpu(gpu, shape, precision)?;
    let mut at = 0;
    for tensor in tensors {
        let bytes = tensor.len() * precision.bytes();
        stacked
            .gpu_buffer()?
            .copy(at, tensor.gpu_buffer()?, 0, bytes)?;
        at += bytes;
    }
    Ok(stacked)
}

/// A copy of entry `index` of the first dimension, which has the shape `shape`.
pub(crate) fn entry(
    gpu: &Arc<Gpu>,
    stacked: &Tensor,
    index: usize,
    shape: &[usize],
) -> Result<Tensor> {
    let entry = Tensor::on_gpu(gpu, shape, stacked.precision())?;
    let bytes = entry.len() * entry.precision().bytes();
    entry
        .gpu_buffer()?
        .copy(0, stacked.gpu_buffer()?, index * bytes, bytes)?;
    Ok(entry)
}

/// `tensor` in `precision`.
pub(crate) fn cast(gpu: &Arc<Gpu>, tensor: &Tensor, precision: Precision) -> Result<Tensor> {
    let out = Tensor::on_gpu(gpu, tensor.shape(), precision)?;
    add_scaled(&out, tensor, 1.0, None, false)?;
    Ok(out)
}

/// `tensor`, or a copy of it where others share its numbers: one that a kernel may write.
pub(crate) fn own(mut tensor: Tensor) -> Result<Tensor> {
    if tensor.is_unique() {
        return Ok(tensor);
    }
    let buffer = tensor.gpu_buffer()?;
    let copy = Tensor::on_gpu(buffer.gpu(), tensor.shape(), tensor.precision())?;
    copy.gpu_buffer()?.copy(0, buffer, 0, buffer.bytes())?;
    Ok(copy)
}

/// The sum of two gradients in the precision of the first.
pub(crate) fn sum(first: Tensor, second: &Tensor) -> Result<Tensor> {
    let first = own(first)?;
    add_scaled(&first, second, 1.0, None, true)?;
    Ok(first)
}

/// `out = factor · x`, or `out += factor · x` where `accumulate` is set; the factor times the number at `factor_at` where
/// that is given. `out` is nobody else's, and both may be of any format.
pub(crate) fn add_scaled(
    out: &Tensor,
    x: &Tensor,
    factor: f32,
    factor_at: Option<&Tensor>,
    accumulate: bool,
) -> Result<()> {
    let operands = [out, x].into_iter().chain(factor_at);
    let Some(gpu) = common("sum", operands)?.filter(|_| out.len() == x.len()) else {
        return Err(TensorError::shape(
            "sum",
            format!("{:?} and {:?} on a device", out.shape(), x.shape()),
        ));
    };
    let args = AddScaledArgs {
        x: x.address(),
        y: out.address(),
        factor_at: factor_at.map_or(0, Tensor::address),
        count: x.len() as u64,
        factor,
        accumulate: i32::from(accumulate),
    };
    let module = Module::new(Source::Copy)
        .format("IN", x.precision())
        .format("OUT", out.precision());
    gpu.launch(module, "add_scaled", Spread::packs(x.len()), &args)
}

/// `to = from` for `count` numbers, in the formats that come with the addresses.
pub(super) fn convert(
    gpu: &Gpu,
    (from, read): (Address, Precision),
    (to, written): (Address, Precision),
    count: usize,
) -> Result<()> {
    let args = AddScaledArgs {
        x: from,
        y: to,
        factor_at: 0,
        count: count as u64,
        factor: 1.0,
        accumulate: 0,
    };
    let module = Module::new(Source::Copy)
        .format("IN", read)
        .format("OUT", written);
    gpu.launch(module, "add_scaled", Spread::packs(count), &args)
}
