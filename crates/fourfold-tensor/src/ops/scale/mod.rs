//! All numbers of a tensor times one factor.

mod gpu;
#[cfg(test)]
mod reference;

use super::formats::with_numbers;
use crate::device::common;
use crate::isa::multiversion;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Element, Result, Tape, Tensor};

/// `factor · x`, in the shape and precision of `x`.
///
/// # Errors
/// None of its own: any shape will do.
pub fn scale(tape: &Tape<'_>, x: &Tensor, factor: f32) -> Result<Tensor> {
    if let Some(gpu) = common("scale", [x])? {
        return gpu::scale(gpu, tape, x, factor);
    }
    let y = with_numbers!(x, |values| scaled(values, factor, x.shape()));
    let (node, precision) = (x.node, x.precision());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(precision);
        let dx = with_numbers!(dy, |values| scaled(values, factor, dy.shape()));
        flow.add(node, dx)
    }))
}

fn scaled<T: Storable>(values: &[T], factor: f32, shape: &[usize]) -> Tensor {
    Tensor::build::<T>(shape, |out| {
        for_rows(out, 1, |first, out| {
            multiply(&values[first..][..out.len()], factor, out);
        });
    })
}

multiversion! {
    fn multiply<T: Element>(values: &[T], factor: f32, out: &mut [T]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = T::store(factor * value.load());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};

    #[test]
    fn agrees_with_its_reference() {
        for (rows, width) in [(1, 1), (9, 7), (300, 131), (0, 7)] {
            testing::check_operation(
                &Case::new(&[&[rows, width]]),
                |tape, inputs| scale(tape, &inputs[0], 25.3),
                &reference::Scale { factor: 25.3 },
            );
        }
    }
}
