//! Taking rows as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Input `x: [n, width]`.
pub(super) struct TakeRows {
    pub width: usize,
    pub rows: Vec<u32>,
}

impl Reference for TakeRows {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let row = |row: &u32| inputs[0][*row as usize * self.width..][..self.width].to_vec();
        self.rows.iter().flat_map(row).collect()
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut dx = vec![F::zero(); inputs[0].len()];
        for (row, dy) in self.rows.iter().zip(dy.chunks(self.width)) {
            for (at, dy) in dy.iter().enumerate() {
                let to = *row as usize * self.width + at;
                dx[to] = dx[to] + *dy;
            }
        }
        vec![dx]
    }
}
