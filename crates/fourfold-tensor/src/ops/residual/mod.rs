//! A branch added to the residual stream, where no product can do it on its way out.

mod gpu;
#[cfg(test)]
mod reference;

use super::formats::{build_in, check_f32, with_numbers};
use crate::device::common;
use crate::isa::{fma, multiversion};
use crate::parallel::{for_rows, sum_over_rows};
use crate::tape::write_or_add;
use crate::{Element, Result, Tape, Tensor, TensorError};

/// `stream + scale · branch` for `stream: [rows, width]` in f32, `branch: [rows, width]` in either format and
/// `scale: [width]` (1 without it) → f32 `[rows, width]`.
///
/// With a scale it is LayerScale (Touvron et al., arXiv 2103.17239).
///
/// # Errors
/// When the shapes do not fit, or stream or scale is not f32.
pub fn residual(
    tape: &Tape<'_>,
    stream: &Tensor,
    branch: &Tensor,
    scale: Option<&Tensor>,
) -> Result<Tensor> {
    let width = stream.width();
    let fits = |scale: &Tensor| scale.shape() == [width];
    if stream.shape() != branch.shape() || !scale.is_none_or(fits) {
        return Err(TensorError::shape(
            "residual",
            format!(
                "stream {:?}, branch {:?}, scale {:?}; expected equal shapes and a scale of [{width}]",
                stream.shape(),
                branch.shape(),
                scale.map(Tensor::shape)
            ),
        ));
    }
    if let Some(gpu) = common("residual", [stream, branch].into_iter().chain(scale))? {
        check_f32("residual", [stream].into_iter().chain(scale))?;
        return gpu::residual(gpu, tape, stream, branch, scale);
    }
    let numbers = stream.f32()?;
    let factors = scale.map(Tensor::f32).transpose()?;
    let y = Tensor::build::<f32>(stream.shape(), |out| {
        with_numbers!(branch, |branch| for_rows(out, width, |first, out| {
            let piece = first * width..first * width + out.len();
            add(&numbers[piece.clone()], &branch[piece], factors, out);
        }));
    });
    let mut inputs = vec![stream, branch];
    inputs.extend(scale);
    let (stream_node, kept) = (stream.node, branch.clone());
    let scale_kept = scale.cloned();
    Ok(tape.record(&inputs, y, move |dy, flow| {
        let numbers = dy.f32()?;
        let factors = scale_kept.as_ref().map(Tensor::f32).transpose()?;
        if let Some(node) = scale_kept.as_ref().and_then(|scale| scale.node) {
            let mut sums = vec![0.0; width];
            with_numbers!(kept, |branch| sum_over_rows(
                kept.rows(),
                width,
                &mut sums,
                |rows, sums| {
                    let piece = rows.start * width..rows.end * width;
                    add_products(&branch[piece.clone()], &numbers[piece], sums);
                }
            ));
            flow.accumulate(Some(node), &[width], |out, add| {
                write_or_add(out, &sums, add)
            });
        }
        if kept.node.is_some() {
            let gradient = build_in!(kept.precision(), kept.shape(), |out| {
                for_rows(out, width, |first, out| {
                    let dy = &numbers[first * width..][..out.len()];
                    multiply(dy, factors, width, out);
                })
            });
            flow.add(kept.node, gradient)?;
        }
        flow.add(stream_node, dy)
    }))
}

multiversion! {
    /// `out = stream + factors · branch`, the factors once a row.
    fn add<T: Element>(stream: &[f32], branch: &[T], factors: Option<&[f32]>, out: &mut [f32]) {
        let Some(factors) = factors else {
            for ((out, stream), branch) in out.iter_mut().zip(stream).zip(branch) {
                *out = stream + branch.load();
            }
            return;
        };
        let width = factors.len();
        let rows = stream.chunks_exact(width).zip(branch.chunks_exact(width));
        for ((stream, branch), out) in rows.zip(out.chunks_exact_mut(width)) {
            let numbers = out.iter_mut().zip(stream).zip(branch).zip(factors);
            for (((out, stream), branch), factor) in numbers {
                *out = fma::<FMA>(branch.load(), *factor, *stream);
            }
        }
    }
}

multiversion! {
    /// `sums += branch · dy`, row by row.
    fn add_products<T: Element>(branch: &[T], dy: &[f32], sums: &mut [f32]) {
        let width = sums.len();
        for (branch, dy) in branch.chunks_exact(width).zip(dy.chunks_exact(width)) {
            for ((sum, branch), dy) in sums.iter_mut().zip(branch).zip(dy) {
                *sum = fma::<FMA>(branch.load(), *dy, *sum);
            }
        }
    }
}

multiversion! {
    /// `out = factors · dy`, the factors once a row.
    fn multiply<T: Element>(dy: &[f32], factors: Option<&[f32]>, width: usize, out: &mut [T]) {
        for (dy, out) in dy.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            match factors {
                Some(factors) => {
                    for ((out, dy), factor) in out.iter_mut().zip(dy).zip(factors) {
                        *out = T::store(dy * factor);
                    }
                }
                None => {
                    for (out, dy) in out.iter_mut().zip(dy) {
                        *out = T::store(*dy);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for (rows, width) in [(1, 1), (9, 7), (600, 48), (3, 131), (0, 7)] {
            let shape = [rows, width];
            testing::check_operation(
                &Case::new(&[&shape, &shape]).keep_f32(0),
                |tape, inputs| residual(tape, &inputs[0], &inputs[1], None),
                &reference::Residual { width },
            );
            testing::check_operation(
                &Case::new(&[&shape, &shape, &[width]]).keep_f32(0),
                |tape, inputs| residual(tape, &inputs[0], &inputs[1], Some(&inputs[2])),
                &reference::Residual { width },
            );
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let x = Tensor::zeros(&[2, 3]);
        for (branch, scale) in [([2, 4], None), ([2, 3], Some(Tensor::zeros(&[2])))] {
            let message = residual(&tape, &x, &Tensor::zeros(&branch), scale.as_ref())
                .expect_err("refused")
                .to_string();
            assert!(
                message.contains("residual") && message.contains("[2, 3]"),
                "{message}"
            );
        }
    }
}
