//! The mean as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Input `x: [rows, parts · width]`.
pub(super) struct Average {
    pub parts: usize,
    pub width: usize,
}

impl Reference for Average {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let parts = F::from(self.parts).expect("a float");
        let rows = inputs[0].chunks(self.parts * self.width);
        let mean = |row: &[F], column: usize| {
            let part = |part: usize| row[part * self.width + column];
            (0..self.parts).fold(F::zero(), |sum, p| sum + part(p)) / parts
        };
        rows.flat_map(|row| (0..self.width).map(move |column| mean(row, column)))
            .collect()
    }

    fn backward<F: Float>(&self, _inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let parts = F::from(self.parts).expect("a float");
        let mut dx = Vec::new();
        for dy in dy.chunks(self.width) {
            for _ in 0..self.parts {
                dx.extend(dy.iter().map(|dy| *dy / parts));
            }
        }
        vec![dx]
    }
}
