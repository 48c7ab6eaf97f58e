//! Dropout as a plain loop over factors that are given.

use num_traits::Float;

use crate::testing::Reference;

pub(super) struct Dropout {
    /// What each number is multiplied by.
    pub factors: Vec<f32>,
}

impl Dropout {
    fn masked<F: Float>(&self, values: &[F]) -> Vec<F> {
        let factors = self
            .factors
            .iter()
            .map(|factor| F::from(*factor).expect("a float"));
        values
            .iter()
            .zip(factors)
            .map(|(value, factor)| *value * factor)
            .collect()
    }
}

impl Reference for Dropout {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        self.masked(&inputs[0])
    }

    fn backward<F: Float>(&self, _inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        vec![self.masked(dy)]
    }
}
