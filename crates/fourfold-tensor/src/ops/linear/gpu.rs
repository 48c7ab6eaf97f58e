//! Linear layers on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::reduce::{Rows, sum_rows};
use crate::device::{Address, Gpu, GpuBuffer, Module, Operand, Product, Source, Sum};
use crate::ops::gpu::{Pieces, int};
use crate::tape::{Flow, Node};
use crate::{Precision, Result, Tape, Tensor};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BiasGradientArgs {
    dy: Address,
    pieces: Address,
    rows: i32,
    width: i32,
    rows_per_piece: i32,
    pad: i32,
}

/// A linear layer whose result, of `shape`, is in the tape's precision, or in f32 where it is added to a residual stream.
pub(super) fn linear(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
    shape: &[usize],
) -> Result<Tensor> {
    let precision = tape.precision();
    let format = residual.map_or(precision, Tensor::precision);
    let y = Tensor::on_gpu(gpu, shape, format)?;
    let operand = x.to_precision(precision);
    let kept = weight.to_precision(precision);
    gpu.product(&Product {
        a: Operand::of(&operand),
        b: Operand::of(&kept).t(),
        precision,
        bias: bias.map(Tensor::address),
        out: y.address(),
        out_precision: format,
        sum: residual.map_or(Sum::Nothing, |residual| Sum::Other(residual.address())),
    })?;
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    inputs.extend(residual);
    let residual_node = residual.and_then(|residual| residual.node);
    let backward = Backward {
        gpu: Arc::clone(gpu),
        // The input is kept only for the gradient of a weight that trains.
        x: weight.node.map(|_| operand),
        x_node: x.node,
        x_shape: x.shape().to_vec(),
        x_precision: x.precision(),
        weight: kept,
        weight_node: weight.node,
        bias: bias.and_then(|bias| bias.node),
        precision,
    };
    Ok(tape.record(&inputs, y, move |dy, flow| {
        backward.run(&dy, flow)?;
        flow.add(residual_node, dy)
    }))
}

struct Backward {
    gpu: Arc<Gpu>,
    x: Option<Tensor>,
    x_node: Option<Node>,
    x_shape: Vec<usize>,
    x_precision: Precision,
    weight: Tensor,
    weight_node: Option<Node>,
    bias: Option<Node>,
    precision: Precision,
}

impl Backward {
    /// `dW += dyᵀ · x`, `db += Σ_rows dy`, `dx = dy · W`.
    fn run(&self, dy: &Tensor, flow: &mut Flow<'_>) -> Result<()> {
        if self.bias.is_some() {
            add_column_sums(&self.gpu, dy, self.bias, flow)?;
        }
        let rounded = dy.to_precision(self.precision);
        if let Some(x) = &self.x {
            let shape = self.weight.shape();
            flow.accumulate_on(&self.gpu, self.weight_node, shape, |out, accumulate| {
                self.gpu.product(&Product {
                    a: Operand::of(&rounded).t(),
                    b: Operand::of(x),
                    precision: self.precision,
                    bias: None,
                    out: out.address(),
                    out_precision: Precision::F32,
                    sum: if accumulate {
                        Sum::Result
                    } else {
                        Sum::Nothing
                    },
                })
            })?;
        }
        if self.x_node.is_none() {
            return Ok(());
        }
        // Products give f32 or the format of their operands.
        let format = match self.x_precision == self.precision {
            true => self.precision,
            false => Precision::F32,
        };
        let dx = Tensor::on_gpu(&self.gpu, &self.x_shape, format)?;
        self.gpu.product(&Product {
            a: Operand::of(&rounded),
            b: Operand::of(&self.weight),
            precision: self.precision,
            bias: None,
            out: dx.address(),
            out_precision: format,
            sum: Sum::Nothing,
        })?;
        flow.add(self.x_node, dx.to_precision(self.x_precision))
    }
}

/// Adds the sum over rows of `dy` to the gradient of `node`.
fn add_column_sums(
    gpu: &Arc<Gpu>,
    dy: &Tensor,
    node: Option<Node>,
    flow: &mut Flow<'_>,
) -> Result<()> {
    let (rows, width) = (dy.rows(), dy.width());
    let cut = Pieces::of(rows);
    let pieces = GpuBuffer::new(gpu, cut.count * width * size_of::<f32>())?;
    let args = BiasGradientArgs {
        dy: dy.address(),
        pieces: pieces.address(),
        rows: int(rows),
        width: int(width),
        rows_per_piece: int(cut.rows),
        pad: 0,
    };
    let module = Module::new(Source::Linear).format("IN", dy.precision());
    gpu.launch(module, "bias_gradient_pieces", cut.spread(width), &args)?;
    let sums = Rows {
        numbers: &pieces,
        count: cut.count,
        stride: width,
    };
    flow.accumulate_on(gpu, node, &[width], |out, accumulate| {
        sum_rows(sums, 0, out, accumulate)
    })
}
