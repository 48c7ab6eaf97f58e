//! Dropout on a device: the same numbers are left out as on CPUs.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Mask;
use crate::device::{Address, Gpu, GpuBuffer, Module, Source, Spread};
use crate::ops::gpu::{int, like};
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    keys: Address,
    count: u64,
    seed: u64,
    width: i32,
    rows: i32,
    below: u32,
    factor: f32,
}

pub(super) fn dropout(gpu: &Arc<Gpu>, tape: &Tape<'_>, x: &Tensor, mask: Mask) -> Result<Tensor> {
    let keys = match &mask.keys {
        Some(keys) => Some(GpuBuffer::of(gpu, keys)?),
        None => None,
    };
    let y = masked(gpu, x, &mask, keys.as_ref())?;
    let (gpu, node, precision) = (Arc::clone(gpu), x.node, x.precision());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dx = masked(&gpu, &dy.to_precision(precision), &mask, keys.as_ref())?;
        flow.add(node, dx)
    }))
}

fn masked(gpu: &Arc<Gpu>, x: &Tensor, mask: &Mask, keys: Option<&GpuBuffer>) -> Result<Tensor> {
    let y = like(gpu, x)?;
    let args = Args {
        x: x.address(),
        y: y.address(),
        keys: keys.map_or(0, GpuBuffer::address),
        count: x.len() as u64,
        seed: mask.seed,
        width: int(x.width()),
        rows: int(mask.rows),
        below: mask.below,
        factor: mask.factor,
    };
    let module = Module::new(Source::Dropout).format("T", x.precision());
    gpu.launch(module, "dropout", Spread::packs(x.len()), &args)?;
    Ok(y)
}
