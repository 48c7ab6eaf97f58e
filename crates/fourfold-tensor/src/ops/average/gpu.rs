//! The mean of parts on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, Module, Source};
use crate::ops::gpu::{int, row_packs};
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    rows: i32,
    parts: i32,
    width: i32,
    pad: i32,
}

pub(super) fn average(gpu: &Arc<Gpu>, tape: &Tape<'_>, x: &Tensor, parts: usize) -> Result<Tensor> {
    let (rows, width) = (x.rows(), x.width() / parts);
    let (node, precision) = (x.node, x.precision());
    let run = move |gpu: &Arc<Gpu>, kernel, x: &Tensor, shape: &[usize]| {
        let y = Tensor::on_gpu(gpu, shape, precision)?;
        let args = Args {
            x: x.address(),
            y: y.address(),
            rows: int(rows),
            parts: int(parts),
            width: int(width),
            pad: 0,
        };
        let module = Module::new(Source::Average).format("T", precision);
        gpu.launch(module, kernel, row_packs(rows, width), &args)?;
        Ok(y)
    };
    let y = run(gpu, "average_forward", x, &[rows, width])?;
    let gpu = Arc::clone(gpu);
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(precision);
        let dx = run(&gpu, "average_backward", &dy, &[rows, parts * width])?;
        flow.add(node, dx)
    }))
}
