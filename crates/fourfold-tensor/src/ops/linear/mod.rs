//! `y = x · Wᵀ + b`, and the same added to a residual stream.

mod gpu;
#[cfg(test)]
mod reference;

use half::{bf16, f16};

use super::formats::{check_f32, with_numbers};
use super::{Gelu, gelu};
use crate::device::common;
use crate::gemm::{Matrix, Output, product, product_to_f16};
use crate::isa::multiversion;
use crate::parallel::sum_over_rows;
use crate::tape::{Flow, Node};
use crate::{Element, Precision, Result, Tape, Tensor, TensorError};

/// A linear layer: `x: [rows, in]`, `weight: [out, in]`, `bias: [out]` → `[rows, out]` in the tape's precision.
///
/// # Errors
/// When the shapes do not fit.
pub fn linear(
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let shape = check("linear", x, weight, bias)?;
    if let Some(gpu) = common("linear", [x, weight].into_iter().chain(bias))? {
        check_f32("linear", bias)?;
        return gpu::linear(gpu, tape, x, weight, bias, None, &shape);
    }
    let precision = tape.precision();
    let (a, b) = (Matrix::new(x), Matrix::new(weight).t());
    let bias_values = bias.map(Tensor::f32).transpose()?;
    let y = product_in(precision, &shape, a, b, bias_values, precision)?;
    Ok(record(tape, x, weight, bias, None, y))
}

/// `a · b + bias`, computed in `precision`, as a tensor of `format`.
fn product_in(
    format: Precision,
    shape: &[usize],
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
    precision: Precision,
) -> Result<Tensor> {
    let mut result = Ok(());
    let y = match format {
        Precision::F32 => Tensor::build::<f32>(shape, |out| {
            let output = Output::F32 {
                out,
                accumulate: false,
            };
            result = product(a, b, bias, precision, output);
        }),
        Precision::Bf16 => Tensor::build::<bf16>(shape, |out| {
            result = product(a, b, bias, precision, Output::Bf16(out));
        }),
        Precision::F16 => Tensor::build::<f16>(shape, |out| {
            result = product_to_f16(a, b, bias, precision, out);
        }),
    };
    result.map(|()| y)
}

/// `gelu(x · Wᵀ + b)`: [`linear`] and [`gelu`]. On a CPU it is that to the bit, and where nothing is recorded, kernels for bf16
/// activate numbers as they write them. The library of a GPU activates numbers of 16 bits before it rounds them.
///
/// # Errors
/// When the shapes do not fit.
pub fn linear_gelu(
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    kind: Gelu,
) -> Result<Tensor> {
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    let shape = check("linear_gelu", x, weight, bias)?;
    if let Some(gpu) = common("linear_gelu", inputs.iter().copied())? {
        check_f32("linear_gelu", bias)?;
        return gpu::linear_gelu(gpu, tape, x, weight, bias, kind, &shape);
    }
    if tape.precision() != Precision::Bf16 || tape.records(&inputs) {
        return gelu(tape, &linear(tape, x, weight, bias)?, kind);
    }
    let (a, b) = (Matrix::new(x), Matrix::new(weight).t());
    let bias = bias.map(Tensor::f32).transpose()?;
    let mut result = Ok(());
    let y = Tensor::build::<bf16>(&shape, |out| {
        result = product(a, b, bias, Precision::Bf16, Output::Gelu(out, kind));
    });
    result.map(|()| y)
}

/// A linear layer whose result is added to a residual stream: `residual + x · Wᵀ + b`, `[rows, out]` in f32.
///
/// # Errors
/// When the shapes do not fit or `residual` is not f32.
pub fn linear_residual(
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: &Tensor,
) -> Result<Tensor> {
    let shape = check("linear_residual", x, weight, bias)?;
    if residual.shape() != shape {
        return Err(TensorError::shape(
            "linear_residual",
            format!(
                "a residual of {:?} for a result of {shape:?}",
                residual.shape()
            ),
        ));
    }
    let operands = [x, weight, residual].into_iter().chain(bias);
    if let Some(gpu) = common("linear_residual", operands)? {
        check_f32("linear_residual", [residual].into_iter().chain(bias))?;
        return gpu::linear(gpu, tape, x, weight, bias, Some(residual), &shape);
    }
    let (a, b) = (Matrix::new(x), Matrix::new(weight).t());
    let bias_values = bias.map(Tensor::f32).transpose()?;
    let residual_values = residual.f32()?;
    let mut result = Ok(());
    let y = Tensor::build::<f32>(&shape, |out| {
        let output = Output::Added {
            out,
            to: residual_values,
        };
        result = product(a, b, bias_values, tape.precision(), output);
    });
    result?;
    Ok(record(tape, x, weight, bias, Some(residual), y))
}

fn check(
    operation: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Vec<usize>> {
    let fits = weight.shape().len() == 2
        && x.width() == weight.width()
        && bias.is_none_or(|bias| bias.shape() == [weight.rows()]);
    if !fits {
        return Err(TensorError::shape(
            operation,
            format!(
                "x {:?}, weight {:?} (expected [out, in]), bias {:?}",
                x.shape(),
                weight.shape(),
                bias.map(Tensor::shape)
            ),
        ));
    }
    let mut shape = x.shape().to_vec();
    shape[x.shape().len() - 1] = weight.rows();
    Ok(shape)
}

fn record(
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
    y: Tensor,
) -> Tensor {
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    inputs.extend(residual);
    let residual_node = residual.and_then(|residual| residual.node);
    let backward = Backward {
        // The input is kept only for the gradient of a weight that trains.
        x: weight.node.map(|_| x.detach()),
        x_node: x.node,
        x_shape: x.shape().to_vec(),
        x_precision: x.precision(),
        weight: weight.clone(),
        bias: bias.and_then(|bias| bias.node),
        precision: tape.precision(),
    };
    tape.record(&inputs, y, move |dy, flow| {
        backward.run(&dy, flow)?;
        flow.add(residual_node, dy)
    })
}

struct Backward {
    x: Option<Tensor>,
    x_node: Option<Node>,
    x_shape: Vec<usize>,
    x_precision: Precision,
    weight: Tensor,
    bias: Option<Node>,
    precision: Precision,
}

impl Backward {
    /// `dW += dyᵀ · x`, `db += Σ_rows dy`, `dx = dy · W`.
    fn run(&self, dy: &Tensor, flow: &mut Flow<'_>) -> Result<()> {
        let mut result = Ok(());
        // Products round it in any case: once where several read it, or read it more than once, as that of `dW` does.
        let rounded = self.x.as_ref().map(|_| dy.to_precision(self.precision));
        let dy_matrix = Matrix::new(rounded.as_ref().unwrap_or(dy));
        if let Some(x) = &self.x {
            flow.accumulate(self.weight.node, self.weight.shape(), |out, accumulate| {
                let output = Output::F32 { out, accumulate };
                result = product(dy_matrix.t(), Matrix::new(x), None, self.precision, output);
            });
        }
        if self.bias.is_some() {
            flow.accumulate(self.bias, &[dy.width()], |out, accumulate| {
                if !accumulate {
                    out.fill(0.0);
                }
                with_numbers!(dy, |dy| sum_columns(dy, out));
            });
        }
        if self.x_node.is_some() {
            let weight = Matrix::new(&self.weight);
            let (format, shape) = (self.x_precision, &self.x_shape);
            let dx = product_in(format, shape, dy_matrix, weight, None, self.precision)?;
            flow.add(self.x_node, dx)?;
        }
        result
    }
}

/// Adds the sum over rows of `values: [rows, width]` to `total: [width]`.
fn sum_columns<T: Element>(values: &[T], total: &mut [f32]) {
    let width = total.len();
    sum_over_rows(
        values.len() / width.max(1),
        width,
        total,
        |rows, partial| {
            add_rows(&values[rows.start * width..rows.end * width], partial);
        },
    );
}

multiversion! {
    /// Adds each row of `values: [rows, width]` to `total: [width]`, in order.
    fn add_rows<T: Element>(values: &[T], total: &mut [f32]) {
        for row in values.chunks_exact(total.len()) {
            let pairs = total.iter_mut().zip(row);
            pairs.for_each(|(sum, value)| *sum += value.load());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceChoice;
    use crate::testing::{self, Case};

    #[test]
    fn agrees_with_its_reference() {
        for (rows, inner, outer) in [
            (1, 1, 1),
            (3, 5, 7),
            (33, 17, 50),
            (130, 64, 96),
            // Primes, a single row or number on one side, and nothing on one side.
            (67, 131, 53),
            (1, 211, 37),
            (97, 1, 5),
            (5, 64, 1),
            (0, 5, 7),
            (5, 0, 7),
            (5, 7, 0),
        ] {
            let mut devices = testing::devices();
            if devices.len() > 1 {
                devices.push(DeviceChoice::emulated_with_own_products());
            }
            let case = Case::new(&[&[rows, inner], &[outer, inner], &[outer]]);
            testing::check_on(
                &devices,
                &case,
                |tape, inputs| linear(tape, &inputs[0], &inputs[1], Some(&inputs[2])),
                &reference::Linear {
                    rows,
                    inner,
                    outer,
                    residual: false,
                },
            );
            let case =
                Case::new(&[&[rows, inner], &[outer, inner], &[outer], &[rows, outer]]).keep_f32(3);
            testing::check_on(
                &devices,
                &case,
                |tape, inputs| {
                    linear_residual(tape, &inputs[0], &inputs[1], Some(&inputs[2]), &inputs[3])
                },
                &reference::Linear {
                    rows,
                    inner,
                    outer,
                    residual: true,
                },
            );
        }
    }

    #[test]
    fn activating_on_the_way_gives_the_same_bits() {
        let mut random = testing::Random(5);
        let mut tensor = |shape: &[usize]| {
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|_| random.next() as f32)
                .collect();
            Tensor::from_f32(shape, &values).expect("as many")
        };
        for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
            let parameters = crate::Parameters::new(precision);
            let tape = Tape::inference(&parameters);
            // Whole tiles and ragged ones, few rows, and a sum of several parts.
            for (rows, inner, outer) in [(64, 64, 64), (1, 33, 17), (5, 96, 40), (70, 700, 131)] {
                let x = tensor(&[rows, inner]).to_precision(precision);
                let weight = tensor(&[outer, inner]).to_precision(precision);
                let bias = tensor(&[outer]);
                for kind in [Gelu::Tanh, Gelu::Erf, Gelu::Quick] {
                    let once = linear_gelu(&tape, &x, &weight, Some(&bias), kind).expect("fits");
                    let y = linear(&tape, &x, &weight, Some(&bias)).expect("fits");
                    let twice = gelu(&tape, &y, kind).expect("any shape");
                    assert_eq!(once.shape(), twice.shape());
                    assert_eq!(once.precision(), twice.precision());
                    assert_eq!(
                        once.to_f32_vec(),
                        twice.to_f32_vec(),
                        "{rows} {inner} {outer}"
                    );
                }
            }
        }
    }

    #[test]
    fn refuses_shapes_that_do_not_fit() {
        let parameters = crate::Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let message = linear(
            &tape,
            &Tensor::zeros(&[2, 3]),
            &Tensor::zeros(&[4, 5]),
            None,
        )
        .expect_err("3 inputs for a weight of 5")
        .to_string();
        assert!(
            message.contains("linear") && message.contains("[2, 3]") && message.contains("[4, 5]")
        );
    }
}
