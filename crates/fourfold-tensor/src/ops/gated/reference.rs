//! Gated activations as plain loops.

use num_traits::Float;

use super::Gate;
use crate::ops::Gelu;
use crate::ops::gelu::reference::Activation;
use crate::testing::Reference;

/// Input `gate_up: [rows, 2 · inner]`.
pub(super) struct Gated {
    pub gate: Gate,
    pub inner: usize,
}

impl Gated {
    /// Value and slope of the activation at `x`.
    fn at<F: Float>(&self, x: F) -> (F, F) {
        match self.gate {
            Gate::Silu => {
                let s = F::one() / (F::one() + (-x).exp());
                (x * s, s * (F::one() + x * (F::one() - s)))
            }
            Gate::GeluTanh => Activation { kind: Gelu::Tanh }.at(x),
        }
    }
}

impl Reference for Gated {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let mut y = Vec::new();
        for row in inputs[0].chunks(2 * self.inner) {
            for i in 0..self.inner {
                y.push(self.at(row[i]).0 * row[self.inner + i]);
            }
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut dx = inputs[0].clone();
        for (row, dy) in dx.chunks_mut(2 * self.inner).zip(dy.chunks(self.inner)) {
            for i in 0..self.inner {
                let (value, slope) = self.at(row[i]);
                let up = row[self.inner + i];
                row[i] = dy[i] * up * slope;
                row[self.inner + i] = dy[i] * value;
            }
        }
        vec![dx]
    }
}
