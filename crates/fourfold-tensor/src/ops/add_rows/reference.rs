//! Added rows as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Inputs `x: [ids, width]` and `table: [n, width]`.
pub(super) struct AddRows {
    pub width: usize,
    pub ids: Vec<u32>,
}

impl Reference for AddRows {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let mut y = inputs[0].clone();
        for (row, id) in self.ids.iter().enumerate() {
            for i in 0..self.width {
                let at = row * self.width + i;
                y[at] = y[at] + inputs[1][*id as usize * self.width + i];
            }
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut table = vec![F::zero(); inputs[1].len()];
        for (row, id) in self.ids.iter().enumerate() {
            for i in 0..self.width {
                let at = *id as usize * self.width + i;
                table[at] = table[at] + dy[row * self.width + i];
            }
        }
        vec![dy.to_vec(), table]
    }
}
