//! The mean of the parts of each row.

mod gpu;
#[cfg(test)]
mod reference;

use super::formats::with_numbers;
use crate::device::common;
use crate::isa::multiversion;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Element, Result, Tape, Tensor, TensorError};

/// `x: [rows, parts · width]` → `[rows, width]`, the mean of the `parts` vectors that lie side by side in a row, in the
/// precision of `x`; sums are f32.
///
/// # Errors
/// When `parts` is 0 or does not divide the width of `x`.
pub fn average(tape: &Tape<'_>, x: &Tensor, parts: usize) -> Result<Tensor> {
    if parts == 0 || !x.width().is_multiple_of(parts) {
        return Err(TensorError::shape(
            "average",
            format!("x {:?}; expected rows of {parts} equal parts", x.shape()),
        ));
    }
    if let Some(gpu) = common("average", [x])? {
        return gpu::average(gpu, tape, x, parts);
    }
    let width = x.width() / parts;
    let y = with_numbers!(x, |values| averaged(values, parts, [x.rows(), width]));
    let (node, precision, rows) = (x.node, x.precision(), x.rows());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(precision);
        let dx = with_numbers!(dy, |dy| shared(dy, parts, [rows, width]));
        flow.add(node, dx)
    }))
}

fn averaged<T: Storable>(x: &[T], parts: usize, [rows, width]: [usize; 2]) -> Tensor {
    Tensor::build::<T>(&[rows, width], |out| {
        for_rows(out, width, |first, out| {
            let x = &x[first * parts * width..];
            mean(&x[..out.len() * parts], parts, width, out);
        });
    })
}

/// Each part of a row gets an equal share of `dy`.
fn shared<T: Storable>(dy: &[T], parts: usize, [rows, width]: [usize; 2]) -> Tensor {
    Tensor::build::<T>(&[rows, parts * width], |out| {
        for_rows(out, parts * width, |first, out| {
            share(&dy[first * width..][..out.len() / parts], parts, width, out);
        });
    })
}

multiversion! {
    fn mean<T: Element>(x: &[T], parts: usize, width: usize, out: &mut [T]) {
        let factor = 1.0 / parts as f32;
        let rows = out.chunks_exact_mut(width.max(1));
        for (out, x) in rows.zip(x.chunks_exact((parts * width).max(1))) {
            for (column, out) in out.iter_mut().enumerate() {
                let mut sum = 0.0;
                for part in 0..parts {
                    sum += x[part * width + column].load();
                }
                *out = T::store(factor * sum);
            }
        }
    }
}

multiversion! {
    fn share<T: Element>(dy: &[T], parts: usize, width: usize, out: &mut [T]) {
        let factor = 1.0 / parts as f32;
        let rows = out.chunks_exact_mut((parts * width).max(1));
        for (out, dy) in rows.zip(dy.chunks_exact(width.max(1))) {
            for out in out.chunks_exact_mut(width.max(1)) {
                for (out, dy) in out.iter_mut().zip(dy) {
                    *out = T::store(factor * dy.load());
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
        for (rows, parts, width) in [(1, 1, 1), (9, 4, 7), (300, 16, 33), (2, 49, 130), (0, 4, 7)] {
            testing::check_operation(
                &Case::new(&[&[rows, parts * width]]),
                |tape, inputs| average(tape, &inputs[0], parts),
                &reference::Average { parts, width },
            );
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        for parts in [0, 4] {
            let refused = average(&tape, &Tensor::zeros(&[2, 6]), parts);
            let message = refused.expect_err("refused").to_string();
            assert!(
                message.contains(&format!("{parts} equal parts")),
                "{message}"
            );
        }
    }
}
