//! An RMS norm of every query and key head, before positions turn them.

mod gpu;
#[cfg(test)]
mod reference;

use rayon::prelude::*;

use super::Heads;
use super::formats::{check_f32, numbers, with_numbers};
use super::norm::{Norm, cpu};
use crate::device::common;
use crate::parallel::for_rows;
use crate::tape::write_or_add;
use crate::tensor::Storable;
use crate::{Result, Tape, Tensor, TensorError};

/// `qkv: [tokens, (query + 2 · key_value) · width]` with every query head brought to unit scale and multiplied by
/// `query_weight: [width]`, every key head by `key_weight: [width]`; values are copied. In the shape and precision of
/// `qkv` (Qwen3's and Gemma 3's; Henry et al., arXiv 2010.04245, with an RMS norm).
///
/// # Errors
/// When the heads do not fit the rows, or a weight is not f32 of a head's width.
pub fn head_norm(
    tape: &Tape<'_>,
    qkv: &Tensor,
    heads: Heads,
    [query_weight, key_weight]: [&Tensor; 2],
    epsilon: f32,
) -> Result<Tensor> {
    heads.check("head_norm", qkv.width())?;
    let fits = |weight: &Tensor| weight.shape() == [heads.width];
    if !fits(query_weight) || !fits(key_weight) {
        return Err(TensorError::shape(
            "head_norm",
            format!(
                "weights {:?} and {:?} for heads of width {}",
                query_weight.shape(),
                key_weight.shape(),
                heads.width
            ),
        ));
    }
    check_f32("head_norm", [query_weight, key_weight])?;
    let norm = HeadNorm {
        heads,
        weights: [query_weight.clone(), key_weight.clone()],
        epsilon,
    };
    if let Some(gpu) = common("head_norm", [qkv, query_weight, key_weight])? {
        return gpu::head_norm(gpu, tape, qkv, norm);
    }
    let y = with_numbers!(qkv, |x| norm.forward(x, qkv.shape()));
    let kept = qkv.clone();
    let inputs = [qkv, query_weight, key_weight];
    Ok(tape.record(&inputs, y, move |dy, flow| {
        let dy = dy.to_precision(kept.precision());
        let (dx, sums) = with_numbers!(kept, |x| norm.backward(x, numbers(&dy)?, kept.shape()));
        flow.add(kept.node, dx)?;
        for (weight, sums) in norm.weights.iter().zip(sums.chunks(heads.width)) {
            let shape = [heads.width];
            flow.accumulate(weight.node, &shape, |out, add| write_or_add(out, sums, add));
        }
        Ok(())
    }))
}

struct HeadNorm {
    heads: Heads,
    weights: [Tensor; 2],
    epsilon: f32,
}

impl HeadNorm {
    /// The norms of query and key heads, and the numbers that each covers in a row.
    fn norms(&self) -> [(Norm<'_>, std::ops::Range<usize>); 2] {
        let Heads {
            query,
            key_value,
            width,
        } = self.heads;
        let [queries, keys] = self.weights.each_ref().map(|weight| Norm {
            weight: weight.f32().unwrap_or(&[]),
            bias: None,
            centred: false,
            epsilon: self.epsilon,
        });
        let end = query * width;
        [(queries, 0..end), (keys, end..end + key_value * width)]
    }

    fn forward<T: Storable>(&self, x: &[T], shape: &[usize]) -> Tensor {
        let columns = self.heads.columns();
        Tensor::build::<T>(shape, |out| {
            for_rows(out, columns, |first, out| {
                let x = &x[first * columns..][..out.len()];
                out.copy_from_slice(x);
                for (norm, part) in self.norms() {
                    let rows = x.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
                    for (x, out) in rows {
                        cpu::forward::<(T, T)>(&x[part.clone()], norm, &mut out[part.clone()]);
                    }
                }
            });
        })
    }

    /// The gradient of `qkv`, and those of the two weights one after the other.
    fn backward<T: Storable>(&self, x: &[T], dy: &[T], shape: &[usize]) -> (Tensor, Vec<f32>) {
        let (columns, width) = (self.heads.columns(), self.heads.width);
        let rows = x.len() / columns;
        // At most 64 partial sums whatever the number of threads, added in the order of the rows.
        let step = 64.max(rows.div_ceil(64)) * columns;
        let mut partials = Vec::new();
        let dx = Tensor::build::<T>(shape, |dx| {
            dx.par_chunks_mut(step)
                .zip(x.par_chunks(step).zip(dy.par_chunks(step)))
                .map(|(dx, (x, dy))| self.piece(x, dy, dx))
                .collect_into_vec(&mut partials);
        });
        let mut total = vec![0.0; 2 * width];
        for partial in &partials {
            write_or_add(&mut total, partial, true);
        }
        (dx, total)
    }

    /// Writes the gradient of some rows; the sums of the two weights' gradients over them.
    fn piece<T: Storable>(&self, x: &[T], dy: &[T], dx: &mut [T]) -> Vec<f32> {
        let (columns, width) = (self.heads.columns(), self.heads.width);
        dx.copy_from_slice(dy);
        let mut sums = Vec::with_capacity(2 * width);
        for (norm, part) in self.norms() {
            // The kernel sums the gradient of a bias as well, which these norms have none of.
            let mut with_bias = vec![0.0; 2 * width];
            let mut gradient = vec![0.0; part.len()];
            let rows = x.chunks_exact(columns).zip(dy.chunks_exact(columns));
            for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(columns)) {
                let (x, dy) = (&x[part.clone()], &dy[part.clone()]);
                let out = Some(&mut gradient[..]);
                cpu::backward::<(T, T)>(x, dy, norm, out, false, &mut with_bias);
                for (dx, gradient) in dx[part.clone()].iter_mut().zip(&gradient) {
                    *dx = T::store(*gradient);
                }
            }
            sums.extend_from_slice(&with_bias[..width]);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    fn heads(query: usize, key_value: usize, width: usize) -> Heads {
        Heads {
            query,
            key_value,
            width,
        }
    }

    #[test]
    fn agrees_with_its_reference() {
        for (rows, heads) in [
            (1, heads(1, 1, 2)),
            (9, heads(3, 1, 7)),
            (70, heads(4, 2, 64)),
            (300, heads(2, 2, 33)),
            (0, heads(2, 1, 8)),
        ] {
            let width = heads.width;
            testing::check_operation(
                &Case::new(&[&[rows, heads.columns()], &[width], &[width]]),
                |tape, inputs| head_norm(tape, &inputs[0], heads, [&inputs[1], &inputs[2]], 1e-5),
                &reference::HeadNorm {
                    heads,
                    epsilon: 1e-5,
                },
            );
        }
    }

    #[test]
    fn refuses_weights_of_another_width() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let (x, weight) = (Tensor::zeros(&[2, 12]), Tensor::zeros(&[3]));
        let message = head_norm(&tape, &x, heads(1, 1, 4), [&weight, &weight], 1e-5)
            .expect_err("refused")
            .to_string();
        assert!(
            message.contains("head_norm") && message.contains("width 4"),
            "{message}"
        );
    }
}
