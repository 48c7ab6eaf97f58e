//! Attention as plain loops.

use num_traits::Float;

use crate::ops::{Heads, Visibility};
use crate::testing::Reference;

/// Input `qkv: [tokens, heads.columns()]`.
pub(super) struct Attention {
    pub heads: Heads,
    pub visibility: Visibility,
}

impl Attention {
    fn keys(&self, row: usize) -> std::ops::Range<usize> {
        self.visibility.start()[row] as usize..self.visibility.end()[row] as usize
    }

    /// Where the query head, the key head and the value head that belong together start in their rows.
    fn at(&self, head: usize, row: usize, key: usize) -> (usize, usize, usize) {
        let Heads {
            query,
            key_value,
            width,
        } = self.heads;
        let shared = head / (query / key_value);
        let columns = self.heads.columns();
        (
            row * columns + head * width,
            key * columns + (query + shared) * width,
            key * columns + (query + key_value + shared) * width,
        )
    }

    /// The weight of every key that `row` sees.
    fn probabilities<F: Float>(&self, qkv: &[F], head: usize, row: usize) -> Vec<F> {
        let width = self.heads.width;
        let scale = F::one() / F::from(width).expect("a float").sqrt();
        let scores: Vec<F> = self
            .keys(row)
            .map(|key| {
                let (q, k, _) = self.at(head, row, key);
                let dot = (0..width).fold(F::zero(), |sum, i| sum + qkv[q + i] * qkv[k + i]);
                dot * scale
            })
            .collect();
        let max = scores
            .iter()
            .fold(F::neg_infinity(), |max, score| max.max(*score));
        let weights: Vec<F> = scores.iter().map(|score| (*score - max).exp()).collect();
        let sum = weights.iter().fold(F::zero(), |sum, weight| sum + *weight);
        weights.iter().map(|weight| *weight / sum).collect()
    }
}

impl Reference for Attention {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let (qkv, Heads { query, width, .. }) = (&inputs[0], self.heads);
        let mut y = vec![F::zero(); self.visibility.rows() * query * width];
        for row in 0..self.visibility.rows() {
            for head in 0..query {
                let probabilities = self.probabilities(qkv, head, row);
                for (key, probability) in self.keys(row).zip(probabilities) {
                    let (_, _, v) = self.at(head, row, key);
                    for i in 0..width {
                        let out = (row * query + head) * width + i;
                        y[out] = y[out] + probability * qkv[v + i];
                    }
                }
            }
        }
        y
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let (qkv, Heads { query, width, .. }) = (&inputs[0], self.heads);
        let scale = F::one() / F::from(width).expect("a float").sqrt();
        let mut gradient = vec![F::zero(); qkv.len()];
        for row in 0..self.visibility.rows() {
            for head in 0..query {
                let dy = &dy[(row * query + head) * width..][..width];
                let probabilities = self.probabilities(qkv, head, row);
                let d_probabilities: Vec<F> = self
                    .keys(row)
                    .map(|key| {
                        let (_, _, v) = self.at(head, row, key);
                        (0..width).fold(F::zero(), |sum, i| sum + dy[i] * qkv[v + i])
                    })
                    .collect();
                let mean = probabilities
                    .iter()
                    .zip(&d_probabilities)
                    .fold(F::zero(), |sum, (p, dp)| sum + *p * *dp);
                for (index, key) in self.keys(row).enumerate() {
                    let (q, k, v) = self.at(head, row, key);
                    let probability = probabilities[index];
                    let d_score = probability * (d_probabilities[index] - mean) * scale;
                    for i in 0..width {
                        gradient[q + i] = gradient[q + i] + d_score * qkv[k + i];
                        gradient[k + i] = gradient[k + i] + d_score * qkv[q + i];
                        gradient[v + i] = gradient[v + i] + probability * dy[i];
                    }
                }
            }
        }
        vec![gradient]
    }
}
