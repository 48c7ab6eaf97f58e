//! The embedding as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Input `table: [n, width]`.
pub(super) struct Embedding {
    pub n: usize,
    pub width: usize,
    pub ids: Vec<u32>,
}

impl Reference for Embedding {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let row = |id: &u32| inputs[0][*id as usize * self.width..][..self.width].to_vec();
        self.ids.iter().flat_map(row).collect()
    }

    fn backward<F: Float>(&self, _inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut table = vec![F::zero(); self.n * self.width];
        for (row, id) in self.ids.iter().enumerate() {
            for i in 0..self.width {
                let at = *id as usize * self.width + i;
                table[at] = table[at] + dy[row * self.width + i];
            }
        }
        vec![table]
    }
}
