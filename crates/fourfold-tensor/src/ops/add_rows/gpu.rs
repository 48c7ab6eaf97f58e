//! Rows of a table added to rows, on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, Module, Source};
use crate::ops::embedding::Scatter;
use crate::ops::gpu::{int, row_packs, upload};
use crate::{Precision, Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    table: Address,
    ids: Address,
    y: Address,
    rows: i32,
    width: i32,
}

pub(super) fn add_rows(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    x: &Tensor,
    table: &Tensor,
    ids: &[u32],
) -> Result<Tensor> {
    let y = Tensor::on_gpu(gpu, x.shape(), Precision::F32)?;
    let uploaded = upload(gpu, ids)?;
    let args = Args {
        x: x.address(),
        table: table.address(),
        ids: uploaded.address(),
        y: y.address(),
        rows: int(x.rows()),
        width: int(x.width()),
    };
    let module = Module::new(Source::AddRows)
        .format("IN", x.precision())
        .format("TABLE", table.precision());
    gpu.launch(module, "add_rows", row_packs(x.rows(), x.width()), &args)?;
    let (gpu, x_node, precision) = (Arc::clone(gpu), x.node, x.precision());
    let (table_node, shape, ids) = (table.node, table.shape().to_vec(), ids.to_vec());
    Ok(tape.record(&[x, table], y, move |dy, flow| {
        flow.accumulate_on(&gpu, table_node, &shape, |out, accumulate| {
            Scatter::new(&gpu, &ids)?.add(&dy, out, 1.0, None, accumulate)
        })?;
        match x_node {
            Some(_) => flow.add(x_node, dy.to_precision(precision)),
            None => Ok(()),
        }
    }))
}
