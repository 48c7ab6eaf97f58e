//! The norms of heads as plain loops.

use num_traits::Float;

use crate::ops::Heads;
use crate::ops::norm::reference::Norm;
use crate::testing::Reference;

/// Inputs `qkv: [tokens, columns]`, `query_weight: [width]`, `key_weight: [width]`.
pub(super) struct HeadNorm {
    pub heads: Heads,
    pub epsilon: f64,
}

impl HeadNorm {
    /// The RMS norm of one head, with the first number of each of its heads in `qkv` and the input of its weight.
    fn each(&self, columns: usize, len: usize) -> impl Iterator<Item = (usize, usize)> {
        let Heads {
            query,
            key_value,
            width,
        } = self.heads;
        (0..len / columns).flat_map(move |row| {
            (0..query + key_value).map(move |head| {
                (
                    row * columns + head * width,
                    if head < query { 1 } else { 2 },
                )
            })
        })
    }

    fn norm(&self) -> Norm {
        Norm {
            rows: 1,
            width: self.heads.width,
            layer: false,
            epsilon: self.epsilon,
        }
    }
}

impl Reference for HeadNorm {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let (x, width) = (&inputs[0], self.heads.width);
        let mut y = x.clone();
        for (at, weight) in self.each(self.heads.columns(), x.len()) {
            let head = x[at..at + width].to_vec();
            let normed = self.norm().forward(&[head, inputs[weight].clone()]);
            y[at..at + width].copy_from_slice(&normed);
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let (x, width) = (&inputs[0], self.heads.width);
        let mut gradients = vec![dy.to_vec(), vec![F::zero(); width], vec![F::zero(); width]];
        for (at, weight) in self.each(self.heads.columns(), x.len()) {
            let head = x[at..at + width].to_vec();
            let of_head = [head, inputs[weight].clone()];
            let found = self.norm().backward(&of_head, &dy[at..at + width]);
            gradients[0][at..at + width].copy_from_slice(&found[0]);
            for (sum, gradient) in gradients[weight].iter_mut().zip(&found[1]) {
                *sum = *sum + *gradient;
            }
        }
        gradients
    }
}
