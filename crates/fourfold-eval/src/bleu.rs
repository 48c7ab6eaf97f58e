//! BLEU-1 to BLEU-4 (Papineni et al. 2002), over the corpus and a case at a time.
//!
//! As `pycocoevalcap`'s `Bleu(4)`: clipped counts, the closest reference length (the shorter one on
//! a tie), and its two small constants, which make the score of a caption that is too short for an
//! n-gram order tiny instead of undefined.

use rayon::prelude::*;

use crate::figure::{Figure, Sums};
use crate::ngrams::{MAX_N, NumberedCase, count, join, order};

/// Keeps a quotient defined where the numerator is zero.
const TINY: f64 = 1e-15;
/// Keeps a quotient defined where the denominator is zero.
const SMALL: f64 = 1e-9;

/// Sequences of 1 to 4 words that a reference has too, those of the candidate, the candidate's length, the reference's.
type Counts = [f64; 2 * MAX_N + 2];

/// BLEU-1..4, all in `0..=1`. That of the corpus comes from the summed counts: it is not the mean of the cases.
pub fn figures(cases: &[NumberedCase]) -> Vec<Figure> {
    let counts: Vec<Counts> = cases.par_iter().map(counts).collect();
    let sums = Sums::new(counts.iter().copied());
    let figure = |name, of: fn(&[f64]) -> f64| {
        let samples = counts.iter().map(|counts| Some(of(counts))).collect();
        Figure::of_sums(name, samples, sums.clone(), of)
    };
    vec![
        figure("bleu1", |counts| score(counts, 1)),
        figure("bleu2", |counts| score(counts, 2)),
        figure("bleu3", |counts| score(counts, 3)),
        figure("bleu4", |counts| score(counts, 4)),
    ]
}

fn counts(case: &NumberedCase) -> Counts {
    let mut counts = [0.0; 2 * MAX_N + 2];
    let length = case.candidate.words().len();
    let candidate = count(case.candidate.words());
    let mut most = vec![0; candidate.len()];
    for reference in &case.references {
        join(
            &candidate,
            &count(reference.words()),
            |place, said: u32, times| {
                most[place] = said.min(times).max(most[place]);
            },
        );
    }
    for ((gram, _), clipped) in candidate.iter().zip(most) {
        counts[order(*gram) - 1] += f64::from(clipped);
    }
    for n in 1..=MAX_N {
        counts[MAX_N + n - 1] = (length + 1).saturating_sub(n) as f64;
    }
    let lengths = case.references.iter().map(|text| text.words().len());
    let closest = lengths.min_by_key(|&len| (len.abs_diff(length), len));
    counts[2 * MAX_N] = length as f64;
    counts[2 * MAX_N + 1] = closest.unwrap_or(0) as f64;
    counts
}

/// The geometric mean of the precisions up to order `n`, times the brevity penalty.
fn score(counts: &[f64], n: usize) -> f64 {
    let (correct, guessed) = counts.split_at(MAX_N);
    let ratio = (counts[2 * MAX_N] + TINY) / (counts[2 * MAX_N + 1] + SMALL);
    let brevity = if ratio < 1.0 {
        (1.0 - 1.0 / ratio).exp()
    } else {
        1.0
    };
    let precisions = correct.iter().zip(guessed).take(n);
    let product: f64 = precisions
        .map(|(correct, guessed)| (correct + TINY) / (guessed + SMALL))
        .product();
    product.powf(1.0 / n as f64) * brevity
}
