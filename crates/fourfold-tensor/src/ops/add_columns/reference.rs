//! Adding to some columns as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Inputs `y: [rows, width]`, `delta: [rows, columns]`.
pub(super) struct AddColumns {
    pub width: usize,
    pub columns: usize,
    pub first: usize,
    pub factor: f32,
}

impl AddColumns {
    /// The place in `y` of each number of `delta`.
    fn place(&self, at: usize) -> usize {
        at / self.columns * self.width + self.first + at % self.columns
    }
}

impl Reference for AddColumns {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let factor = F::from(self.factor).expect("a float");
        let mut y = inputs[0].clone();
        for (at, delta) in inputs[1].iter().enumerate() {
            let place = self.place(at);
            y[place] = y[place] + factor * *delta;
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let factor = F::from(self.factor).expect("a float");
        let delta = (0..inputs[1].len()).map(|at| factor * dy[self.place(at)]);
        vec![dy.to_vec(), delta.collect()]
    }
}
