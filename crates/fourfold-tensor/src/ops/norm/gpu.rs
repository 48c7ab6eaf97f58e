//! The norms on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::reduce::{Rows, sum_rows};
use crate::device::{Address, Gpu, GpuBuffer, Module, Source};
use crate::ops::gpu::{Pieces, int, like, rows};
use crate::tape::{Flow, Node};
use crate::{Precision, Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ForwardArgs {
    x: Address,
    weight: Address,
    bias: Address,
    y: Address,
    rows: i32,
    width: i32,
    centred: i32,
    epsilon: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BackwardArgs {
    x: Address,
    dy: Address,
    weight: Address,
    dx: Address,
    statistics: Address,
    rows: i32,
    width: i32,
    centred: i32,
    epsilon: f32,
    accumulate: i32,
    pad: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct WeightArgs {
    x: Address,
    dy: Address,
    statistics: Address,
    pieces: Address,
    rows: i32,
    width: i32,
    rows_per_piece: i32,
    pad: i32,
}

/// Bytes of the mean and the reciprocal deviation of a row.
const STATISTICS: usize = 2 * size_of::<f32>();

pub(super) fn norm(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    epsilon: f32,
) -> Result<Tensor> {
    let precision = tape.precision();
    let y = Tensor::on_gpu(gpu, x.shape(), precision)?;
    let args = ForwardArgs {
        x: x.address(),
        weight: weight.address(),
        bias: bias.map_or(0, Tensor::address),
        y: y.address(),
        rows: int(x.rows()),
        width: int(x.width()),
        centred: i32::from(bias.is_some()),
        epsilon,
    };
    let module = Module::new(Source::Norm)
        .format("IN", x.precision())
        .format("OUT", precision);
    gpu.launch(module, "norm_forward", rows(x.rows(), x.width()), &args)?;
    let backward = Backward {
        gpu: Arc::clone(gpu),
        module,
        x: x.clone(),
        weight: weight.clone(),
        bias: bias.and_then(|bias| bias.node),
        centred: bias.is_some(),
        epsilon,
    };
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    Ok(tape.record(&inputs, y, move |dy, flow| {
        backward.run(&dy.to_precision(precision), flow)
    }))
}

struct Backward {
    gpu: Arc<Gpu>,
    module: Module,
    x: Tensor,
    weight: Tensor,
    bias: Option<Node>,
    centred: bool,
    epsilon: f32,
}

impl Backward {
    fn run(&self, dy: &Tensor, flow: &mut Flow<'_>) -> Result<()> {
        let x = &self.x;
        let trains = self.weight.node.is_some() || self.bias.is_some();
        let bytes = if trains { x.rows() * STATISTICS } else { 0 };
        let statistics = GpuBuffer::new(&self.gpu, bytes)?;
        match (x.node, x.precision()) {
            (None, _) => self.input(dy, None, false, &statistics)?,
            (node, Precision::F32) => {
                flow.accumulate_on(&self.gpu, node, x.shape(), |dx, accumulate| {
                    self.input(dy, Some(dx), accumulate, &statistics)
                })?;
            }
            (node, _) => {
                let dx = like(&self.gpu, x)?;
                self.input(dy, Some(&dx), false, &statistics)?;
                flow.add(node, dx)?;
            }
        }
        match trains {
            true => self.weights(dy, &statistics, flow),
            false => Ok(()),
        }
    }

    /// Writes the gradient of the input where it is wanted, and the statistics of rows where there is room for them.
    fn input(
        &self,
        dy: &Tensor,
        dx: Option<&Tensor>,
        accumulate: bool,
        statistics: &GpuBuffer,
    ) -> Result<()> {
        let x = &self.x;
        let args = BackwardArgs {
            x: x.address(),
            dy: dy.address(),
            weight: self.weight.address(),
            dx: dx.map_or(0, Tensor::address),
            statistics: statistics.address(),
            rows: int(x.rows()),
            width: int(x.width()),
            centred: i32::from(self.centred),
            epsilon: self.epsilon,
            accumulate: i32::from(accumulate),
            pad: 0,
        };
        let spread = rows(x.rows(), x.width());
        self.gpu.launch(self.module, "norm_backward", spread, &args)
    }

    /// Adds to the gradients of weight and bias.
    fn weights(&self, dy: &Tensor, statistics: &GpuBuffer, flow: &mut Flow<'_>) -> Result<()> {
        let (x, width) = (&self.x, self.x.width());
        let cut = Pieces::of(x.rows());
        let pieces = GpuBuffer::new(&self.gpu, cut.count * 2 * width * size_of::<f32>())?;
        let args = WeightArgs {
            x: x.address(),
            dy: dy.address(),
            statistics: statistics.address(),
            pieces: pieces.address(),
            rows: int(x.rows()),
            width: int(width),
            rows_per_piece: int(cut.rows),
            pad: 0,
        };
        self.gpu
            .launch(self.module, "norm_weight_pieces", cut.spread(width), &args)?;
        let sums = Rows {
            numbers: &pieces,
            count: cut.count,
            stride: 2 * width,
        };
        for (node, first) in [(self.weight.node, 0), (self.bias, width)] {
            flow.accumulate_on(&self.gpu, node, &[width], |out, accumulate| {
                sum_rows(sums, first, out, accumulate)
            })?;
        }
        Ok(())
    }
}
