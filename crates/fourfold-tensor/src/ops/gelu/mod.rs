//! GELU: a number times the chance that a normal variable lies below it.

mod cpu;
pub(super) mod gpu;
#[cfg(test)]
pub(super) mod reference;

pub(super) use cpu::sigmoid;
pub(crate) use cpu::{at as gelu_at, tanh_slope};

use super::formats::{numbers, with_numbers};
use crate::device::common;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Result, Tape, Tensor};

/// The forms of GELU that models are trained with (Hendrycks and Gimpel, arXiv 1606.08415).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gelu {
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    Tanh,
    /// `x/2 · (1 + erf(x/√2))`.
    Erf,
    /// `x / (1 + e^(-1.702 x))`, CLIP's.
    Quick,
}

/// `gelu(x)` of each number of `x`, in its shape and precision.
///
/// # Errors
/// None of its own: any shape will do.
pub fn gelu(tape: &Tape<'_>, x: &Tensor, kind: Gelu) -> Result<Tensor> {
    if let Some(gpu) = common("gelu", [x])? {
        return gpu::gelu(gpu, tape, x, kind);
    }
    let y = with_numbers!(x, |numbers| forward(kind, numbers, x.shape()));
    let kept = x.clone();
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(kept.precision());
        let dx = with_numbers!(kept, |x| backward(kind, x, numbers(&dy)?, kept.shape()));
        flow.add(kept.node, dx)
    }))
}

fn forward<T: Storable>(kind: Gelu, x: &[T], shape: &[usize]) -> Tensor {
    Tensor::build::<T>(shape, |out| {
        for_rows(out, 1, |first, out| {
            cpu::forward(kind, &x[first..][..out.len()], out);
        });
    })
}

/// `x = gelu(x)`.
pub(crate) fn gelu_in_place(kind: Gelu, x: &mut [half::bf16]) {
    for_rows(x, 1, |_, x| {
        let before = x.to_vec();
        cpu::forward(kind, &before, x);
    });
}

fn backward<T: Storable>(kind: Gelu, x: &[T], dy: &[T], shape: &[usize]) -> Tensor {
    Tensor::build::<T>(shape, |dx| {
        for_rows(dx, 1, |first, dx| {
            let piece = first..first + dx.len();
            cpu::backward(kind, &x[piece.clone()], &dy[piece], dx);
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Gradients, Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for kind in [Gelu::Tanh, Gelu::Erf, Gelu::Quick] {
            for (rows, width) in [(1, 1), (3, 7), (33, 50), (1, 131), (31, 37), (0, 7)] {
                testing::check_operation(
                    &Case::new(&[&[rows, width]]),
                    |tape, inputs| gelu(tape, &inputs[0], kind),
                    &reference::Activation { kind },
                );
            }
        }
    }

    /// Values and slopes on [-8, 8], the distribution integrated from the density in f64 by Simpson's rule.
    #[test]
    fn is_exact_far_from_zero() {
        let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let step = 1.0 / 64.0;
        let (mut x, mut values, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
        let mut half = 0.0;
        for i in 0..512 {
            let at = f64::from(i) * step;
            for side in [at, -at] {
                let below = 0.5 + half * side.signum();
                x.push(side as f32);
                values.push(side * below);
                slopes.push(below + side * density(side));
            }
            half +=
                step / 6.0 * (density(at) + 4.0 * density(at + step / 2.0) + density(at + step));
        }
        let mut parameters = Parameters::new(Precision::F32);
        let shape = [1, x.len()];
        let id = parameters
            .add("x", Tensor::from_f32(&shape, &x).expect("a row"))
            .expect("a new name");
        parameters.set_trainable(|_| true);
        let mut gradients = Gradients::new(&parameters);
        let tape = Tape::recording(&parameters);
        let y = gelu(&tape, &tape.parameter(id), Gelu::Erf).expect("any shape");
        let loss = testing::weighted_sum(&tape, &y, &vec![1.0; x.len()]);
        tape.backward(&loss, &mut gradients).expect("a loss");
        let found = gradients.get(id).expect("a gradient").to_f32_vec();
        for (i, x) in x.iter().enumerate() {
            let (value, slope) = (f64::from(y.f32().expect("f32")[i]), f64::from(found[i]));
            // The approximation's 1e-7 and the rounding of a few f32 operations.
            let bound = 3e-7 * f64::from(x.abs()).max(1.0);
            assert!((value - values[i]).abs() < bound, "gelu({x}) = {value}");
            assert!((slope - slopes[i]).abs() < bound, "gelu'({x}) = {slope}");
        }
    }

    #[test]
    fn far_tails_vanish() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        for (kind, far) in [(Gelu::Erf, 20.0), (Gelu::Tanh, 20.0), (Gelu::Quick, 60.0)] {
            let x = Tensor::from_f32(&[4], &[-1e10, -far, far, 1e10]).expect("a row");
            let y = gelu(&tape, &x, kind).expect("any shape").to_f32_vec();
            assert_eq!(y, [0.0, 0.0, far, 1e10], "{kind:?}");
        }
    }
}
