//! Patches on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, Module, Source};
use crate::ops::gpu::{int, row_packs};
use crate::{Precision, Result, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    images: Address,
    rows: Address,
    count: i32,
    channels: i32,
    height: i32,
    width: i32,
    patch: i32,
    down: i32,
    across: i32,
    pad: i32,
}

/// `images: [count, channels, height, width]`, no smaller than a patch.
pub(super) fn patchify(
    gpu: &Arc<Gpu>,
    images: &Tensor,
    [count, channels, height, width]: [usize; 4],
    patch: usize,
    precision: Precision,
) -> Result<Tensor> {
    let (down, across) = (height / patch, width / patch);
    let (rows, columns) = (count * down * across, channels * patch * patch);
    let out = Tensor::on_gpu(gpu, &[rows, columns], precision)?;
    let args = Args {
        images: images.address(),
        rows: out.address(),
        count: int(count),
        channels: int(channels),
        height: int(height),
        width: int(width),
        patch: int(patch),
        down: int(down),
        across: int(across),
        pad: 0,
    };
    let module = Module::new(Source::Patchify).format("OUT", precision);
    gpu.launch(module, "patchify", row_packs(rows, columns), &args)?;
    Ok(out)
}
