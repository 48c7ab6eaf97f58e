//! The gated activation of the language model's feed-forward part.

mod cpu;
#[cfg(test)]
mod reference;

use super::formats::{numbers, with_numbers};
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Result, Tape, Tensor, TensorError};

/// `gate_up: [rows, 2 · inner]`, each row the gate and then the value → `[rows, inner]`: `silu(gate) · up` with
/// `silu(x) = x / (1 + e^-x)`, in the precision of its input (SwiGLU, Shazeer, arXiv 2002.05202).
///
/// # Errors
/// When the width is odd.
pub fn gated_silu(tape: &Tape<'_>, gate_up: &Tensor) -> Result<Tensor> {
    if !gate_up.width().is_multiple_of(2) {
        return Err(TensorError::shape(
            "gated_silu",
            format!(
                "x {:?}; expected an even width, gate and value side by side",
                gate_up.shape()
            ),
        ));
    }
    let y = with_numbers!(gate_up, |x| forward(x, gate_up));
    let kept = gate_up.clone();
    Ok(tape.record(&[gate_up], y, move |dy, flow| {
        let dy = dy.to_precision(kept.precision());
        let dx = with_numbers!(kept, |x| backward(x, numbers(&dy)?, &kept));
        flow.add(kept.node, dx)
    }))
}

fn forward<T: Storable>(x: &[T], gate_up: &Tensor) -> Tensor {
    let inner = gate_up.width() / 2;
    let mut shape = gate_up.shape().to_vec();
    if let Some(width) = shape.last_mut() {
        *width = inner;
    }
    Tensor::build::<T>(&shape, |out| {
        for_rows(out, inner, |first, out| {
            cpu::forward(&x[2 * first * inner..][..2 * out.len()], inner, out);
        });
    })
}

fn backward<T: Storable>(x: &[T], dy: &[T], gate_up: &Tensor) -> Tensor {
    let inner = gate_up.width() / 2;
    Tensor::build::<T>(gate_up.shape(), |dx| {
        for_rows(dx, 2 * inner, |first, dx| {
            let x = &x[2 * first * inner..][..dx.len()];
            let dy = &dy[first * inner..][..dx.len() / 2];
            cpu::backward(x, dy, inner, dx);
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
            testing::check_operation(
                &Case::new(&[&[rows, 2 * inner]]),
                |tape, inputs| gated_silu(tape, &inputs[0]),
                &reference::GatedSilu { inner },
            );
        }
    }

    #[test]
    fn large_gates_stay_finite() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let x = [-1e4, -100.0, 100.0, 1e4, 2.0, 2.0, 2.0, 2.0];
        let x = Tensor::from_f32(&[1, 8], &x).expect("a row");
        let y = gated_silu(&tape, &x).expect("even").to_f32_vec();
        assert_eq!(y, [0.0, 0.0, 200.0, 2e4]);
    }

    #[test]
    fn refuses_an_odd_width() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let message = gated_silu(&tape, &Tensor::zeros(&[2, 3]))
            .expect_err("odd")
            .to_string();
        assert!(message.contains("gated_silu") && message.contains("[2, 3]"));
    }
}
