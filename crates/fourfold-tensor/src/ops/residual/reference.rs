//! The residual sum as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Inputs `stream: [rows, width]`, `branch: [rows, width]` and, if there is one, `scale: [width]`.
pub(super) struct Residual {
    pub width: usize,
}

impl Residual {
    fn scale<F: Float>(&self, inputs: &[Vec<F>], at: usize) -> F {
        inputs
            .get(2)
            .map_or(F::one(), |scale| scale[at % self.width])
    }
}

impl Reference for Residual {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let at = |i: usize| inputs[0][i] + inputs[1][i] * self.scale(inputs, i);
        (0..inputs[0].len()).map(at).collect()
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let branch = (0..dy.len()).map(|i| dy[i] * self.scale(inputs, i));
        let mut gradients = vec![dy.to_vec(), branch.collect()];
        if inputs.len() > 2 {
            let mut sums = vec![F::zero(); self.width];
            for (i, dy) in dy.iter().enumerate() {
                sums[i % self.width] = sums[i % self.width] + *dy * inputs[1][i];
            }
            gradients.push(sums);
        }
        gradients
    }
}
