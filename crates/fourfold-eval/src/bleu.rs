//! BLEU-1 to BLEU-4 (Papineni et al. 2002), over the corpus and a case at a time.
//!
//! As `pycocoevalcap`'s `Bleu(4)`: clipped counts, the closest reference length (the shorter one on
//! a tie), and its two small constants, which make the score of a caption that is too short for an
//! n-gram order tiny instead of undefined.

use rayon::prelude::*;

use crate::ngrams::{MAX_N, NumberedCase, count, find};

/// Keeps a quotient defined where the numerator is zero.
const TINY: f64 = 1e-15;
/// Keeps a quotient defined where the denominator is zero.
const SMALL: f64 = 1e-9;

/// BLEU-1..4 of the whole corpus, and of each case in its order; all in `0..=1`.
///
/// The corpus score comes from the summed counts: it is not the mean of the cases.
pub fn bleu(cases: &[NumberedCase]) -> ([f64; MAX_N], Vec<[f64; MAX_N]>) {
    let counts: Vec<Counts> = cases.par_iter().map(Counts::of).collect();
    let mut total = Counts::default();
    counts.iter().for_each(|counts| total.add(counts));
    (total.score(), counts.iter().map(Counts::score).collect())
}

#[derive(Default)]
struct Counts {
    /// n-grams of the candidate that a reference has too, clipped, for n = 1..4.
    correct: [usize; MAX_N],
    /// n-grams of the candidate.
    guessed: [usize; MAX_N],
    candidate_len: usize,
    reference_len: usize,
}

impl Counts {
    fn of(case: &NumberedCase) -> Self {
        let candidate_len = case.candidate.len();
        let mut counts = Counts {
            candidate_len,
            ..Counts::default()
        };
        counts.reference_len = case
            .references
            .iter()
            .map(Vec::len)
            .min_by_key(|&len| (len.abs_diff(candidate_len), len))
            .unwrap_or(0);
        for n in 1..=MAX_N {
            let references: Vec<_> = case.references.iter().map(|r| count(r, n)).collect();
            counts.guessed[n - 1] = (candidate_len + 1).saturating_sub(n);
            counts.correct[n - 1] = count(&case.candidate, n)
                .into_iter()
                .map(|(gram, times)| {
                    let most = references.iter().filter_map(|r| find(r, gram)).max();
                    times.min(most.unwrap_or(0))
                })
                .sum();
        }
        counts
    }

    fn add(&mut self, other: &Counts) {
        for k in 0..MAX_N {
            self.correct[k] += other.correct[k];
            self.guessed[k] += other.guessed[k];
        }
        self.candidate_len += other.candidate_len;
        self.reference_len += other.reference_len;
    }

    /// Geometric means of the precisions up to each order, times the brevity penalty.
    fn score(&self) -> [f64; MAX_N] {
        let ratio = (self.candidate_len as f64 + TINY) / (self.reference_len as f64 + SMALL);
        let brevity = if ratio < 1.0 {
            (1.0 - 1.0 / ratio).exp()
        } else {
            1.0
        };
        let mut product = 1.0;
        std::array::from_fn(|k| {
            product *= (self.correct[k] as f64 + TINY) / (self.guessed[k] as f64 + SMALL);
            product.powf(1.0 / (k + 1) as f64) * brevity
        })
    }
}
