//! Linear layers on a device.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::device::reduce::{Rows, sum_rows};
use crate::device::{Address, Epilogue, Gpu, GpuBuffer, Module, Operand, Product, Source, Sum};
use crate::ops::gpu::{Pieces, int};
use crate::ops::{Gelu, gelu};
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
    let format = residual.map_or(tape.precision(), Tensor::precision);
    let y = Tensor::on_gpu(gpu, shape, format)?;
    let layer = Layer::new(gpu, tape, x, weight, bias);
    gpu.product(&Product {
        out_precision: format,
        sum: residual.map_or(Sum::Nothing, |residual| Sum::Other(residual.address())),
        ..layer.product(&y)
    })?;
    Ok(layer.record(y, residual))
}

/// [`linear`] and GELU. The device's library does both in one where it can, and then the gradients of linear layers that read
/// the result pass GELU in the products that make them.
pub(super) fn linear_gelu(
    gpu: &Arc<Gpu>,
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    kind: Gelu,
    shape: &[usize],
) -> Result<Tensor> {
    let precision = tape.precision();
    if kind == Gelu::Tanh && precision != Precision::F32 {
        let layer = Layer::new(gpu, tape, x, weight, bias);
        let y = Tensor::on_gpu(gpu, shape, precision)?;
        let recorded = tape.records(&layer.inputs());
        let before = recorded.then(|| Tensor::on_gpu(gpu, shape, precision));
        let before = before.transpose()?;
        let address = before.as_ref().map(Tensor::address);
        let in_one = gpu.product_in_one(&Product {
            epilogue: Epilogue::Gelu { before: address },
            ..layer.product(&y)
        })?;
        match before {
            _ if !in_one => {}
            None => return Ok(y),
            Some(before) => {
                let before = layer.record(before, None);
                let y = gelu::gpu::record(gpu, tape, &before, y, kind);
                return Ok(y.with_before_gelu(before));
            }
        }
    }
    gelu(
        tape,
        &linear(gpu, tape, x, weight, bias, None, shape)?,
        kind,
    )
}

/// A linear layer and its operands in the tape's precision.
struct Layer<'a, 'p> {
    gpu: &'a Arc<Gpu>,
    tape: &'a Tape<'p>,
    x: &'a Tensor,
    operand: Tensor,
    weight: &'a Tensor,
    rounded_weight: Tensor,
    bias: Option<&'a Tensor>,
}

impl<'a, 'p> Layer<'a, 'p> {
    fn new(
        gpu: &'a Arc<Gpu>,
        tape: &'a Tape<'p>,
        x: &'a Tensor,
        weight: &'a Tensor,
        bias: Option<&'a Tensor>,
    ) -> Self {
        Self {
            operand: x.to_precision(tape.precision()),
            rounded_weight: weight.to_precision(tape.precision()),
            gpu,
            tape,
            x,
            weight,
            bias,
        }
    }

    /// `out = x · Wᵀ + b`.
    fn product(&self, out: &Tensor) -> Product {
        Product {
            a: Operand::of(&self.operand),
            b: Operand::of(&self.rounded_weight).t(),
            precision: self.tape.precision(),
            tf32: self.tape.tf32(),
            bias: self.bias.map(Tensor::address),
            out: out.address(),
            out_precision: out.precision(),
            sum: Sum::Nothing,
            epilogue: Epilogue::Nothing,
        }
    }

    fn inputs(&self) -> Vec<&'a Tensor> {
        let mut inputs = vec![self.x, self.weight];
        inputs.extend(self.bias);
        inputs
    }

    /// Notes that `y` is the layer's result, added to `residual`.
    fn record(self, y: Tensor, residual: Option<&'a Tensor>) -> Tensor {
        let mut inputs = self.inputs();
        inputs.extend(residual);
        let residual_node = residual.and_then(|residual| residual.node);
        let precision = self.tape.precision();
        let x = self.x;
        let backward = Backward {
            gpu: Arc::clone(self.gpu),
            // The input is kept only for the gradient of a weight that trains.
            x: self.weight.node.map(|_| self.operand),
            x_node: x.node,
            x_shape: x.shape().to_vec(),
            x_precision: x.precision(),
            before_gelu: x.before_gelu().filter(|x| x.precision() == precision),
            weight: self.rounded_weight,
            weight_node: self.weight.node,
            bias: self.bias.and_then(|bias| bias.node),
            precision,
            tf32: self.tape.tf32(),
        };
        self.tape.record(&inputs, y, move |dy, flow| {
            backward.run(&dy, flow)?;
            flow.add(residual_node, dy)
        })
    }
}

struct Backward {
    gpu: Arc<Gpu>,
    x: Option<Tensor>,
    x_node: Option<Node>,
    x_shape: Vec<usize>,
    x_precision: Precision,
    /// What `x` is the GELU of, where its gradient is wanted in one with that of GELU.
    before_gelu: Option<Tensor>,
    weight: Tensor,
    weight_node: Option<Node>,
    bias: Option<Node>,
    precision: Precision,
    tf32: bool,
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
                    tf32: self.tf32,
                    bias: None,
                    out: out.address(),
                    out_precision: Precision::F32,
                    sum: if accumulate {
                        Sum::Result
                    } else {
                        Sum::Nothing
                    },
                    epilogue: Epilogue::Nothing,
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
        let product = Product {
            a: Operand::of(&rounded),
            b: Operand::of(&self.weight),
            precision: self.precision,
            tf32: self.tf32,
            bias: None,
            out: dx.address(),
            out_precision: format,
            sum: Sum::Nothing,
            epilogue: Epilogue::Nothing,
        };
        if let Some(before) = &self.before_gelu {
            let epilogue = Epilogue::GeluGradient {
                before: before.address(),
            };
            if self.gpu.product_in_one(&Product {
                epilogue,
                ..product
            })? {
                return flow.add(before.node, dx);
            }
        }
        self.gpu.product(&product)?;
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
