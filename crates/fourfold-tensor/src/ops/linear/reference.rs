//! The linear layer as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Inputs `x: [rows, inner]`, `weight: [outer, inner]`, `bias: [outer]` and, where `residual` is set,
/// `residual: [rows, outer]`.
pub(super) struct Linear {
    pub rows: usize,
    pub inner: usize,
    pub outer: usize,
    pub residual: bool,
}

impl Reference for Linear {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let mut y = vec![F::zero(); self.rows * self.outer];
        for row in 0..self.rows {
            for out in 0..self.outer {
                let mut sum = inputs[2][out];
                for i in 0..self.inner {
                    sum = sum + inputs[0][row * self.inner + i] * inputs[1][out * self.inner + i];
                }
                if self.residual {
                    sum = sum + inputs[3][row * self.outer + out];
                }
                y[row * self.outer + out] = sum;
            }
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut gradients: Vec<Vec<F>> = inputs
            .iter()
            .map(|input| vec![F::zero(); input.len()])
            .collect();
        for row in 0..self.rows {
            for out in 0..self.outer {
                let dy = dy[row * self.outer + out];
                for i in 0..self.inner {
                    let (x, w) = (row * self.inner + i, out * self.inner + i);
                    gradients[0][x] = gradients[0][x] + dy * inputs[1][w];
                    gradients[1][w] = gradients[1][w] + dy * inputs[0][x];
                }
                gradients[2][out] = gradients[2][out] + dy;
                if self.residual {
                    gradients[3][row * self.outer + out] = dy;
                }
            }
        }
        gradients
    }
}
