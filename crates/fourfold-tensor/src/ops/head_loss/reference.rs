//! Head and cross-entropy as plain loops over all logits.

use num_traits::Float;

use crate::testing::Reference;

/// Inputs `hidden: [tokens, width]` and `weight: [vocabulary, width]`.
pub(super) struct HeadLoss {
    pub width: usize,
    pub vocabulary: usize,
    pub rows: Vec<u32>,
    pub targets: Vec<u32>,
    pub scale: f64,
}

impl HeadLoss {
    fn logits<F: Float>(&self, inputs: &[Vec<F>], row: u32) -> Vec<F> {
        let logit = |token: usize| {
            (0..self.width).fold(F::zero(), |sum, i| {
                sum + inputs[0][row as usize * self.width + i] * inputs[1][token * self.width + i]
            })
        };
        (0..self.vocabulary).map(logit).collect()
    }

    fn sum_of_exponentials<F: Float>(logits: &[F]) -> F {
        logits.iter().fold(F::zero(), |sum, x| sum + x.exp())
    }
}

impl Reference for HeadLoss {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        let mut loss = F::zero();
        for (row, target) in self.rows.iter().zip(&self.targets) {
            let logits = self.logits(inputs, *row);
            loss = loss + Self::sum_of_exponentials(&logits).ln() - logits[*target as usize];
        }
        vec![loss * F::from(self.scale).expect("a float")]
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let factor = dy[0] * F::from(self.scale).expect("a float");
        let mut hidden = vec![F::zero(); inputs[0].len()];
        let mut weight = vec![F::zero(); inputs[1].len()];
        for (row, target) in self.rows.iter().zip(&self.targets) {
            let logits = self.logits(inputs, *row);
            let sum = Self::sum_of_exponentials(&logits);
            for (token, logit) in logits.iter().enumerate() {
                let is_target = token == *target as usize;
                let wanted = if is_target { F::one() } else { F::zero() };
                let gradient = factor * (logit.exp() / sum - wanted);
                for i in 0..self.width {
                    let (h, w) = (*row as usize * self.width + i, token * self.width + i);
                    hidden[h] = hidden[h] + gradient * inputs[1][w];
                    weight[w] = weight[w] + gradient * inputs[0][h];
                }
            }
        }
        vec![hidden, weight]
    }
}
