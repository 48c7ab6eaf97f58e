//! Some rows of a tensor, on a device.

use std::sync::Arc;

use crate::device::Gpu;
use crate::ops::embedding::{Scatter, gather};
use crate::{Precision, Result, Tape, Tensor};

pub(super) fn take_rows(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    x: &Tensor,
    rows: &[u32],
) -> Result<Tensor> {
    let y = gather(gpu, x, rows, &[rows.len(), x.width()], x.precision())?;
    let (gpu, node, precision) = (Arc::clone(gpu), x.node, x.precision());
    let (shape, rows) = (x.shape().to_vec(), rows.to_vec());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dx = Tensor::on_gpu(&gpu, &shape, Precision::F32)?;
        let dy = dy.to_precision(Precision::F32);
        Scatter::new(&gpu, &rows)?.add(&dy, &dx, 1.0, None, false)?;
        flow.add(node, dx.to_precision(precision))
    }))
}
