//! CIDEr-D (Vedantam et al. 2015): consensus with the references in tf-idf weighted n-grams.
//!
//! As `pycocoevalcap`'s `Cider`: n = 1..4, counts clipped to the reference's, a Gaussian penalty
//! on the difference in length (sigma 6), the mean over n and references, times 10. Document
//! frequency is the number of cases of which a reference has the n-gram, over the very references
//! that are scored against, and the idf is `ln(cases) - ln(max(1, frequency))`. So a corpus of one
//! case scores 0, and a score depends on the other cases: compare only over the same split.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;

use crate::ngrams::{Gram, MAX_N, NumberedCase, count, find};

/// Width of the length penalty, in words.
const SIGMA: f64 = 6.0;
/// What a perfect score is scaled to.
const SCALE: f64 = 10.0;

/// CIDEr-D of each case, in `0..=10`; the corpus score is the mean.
pub fn cider_d(cases: &[NumberedCase]) -> Vec<f64> {
    let idf = Idf::over(cases);
    cases
        .par_iter()
        .map(|case| {
            let candidate = Weights::of(&case.candidate, &idf);
            let sum: f64 = case
                .references
                .iter()
                .map(|reference| candidate.similarity(&Weights::of(reference, &idf)))
                .sum();
            SCALE * sum / (MAX_N * case.references.len().max(1)) as f64
        })
        .collect()
}

/// Inverse document frequencies over the reference sets.
struct Idf {
    frequency: HashMap<Gram, usize, BuildHasherDefault<GramHasher>>,
    log_cases: f64,
}

impl Idf {
    fn over(cases: &[NumberedCase]) -> Self {
        let mut frequency: HashMap<Gram, usize, _> = HashMap::default();
        for case in cases {
            let grams: HashSet<Gram, BuildHasherDefault<GramHasher>> = case
                .references
                .iter()
                .flat_map(|r| (1..=MAX_N).flat_map(|n| count(r, n)))
                .map(|(gram, _)| gram)
                .collect();
            for gram in grams {
                *frequency.entry(gram).or_insert(0) += 1;
            }
        }
        Idf {
            frequency,
            log_cases: (cases.len() as f64).ln(),
        }
    }

    fn get(&self, gram: Gram) -> f64 {
        let frequency = self.frequency.get(&gram).copied().unwrap_or(1);
        self.log_cases - (frequency as f64).ln()
    }
}

/// Spreads the numbers of a sequence over 64 bits; nobody chooses them to collide.
#[derive(Default)]
struct GramHasher(u64);

impl Hasher for GramHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(Gram::from(*byte));
        }
    }

    fn write_u128(&mut self, gram: u128) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (gram as u64).wrapping_mul(ODD) ^ ((gram >> 64) as u64).rotate_left(29);
        let mixed = (self.0 ^ mixed).wrapping_mul(ODD);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The tf-idf vectors of one caption, an n-gram order each.
struct Weights {
    vectors: [Vec<(Gram, f64)>; MAX_N],
    norms: [f64; MAX_N],
    words: usize,
}

impl Weights {
    fn of(words: &[u32], idf: &Idf) -> Self {
        let vectors: [Vec<(Gram, f64)>; MAX_N] = std::array::from_fn(|k| {
            count(words, k + 1)
                .into_iter()
                .map(|(gram, times)| (gram, times as f64 * idf.get(gram)))
                .collect()
        });
        let norms = std::array::from_fn(|k| {
            let squares = vectors[k].iter().map(|(_, weight)| weight * weight);
            squares.sum::<f64>().sqrt()
        });
        Weights {
            vectors,
            norms,
            words: words.len(),
        }
    }

    /// Sum over n of the clipped cosine, with the length penalty.
    fn similarity(&self, reference: &Weights) -> f64 {
        let delta = self.words as f64 - reference.words as f64;
        let penalty = (-delta * delta / (2.0 * SIGMA * SIGMA)).exp();
        let mut sum = 0.0;
        for k in 0..MAX_N {
            let norm = self.norms[k] * reference.norms[k];
            // Zero where a side has no n-gram of this order, or only ones that every case has.
            if norm == 0.0 {
                continue;
            }
            let product: f64 = self.vectors[k]
                .iter()
                .filter_map(|(gram, weight)| {
                    let other = find(&reference.vectors[k], *gram)?;
                    Some(weight.min(other) * other)
                })
                .sum();
            sum += product / norm;
        }
        sum * penalty
    }
}
