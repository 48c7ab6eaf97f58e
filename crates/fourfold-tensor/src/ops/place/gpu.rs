//! Visual tokens put among the text tokens, on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Address, Gpu, GpuBuffer, Module, Source, copies};
use crate::ops::embedding::gather;
use crate::ops::gpu::{int, like, row_packs, upload};
use crate::{Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    rows: Address,
    values: Address,
    source: Address,
    y: Address,
    tokens: i32,
    width: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BackwardArgs {
    dy: Address,
    source: Address,
    drows: Address,
    tokens: i32,
    width: i32,
}

/// Row *i* becomes value `source[i]`, unless that is [`super::ROWS`]; value *i* is in row `at[i]`.
pub(super) fn place(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    rows: &Tensor,
    values: &Tensor,
    at: &[u32],
    source: &[u32],
) -> Result<Tensor> {
    let (tokens, width) = (rows.rows(), rows.width());
    let source = upload(gpu, source)?;
    let y = like(gpu, rows)?;
    let args = ForwardArgs {
        rows: rows.address(),
        values: values.address(),
        source: source.address(),
        y: y.address(),
        tokens: int(tokens),
        width: int(width),
    };
    let module = Module::new(Source::Place).format("IN", values.precision());
    gpu.launch(module, "place_forward", row_packs(tokens, width), &args)?;
    let (gpu, rows_node, values_node) = (Arc::clone(gpu), rows.node, values.node);
    let (shape, precision) = (values.shape().to_vec(), values.precision());
    let at = at.to_vec();
    Ok(tape.record(&[rows, values], y, move |dy, flow| {
        if values_node.is_some() {
            flow.add(values_node, gather(&gpu, &dy, &at, &shape, precision)?)?;
        }
        match rows_node {
            Some(_) => flow.add(rows_node, without(&gpu, module, dy, &source)?),
            None => Ok(()),
        }
    }))
}

/// `dy` with zeros in the rows that values replaced.
fn without(gpu: &Arc<Gpu>, module: Module, dy: Tensor, source: &GpuBuffer) -> Result<Tensor> {
    let drows = copies::own(dy)?;
    let (tokens, width) = (drows.rows(), drows.width());
    let args = BackwardArgs {
        dy: drows.address(),
        source: source.address(),
        drows: drows.address(),
        tokens: int(tokens),
        width: int(width),
    };
    gpu.launch(module, "place_backward", row_packs(tokens, width), &args)?;
    Ok(drows)
}
