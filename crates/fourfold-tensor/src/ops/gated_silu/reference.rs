//! Gated SiLU as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Input `gate_up: [rows, 2 · inner]`.
pub(super) struct GatedSilu {
    pub inner: usize,
}

impl Reference for GatedSilu {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let mut y = Vec::new();
        for row in inputs[0].chunks(2 * self.inner) {
            for i in 0..self.inner {
                let gate = row[i];
                y.push(gate / (F::one() + (-gate).exp()) * row[self.inner + i]);
            }
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut dx = inputs[0].clone();
        for (row, dy) in dx.chunks_mut(2 * self.inner).zip(dy.chunks(self.inner)) {
            for i in 0..self.inner {
                let (gate, up) = (row[i], row[self.inner + i]);
                let s = F::one() / (F::one() + (-gate).exp());
                row[i] = dy[i] * up * s * (F::one() + gate * (F::one() - s));
                row[self.inner + i] = dy[i] * gate * s;
            }
        }
        vec![dx]
    }
}
