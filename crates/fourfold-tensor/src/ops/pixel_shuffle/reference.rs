//! The pixel shuffle as plain loops.

use num_traits::Float;

use crate::testing::Reference;

/// Input `x: [images · grid.0 · grid.1, width]`.
pub(super) struct PixelShuffle {
    pub images: usize,
    pub grid: (usize, usize),
    pub factor: usize,
    pub width: usize,
}

impl PixelShuffle {
    /// For every number of the result, in order, where it comes from.
    fn sources(&self) -> Vec<usize> {
        let mut sources = Vec::new();
        for image in 0..self.images {
            for top in (0..self.grid.0).step_by(self.factor) {
                for left in (0..self.grid.1).step_by(self.factor) {
                    for y in top..top + self.factor {
                        for x in left..left + self.factor {
                            let row = (image * self.grid.0 + y) * self.grid.1 + x;
                            sources.extend((0..self.width).map(|i| row * self.width + i));
                        }
                    }
                }
            }
        }
        sources
    }
}

impl Reference for PixelShuffle {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let sources = self.sources();
        sources.iter().map(|source| inputs[0][*source]).collect()
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let mut dx = vec![F::zero(); inputs[0].len()];
        for (source, dy) in self.sources().into_iter().zip(dy) {
            dx[source] = *dy;
        }
        vec![dx]
    }
}
