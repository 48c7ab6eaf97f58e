//! The gated activation of the language model's feed-forward part.

mod cpu;
mod gpu;
#[cfg(test)]
mod reference;

use super::formats::{numbers, with_numbers};
use crate::device::common;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Result, Tape, Tensor, TensorError};

/// The activation of the gate (SwiGLU and GEGLU of Shazeer, arXiv 2002.05202).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `x / (1 + e^-x)`: Llama's and Qwen's.
    Silu,
    /// GELU in its tanh form: Gemma's.
    GeluTanh,
}

/// `gate_up: [rows, 2 · inner]`, each row the gate and then the value → `[rows, inner]`: `activation(gate) · up`, in the
/// precision of its input.
///
/// # Errors
/// When the width is odd.
pub fn gated(tape: &Tape<'_>, gate_up: &Tensor, gate: Gate) -> Result<Tensor> {
    if !gate_up.width().is_multiple_of(2) {
        return Err(TensorError::shape(
            "gated",
            format!(
                "x {:?}; expected an even width, gate and value side by side",
                gate_up.shape()
            ),
        ));
    }
    if let Some(gpu) = common("gated", [gate_up])? {
        return gpu::gated(gpu, tape, gate_up, gate);
    }
    let y = with_numbers!(gate_up, |x| forward(gate, x, gate_up));
    let kept = gate_up.clone();
    Ok(tape.record(&[gate_up], y, move |dy, flow| {
        let dy = dy.to_precision(kept.precision());
        let dx = with_numbers!(kept, |x| backward(gate, x, numbers(&dy)?, &kept));
        flow.add(kept.node, dx)
    }))
}

fn forward<T: Storable>(gate: Gate, x: &[T], gate_up: &Tensor) -> Tensor {
    let inner = gate_up.width() / 2;
    let mut shape = gate_up.shape().to_vec();
    if let Some(width) = shape.last_mut() {
        *width = inner;
    }
    Tensor::build::<T>(&shape, |out| {
        for_rows(out, inner, |first, out| {
            cpu::forward(gate, &x[2 * first * inner..][..2 * out.len()], inner, out);
        });
    })
}

fn backward<T: Storable>(gate: Gate, x: &[T], dy: &[T], gate_up: &Tensor) -> Tensor {
    let inner = gate_up.width() / 2;
    Tensor::build::<T>(gate_up.shape(), |dx| {
        for_rows(dx, 2 * inner, |first, dx| {
            let x = &x[2 * first * inner..][..dx.len()];
            let dy = &dy[first * inner..][..dx.len() / 2];
            cpu::backward(gate, x, dy, inner, dx);
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for (rows, inner) in [
            (1, 1),
            (3, 7),
            (33, 25),
            (100, 96),
            (1, 131),
            (31, 37),
            (0, 7),
        ] {
            for gate in [Gate::Silu, Gate::GeluTanh] {
                testing::check_operation(
                    &Case::new(&[&[rows, 2 * inner]]),
                    |tape, inputs| gated(tape, &inputs[0], gate),
                    &reference::Gated { gate, inner },
                );
            }
        }
    }

    #[test]
    fn large_gates_stay_finite() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let x = [-1e4, -100.0, 100.0, 1e4, 2.0, 2.0, 2.0, 2.0];
        let x = Tensor::from_f32(&[1, 8], &x).expect("a row");
        for gate in [Gate::Silu, Gate::GeluTanh] {
            let y = gated(&tape, &x, gate).expect("even").to_f32_vec();
            assert_eq!(y, [0.0, 0.0, 200.0, 2e4], "{gate:?}");
        }
    }

    #[test]
    fn refuses_an_odd_width() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let message = gated(&tape, &Tensor::zeros(&[2, 3]), Gate::Silu)
            .expect_err("odd")
            .to_string();
        assert!(message.contains("gated") && message.contains("[2, 3]"));
    }
}
