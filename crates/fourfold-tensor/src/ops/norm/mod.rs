//! Layer norm and RMS norm: rows brought to unit scale.

pub(super) mod cpu;
mod gpu;
#[cfg(test)]
pub(super) mod reference;

use rayon::prelude::*;

use super::formats::{build_in, check_f32, with_numbers};
use crate::device::common;
use crate::parallel::for_rows;
use crate::tape::{Flow, Node, write_or_add};
use crate::tensor::Storable;
use crate::{Precision, Result, Tape, Tensor, TensorError};

/// Layer norm: `x: [rows, width]` in either format, `weight: [width]`, `bias: [width]` → `[rows, width]` in the
/// tape's precision.
///
/// `(x - mean) / sqrt(variance + epsilon) · weight + bias` with the mean and the biased variance of each row
/// (Ba, Kiros and Hinton, arXiv 1607.06450).
///
/// # Errors
/// When the shapes do not fit, or weight or bias is not f32.
pub fn layer_norm(
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    norm("layer_norm", tape, x, weight, Some(bias), epsilon)
}

/// RMS norm: `x: [rows, width]` in either format, `weight: [width]` → `[rows, width]` in the tape's precision.
///
/// `x / sqrt(mean(x²) + epsilon) · weight` (Zhang and Sennrich, arXiv 1910.07467).
///
/// # Errors
/// When the shapes do not fit or the weight is not f32.
pub fn rms_norm(tape: &Tape<'_>, x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    norm("rms_norm", tape, x, weight, None, epsilon)
}

/// What the kernels need to know besides the rows.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub weight: &'a [f32],
    pub bias: Option<&'a [f32]>,
    /// Whether the mean is taken away: layer norm, not RMS norm.
    pub centred: bool,
    pub epsilon: f32,
}

fn norm(
    operation: &'static str,
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    epsilon: f32,
) -> Result<Tensor> {
    let width = x.width();
    let is_row = |tensor: &Tensor| tensor.shape() == [width];
    if !is_row(weight) || !bias.is_none_or(is_row) {
        return Err(TensorError::shape(
            operation,
            format!(
                "x {:?}, weight {:?} (expected [{width}]), bias {:?}",
                x.shape(),
                weight.shape(),
                bias.map(Tensor::shape)
            ),
        ));
    }
    if let Some(gpu) = common(operation, [x, weight].into_iter().chain(bias))? {
        check_f32(operation, [weight].into_iter().chain(bias))?;
        return gpu::norm(gpu, tape, x, weight, bias, epsilon);
    }
    let kernel = Norm {
        weight: weight.f32()?,
        bias: bias.map(Tensor::f32).transpose()?,
        centred: bias.is_some(),
        epsilon,
    };
    let y = build_in!(tape.precision(), x.shape(), |out| {
        with_numbers!(x, |x| for_rows(out, width, |first, out| {
            cpu::forward::<(_, _)>(&x[first * width..][..out.len()], kernel, out);
        }))
    });
    let backward = Backward {
        x: x.clone(),
        weight: weight.clone(),
        bias: bias.and_then(|bias| bias.node),
        centred: bias.is_some(),
        epsilon,
    };
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    Ok(tape.record(&inputs, y, move |dy, flow| backward.run(&dy, flow)))
}

struct Backward {
    x: Tensor,
    weight: Tensor,
    bias: Option<Node>,
    centred: bool,
    epsilon: f32,
}

impl Backward {
    fn run(&self, dy: &Tensor, flow: &mut Flow<'_>) -> Result<()> {
        self.weight.f32()?;
        let width = self.x.width();
        let mut sums = Vec::new();
        match (self.x.node, self.x.precision()) {
            (None, _) => sums = self.gradients(dy, None, false),
            (node, Precision::F32) => {
                flow.accumulate(node, self.x.shape(), |dx, accumulate| {
                    sums = self.gradients(dy, Some(dx), accumulate);
                });
            }
            (node, precision) => {
                let dx = Tensor::build::<f32>(self.x.shape(), |dx| {
                    sums = self.gradients(dy, Some(dx), false);
                });
                flow.add(node, dx.to_precision(precision))?;
            }
        }
        let (weight, bias) = sums.split_at(sums.len() / 2);
        for (node, sums) in [(self.weight.node, weight), (self.bias, bias)] {
            flow.accumulate(node, &[width], |out, add| write_or_add(out, sums, add));
        }
        Ok(())
    }

    /// Writes the gradient of the input and returns that of the weight and the bias, one after the other;
    /// nothing where neither trains.
    fn gradients(&self, dy: &Tensor, dx: Option<&mut [f32]>, accumulate: bool) -> Vec<f32> {
        with_numbers!(self.x, |x| with_numbers!(dy, |dy| self
            .pieces(x, dy, dx, accumulate)))
    }

    fn pieces<X: Storable, Y: Storable>(
        &self,
        x: &[X],
        dy: &[Y],
        dx: Option<&mut [f32]>,
        accumulate: bool,
    ) -> Vec<f32> {
        let width = self.x.width();
        let rows = x.len() / width.max(1);
        let trains = self.weight.node.is_some() || self.bias.is_some();
        let sums_len = if trains { 2 * width } else { 0 };
        if rows == 0 {
            return vec![0.0; sums_len];
        }
        let kernel = Norm {
            weight: self.weight.f32().unwrap_or(&[]),
            bias: None,
            centred: self.centred,
            epsilon: self.epsilon,
        };
        // At most 64 partial sums whatever the number of threads, added in the order of the rows.
        let step = 64.max(rows.div_ceil(64)) * width;
        let pieces: Vec<Option<&mut [f32]>> = match dx {
            Some(dx) => dx.chunks_mut(step).map(Some).collect(),
            None => x.chunks(step).map(|_| None).collect(),
        };
        let partials: Vec<Vec<f32>> = pieces
            .into_par_iter()
            .zip(x.par_chunks(step).zip(dy.par_chunks(step)))
            .map(|(dx, (x, dy))| {
                let mut sums = vec![0.0; sums_len];
                cpu::backward::<(X, Y)>(x, dy, kernel, dx, accumulate, &mut sums);
                sums
            })
            .collect();
        let mut total = vec![0.0; sums_len];
        for partial in partials {
            write_or_add(&mut total, &partial, true);
        }
        total
    }
}

#[cfg(test)]
mod tests;
