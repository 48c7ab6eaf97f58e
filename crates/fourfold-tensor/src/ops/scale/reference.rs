//! The factor as a plain loop.

use num_traits::Float;

use crate::testing::Reference;

pub(super) struct Scale {
    pub factor: f32,
}

impl Scale {
    fn scaled<F: Float>(&self, values: &[F]) -> Vec<F> {
        let factor = F::from(self.factor).expect("a float");
        values.iter().map(|value| factor * *value).collect()
    }
}

impl Reference for Scale {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        self.scaled(&inputs[0])
    }

    fn backward<F: Float>(&self, _inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        vec![self.scaled(dy)]
    }
}
