//! Drawing a token.

use fourfold_tensor::ops::highest_logit;
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Sampling;

/// The logarithm of how much less likely than the likeliest a token may be: 1e-20.
const NEGLIGIBLE: f32 = 46.0;

/// Draws the tokens of one answer.
pub(super) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    pub fn new(sampling: Sampling, draw: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(sampling.seed);
        random.set_stream(draw);
        Self { sampling, random }
    }

    /// A token, as likely as `logits` make it. Of equally likely ones at the border, those with lower numbers are
    /// drawn from.
    pub fn draw(&mut self, logits: &[f32]) -> usize {
        let likeliest = self.likeliest(logits);
        let total: f64 = likeliest.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.random::<f64>() * total;
        for (token, weight) in &likeliest {
            left -= weight;
            if left < 0.0 {
                return *token;
            }
        }
        // Rounding may leave a little.
        likeliest.last().map_or(0, |(token, _)| *token)
    }

    /// The tokens to draw from, with weights in proportion to their probability.
    fn likeliest(&self, logits: &[f32]) -> Vec<(usize, f64)> {
        let Sampling {
            temperature,
            top_k,
            top_p,
            ..
        } = self.sampling;
        // What is this unlikely beside the likeliest is not drawn in a lifetime, and most tokens are.
        let (_, highest) = highest_logit(logits);
        let least = highest - NEGLIGIBLE * temperature;
        let mut order: Vec<usize> = (0..logits.len()).filter(|t| logits[*t] >= least).collect();
        let by_logit = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        if top_k > 0 && top_k < order.len() {
            order.select_nth_unstable_by(top_k - 1, by_logit);
            order.truncate(top_k);
        }
        // Only shares need the likeliest first.
        if top_p < 1.0 {
            order.sort_unstable_by(by_logit);
        }
        let weight = |token: usize| f64::from(((logits[token] - highest) / temperature).exp());
        let mut weights: Vec<(usize, f64)> = order.into_iter().map(|t| (t, weight(t))).collect();
        if top_p < 1.0 {
            let wanted = f64::from(top_p) * weights.iter().map(|(_, weight)| weight).sum::<f64>();
            let mut sum = 0.0;
            let enough = weights.iter().position(|(_, weight)| {
                sum += weight;
                sum >= wanted
            });
            weights.truncate(enough.map_or(weights.len(), |last| last + 1));
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities 0.5, 0.3, 0.15, 0.05, not in this order.
    fn logits() -> [f32; 4] {
        [0.3f32.ln(), 0.05f32.ln(), 0.5f32.ln(), 0.15f32.ln()]
    }

    fn shares(sampling: Sampling) -> [f64; 4] {
        let draws = 20_000;
        let mut counts = [0; 4];
        for draw in 0..draws {
            counts[Sampler::new(sampling, draw).draw(&logits())] += 1;
        }
        counts.map(|count| f64::from(count) / draws as f64)
    }

    fn close(found: [f64; 4], expected: [f64; 4]) {
        for (found, expected) in found.iter().zip(expected) {
            // Five standard errors of 20000 draws are below 0.018.
            assert!((found - expected).abs() < 0.018, "{found} {expected}");
            assert!(expected > 0.0 || *found == 0.0, "{found}");
        }
    }

    #[test]
    fn tokens_are_as_frequent_as_they_are_likely() {
        close(shares(Sampling::default()), [0.3, 0.05, 0.5, 0.15]);
        let hot = Sampling {
            temperature: 2.0,
            ..Sampling::default()
        };
        let roots = [0.3f64, 0.05, 0.5, 0.15].map(f64::sqrt);
        let sum: f64 = roots.iter().sum();
        close(shares(hot), roots.map(|root| root / sum));
    }

    #[test]
    fn top_k_and_top_p_leave_out_the_unlikely() {
        let two = Sampling {
            top_k: 2,
            ..Sampling::default()
        };
        close(shares(two), [0.375, 0.0, 0.625, 0.0]);
        // 0.5 + 0.3 is not enough, with 0.15 it is.
        let most = Sampling {
            top_p: 0.9,
            ..Sampling::default()
        };
        close(shares(most), [0.3 / 0.95, 0.0, 0.5 / 0.95, 0.15 / 0.95]);
        let one = Sampling {
            top_p: 1e-6,
            ..Sampling::default()
        };
        close(shares(one), [0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn what_is_forbidden_is_never_drawn() {
        let mut logits = logits();
        logits[2] = f32::NEG_INFINITY;
        let drawn = |draw| Sampler::new(Sampling::default(), draw).draw(&logits);
        assert!((0..2000).all(|draw| drawn(draw) != 2));
    }
}
