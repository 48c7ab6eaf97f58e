//! Rotary positions as plain loops.

use num_traits::Float;

use crate::ops::Heads;
use crate::testing::Reference;

/// Input `qkv: [tokens, (query + 2 · key_value) · width]`.
pub(super) struct Rope {
    pub heads: Heads,
    pub positions: Vec<u32>,
    pub frequencies: Vec<f64>,
    pub amplitude: f64,
}

impl Rope {
    fn turn<F: Float>(&self, x: &[F], direction: f64) -> Vec<F> {
        let mut y = x.to_vec();
        let (width, columns) = (self.heads.width, self.heads.columns());
        for (row, position) in self.positions.iter().enumerate() {
            for head in 0..self.heads.query + self.heads.key_value {
                for i in 0..width / 2 {
                    let angle = direction * f64::from(*position) * self.frequencies[i];
                    let number = |value: f64| F::from(self.amplitude * value).expect("a float");
                    let (sine, cosine) = (number(angle.sin()), number(angle.cos()));
                    let left = row * columns + head * width + i;
                    let right = left + width / 2;
                    y[left] = x[left] * cosine - x[right] * sine;
                    y[right] = x[right] * cosine + x[left] * sine;
                }
            }
        }
        y
    }
}

impl Reference for Rope {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        self.turn(&inputs[0], 1.0)
    }

    fn backward<F: Float>(&self, _inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        vec![self.turn(dy, -1.0)]
    }
}
