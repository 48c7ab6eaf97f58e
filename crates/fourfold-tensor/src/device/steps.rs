//! Optimizer steps of many tensors of a device in one launch.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::reduce::chunks;
use super::{Address, Gpu, GpuBuffer, Module, Source, Spread};
use crate::{Precision, Result};

/// Numbers that one block updates.
const CHUNK: usize = 4 * 1024;

/// One tensor and the numbers of its step (see `AdamW`).
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Trained {
    pub weights: Address,
    /// The working copy; 0 where there is none.
    pub rounded: Address,
    pub gradient: Address,
    pub first: Address,
    pub second: Address,
    pub count: u64,
    pub rest: [f32; 2],
    pub rate: f32,
    pub unbias: f32,
    pub keep: f32,
    pub pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AdamWArgs {
    tensors: Address,
    chunks: Address,
    scale: f32,
    pad: i32,
}

/// Steps of AdamW with gradients multiplied by `scale`, and working copies in `precision`.
pub(crate) fn adamw(
    gpu: &Arc<Gpu>,
    tensors: &[Trained],
    precision: Precision,
    scale: f32,
) -> Result<()> {
    let chunks = chunks(tensors.iter().map(|tensor| tensor.count as usize), CHUNK);
    let (count, chunks) = (chunks.len(), GpuBuffer::of(gpu, &chunks)?);
    let table = GpuBuffer::of(gpu, tensors)?;
    let args = AdamWArgs {
        tensors: table.address(),
        chunks: chunks.address(),
        scale,
        pad: 0,
    };
    let module = Module::new(Source::AdamW).format("T", precision);
    gpu.launch(module, "adamw", Spread::row(count, 256), &args)
}
