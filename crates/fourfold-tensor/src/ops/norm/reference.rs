//! The norms as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Inputs `x: [rows, width]`, `weight: [width]` and, for the layer norm, `bias: [width]`.
pub(in crate::ops) struct Norm {
    pub rows: usize,
    pub width: usize,
    pub layer: bool,
    pub epsilon: f64,
}

impl Norm {
    /// Mean (0 for the RMS norm) and reciprocal deviation of a row.
    fn statistics<F: Float>(&self, row: &[F]) -> (F, F) {
        let width = F::from(self.width).expect("a small number");
        let sum = |terms: Vec<F>| terms.into_iter().fold(F::zero(), |sum, term| sum + term);
        let mean = if self.layer {
            sum(row.to_vec()) / width
        } else {
            F::zero()
        };
        let squares = row.iter().map(|x| (*x - mean).powi(2)).collect();
        let epsilon = F::from(self.epsilon).expect("a float");
        (mean, (sum(squares) / width + epsilon).sqrt().recip())
    }
}

impl Reference for Norm {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let mut y = Vec::new();
        for row in inputs[0].chunks(self.width) {
            let (mean, scale) = self.statistics(row);
            for (i, x) in row.iter().enumerate() {
                let bias = if self.layer { inputs[2][i] } else { F::zero() };
                y.push((*x - mean) * scale * inputs[1][i] + bias);
            }
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let width = F::from(self.width).expect("a small number");
        let mut gradients: Vec<Vec<F>> = inputs
            .iter()
            .map(|input| vec![F::zero(); input.len()])
            .collect();
        for row in 0..self.rows {
            let x = &inputs[0][row * self.width..][..self.width];
            let dy = &dy[row * self.width..][..self.width];
            let (mean, scale) = self.statistics(x);
            let (mut sum, mut product) = (F::zero(), F::zero());
            for i in 0..self.width {
                let normal = (x[i] - mean) * scale;
                sum = sum + dy[i] * inputs[1][i];
                product = product + dy[i] * inputs[1][i] * normal;
                gradients[1][i] = gradients[1][i] + dy[i] * normal;
                if self.layer {
                    gradients[2][i] = gradients[2][i] + dy[i];
                }
            }
            if !self.layer {
                sum = F::zero();
            }
            for i in 0..self.width {
                let normal = (x[i] - mean) * scale;
                gradients[0][row * self.width + i] =
                    scale * (dy[i] * inputs[1][i] - (sum + normal * product) / width);
            }
        }
        gradients
    }
}
