//! Placing rows as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Inputs `rows: [tokens, width]` and `values: [at, width]`.
pub(super) struct Place {
    pub width: usize,
    pub at: Vec<u32>,
}

impl Reference for Place {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let mut y = inputs[0].clone();
        for (value, row) in self.at.iter().enumerate() {
            for i in 0..self.width {
                y[*row as usize * self.width + i] = inputs[1][value * self.width + i];
            }
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut rows = dy.to_vec();
        let mut values = vec![F::zero(); inputs[1].len()];
        for (value, row) in self.at.iter().enumerate() {
            for i in 0..self.width {
                let at = *row as usize * self.width + i;
                values[value * self.width + i] = dy[at];
                rows[at] = F::zero();
            }
        }
        vec![rows, values]
    }
}
