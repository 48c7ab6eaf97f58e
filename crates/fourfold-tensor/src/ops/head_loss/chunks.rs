//! Loss and gradients over the rows that have a target, a chunk of them at a time.

use rayon::prelude::*;

use super::cpu;
use crate::gemm::{Matrix, Output, product};
use crate::ops::formats::{build_in, convert, with_numbers};
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Element, Precision, Result, Tensor, TensorError};

/// One forward pass of the head; `rows` and `targets` are in range and of equal length.
pub(super) struct Pass<'a> {
    pub hidden: &'a Tensor,
    pub weight: &'a Tensor,
    pub rows: &'a [u32],
    pub targets: &'a [u32],
    pub scale: f32,
    pub precision: Precision,
    /// How many target rows have their logits in memory at once.
    pub chunk: usize,
}

/// What a pass leaves behind.
pub(super) struct Done {
    /// Sum of the cross-entropies, not scaled.
    pub loss: f64,
    /// Gradient of the scaled loss with respect to the hidden rows that have a target, f32 `[targets, width]`.
    pub hidden: Option<Tensor>,
    /// That with respect to the weight, f32 `[vocabulary, width]`.
    pub weight: Option<Tensor>,
}

impl Pass<'_> {
    /// Computes the loss and those gradients that are wanted.
    pub(super) fn run(&self, wants_hidden: bool, wants_weight: bool) -> Result<Done> {
        let (width, vocabulary) = (self.hidden.width(), self.weight.rows());
        let mut done = Done {
            loss: 0.0,
            // The first chunk writes the one whole, each chunk its rows of the other.
            hidden: wants_hidden.then(|| Tensor::build::<f32>(&[self.rows.len(), width], |_| ())),
            weight: wants_weight.then(|| Tensor::build::<f32>(self.weight.shape(), |_| ())),
        };
        let weight = Matrix::new(self.weight);
        for first in (0..self.rows.len()).step_by(self.chunk) {
            let last = (first + self.chunk).min(self.rows.len());
            let hidden = self.gather(&self.rows[first..last]);
            let mut result = Ok(());
            let logits = Tensor::build::<f32>(&[last - first, vocabulary], |out| {
                let output = Output::F32 {
                    out,
                    accumulate: false,
                };
                let hidden = Matrix::new(&hidden);
                result = product(hidden, weight.t(), None, self.precision, output);
            });
            result?;
            let wanted = wants_hidden || wants_weight;
            let (losses, gradient) = self.losses(logits, &self.targets[first..last], wanted)?;
            done.loss += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            let gradient = Matrix::new(&gradient);
            if let Some(out) = done.hidden.as_mut().and_then(Tensor::unique_mut::<f32>) {
                let output = Output::F32 {
                    out: &mut out[first * width..last * width],
                    accumulate: false,
                };
                product(gradient, weight, None, self.precision, output)?;
            }
            if let Some(out) = done.weight.as_mut().and_then(Tensor::unique_mut::<f32>) {
                let output = Output::F32 {
                    out,
                    accumulate: first > 0,
                };
                let hidden = Matrix::new(&hidden);
                product(gradient.t(), hidden, None, self.precision, output)?;
            }
        }
        Ok(done)
    }

    /// The hidden rows of a chunk.
    fn gather(&self, rows: &[u32]) -> Tensor {
        with_numbers!(self.hidden, |hidden| gather(
            hidden,
            self.hidden.width(),
            rows
        ))
    }

    /// The loss of each row and, where `wanted`, the gradient of the scaled loss with respect to the logits, in the
    /// precision of the products; the logits are used up.
    fn losses(
        &self,
        mut logits: Tensor,
        targets: &[u32],
        wanted: bool,
    ) -> Result<(Vec<f32>, Tensor)> {
        let shape = logits.shape().to_vec();
        let vocabulary = logits.width();
        let Some(numbers) = logits.unique_mut::<f32>() else {
            return Err(TensorError::shape("head_loss", "the logits are shared"));
        };
        let scale = self.scale;
        let rows = numbers.par_chunks_exact_mut(vocabulary).zip(targets);
        if !wanted {
            let losses = rows.map(|(row, target)| cpu::row_loss(row, *target as usize).0);
            return Ok((losses.collect(), logits));
        }
        if self.precision == Precision::F32 {
            let losses = rows.map(|(row, target)| {
                let (loss, inverse) = cpu::row_loss(row, *target as usize);
                cpu::scale_in_place(row, inverse * scale);
                row[*target as usize] -= scale;
                loss
            });
            return Ok((losses.collect(), logits));
        }
        let mut losses = Vec::new();
        let gradient = build_in!(self.precision, &shape, |out| {
            rows.zip(out.par_chunks_exact_mut(vocabulary))
                .map(|((row, target), out)| {
                    let target = *target as usize;
                    let (loss, inverse) = cpu::row_loss(row, target);
                    cpu::scale(row, inverse * scale, out);
                    out[target] = Element::store(row[target] * inverse * scale - scale);
                    loss
                })
                .collect_into_vec(&mut losses);
        });
        Ok((losses, gradient))
    }
}

fn gather<T: Storable>(hidden: &[T], width: usize, rows: &[u32]) -> Tensor {
    Tensor::build::<T>(&[rows.len(), width], |out| {
        for_rows(out, width, |first, out| {
            for (out, row) in out.chunks_exact_mut(width).zip(&rows[first..]) {
                convert::<(T, T)>(&hidden[*row as usize * width..][..width], out);
            }
        });
    })
}
