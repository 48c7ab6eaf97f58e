//! CIDEr and CIDEr-D (Vedantam et al. 2015): consensus with the references in tf-idf weighted n-grams.
//!
//! CIDEr-D is what `pycocoevalcap`'s `Cider` computes and COCO's tool prints as CIDEr: n = 1..4, counts clipped to the
//! reference's, a Gaussian penalty on the difference in length (sigma 6), the mean over n and references, times 10.
//! [CIDEr](Variant::Plain) is the first definition, without clipping and penalty; words are not stemmed in either.
//!
//! Document frequency is the number of cases of which a reference has the n-gram, over the very references that are
//! scored against, and the idf is `ln(cases) - ln(max(1, frequency))`. So a corpus of one case scores 0, and a score
//! depends on the other cases: compare only over the same split.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use rayon::prelude::*;

use crate::figure::Figure;
use crate::ngrams::{Gram, MAX_N, NumberedCase, collect, count, join, order};

/// Width of the length penalty, in words.
const SIGMA: f64 = 6.0;
/// What a perfect score is scaled to.
const SCALE: f64 = 10.0;

/// Which definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// With clipped counts and length penalty.
    D,
    /// Without.
    Plain,
}

/// The mean of each of `variants` over cases, a case in `0..=10`.
pub fn figures(cases: &[NumberedCase], variants: &[Variant]) -> Vec<Figure> {
    let idf = Idf::over(cases);
    let score = |case: &NumberedCase| -> Vec<f64> {
        let candidate = Weights::of(case.candidate.words(), &idf);
        let mut sums = vec![0.0; variants.len()];
        for reference in &case.references {
            let reference = Weights::of(reference.words(), &idf);
            for (sum, variant) in sums.iter_mut().zip(variants) {
                *sum += candidate.similarity(&reference, *variant);
            }
        }
        let parts = (MAX_N * case.references.len().max(1)) as f64;
        sums.iter().map(|sum| SCALE * sum / parts).collect()
    };
    let scores: Vec<Vec<f64>> = cases.par_iter().map(score).collect();
    let figure = |(place, variant): (usize, &Variant)| {
        let name = match variant {
            Variant::D => "cider_d",
            Variant::Plain => "cider",
        };
        Figure::mean(name, scores.iter().map(|scores| scores[place]).collect())
    };
    variants.iter().enumerate().map(figure).collect()
}

/// Tables that frequencies are spread over, so that threads can fill them apart.
const SHARDS: usize = 16;

type Table = HashMap<Gram, f64, BuildHasherDefault<GramHasher>>;

/// Inverse document frequencies over the reference sets.
struct Idf {
    shards: Vec<Table>,
    /// That of an n-gram that no reference has.
    unseen: f64,
}

impl Idf {
    fn over(cases: &[NumberedCase]) -> Self {
        let sorted: Vec<Vec<Vec<Gram>>> = cases.par_chunks(1024).map(sorted).collect();
        let log_cases = (cases.len() as f64).ln();
        let weigh = |shard: usize| {
            let mut table = Table::default();
            for gram in sorted.iter().flat_map(|shards| &shards[shard]) {
                *table.entry(*gram).or_insert(0.0) += 1.0;
            }
            for value in table.values_mut() {
                *value = log_cases - value.ln();
            }
            table
        };
        Self {
            shards: (0..SHARDS).into_par_iter().map(weigh).collect(),
            unseen: log_cases,
        }
    }

    fn get(&self, gram: Gram) -> f64 {
        let known = self.shards[shard(gram)].get(&gram);
        known.copied().unwrap_or(self.unseen)
    }
}

/// The n-grams of each case's references, once a case, by shard.
fn sorted(cases: &[NumberedCase]) -> Vec<Vec<Gram>> {
    let mut shards = vec![Vec::new(); SHARDS];
    let mut grams = Vec::new();
    for case in cases {
        grams.clear();
        case.references
            .iter()
            .for_each(|text| collect(text.words(), &mut grams));
        grams.sort_unstable();
        grams.dedup();
        grams
            .iter()
            .for_each(|gram| shards[shard(*gram)].push(*gram));
    }
    shards
}

/// The highest bits of the hash, which tables do not begin with.
fn shard(gram: Gram) -> usize {
    (BuildHasherDefault::<GramHasher>::default().hash_one(gram) >> 40) as usize % SHARDS
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

/// The tf-idf vectors of one caption, in order of n-grams, and so of their n.
struct Weights {
    weights: Vec<(Gram, f64)>,
    norms: [f64; MAX_N],
    words: usize,
}

impl Weights {
    fn of(words: &[u32], idf: &Idf) -> Self {
        let mut squares = [0.0; MAX_N];
        let weights = count(words).into_iter().map(|(gram, times)| {
            let weight = f64::from(times) * idf.get(gram);
            squares[order(gram) - 1] += weight * weight;
            (gram, weight)
        });
        Weights {
            weights: weights.collect(),
            norms: squares.map(f64::sqrt),
            words: words.len(),
        }
    }

    /// Sum over n of the cosine.
    fn similarity(&self, reference: &Weights, variant: Variant) -> f64 {
        let mut products = [0.0; MAX_N];
        join(
            &self.weights,
            &reference.weights,
            |place, said: f64, wanted: f64| {
                let said = match variant {
                    Variant::D => said.min(wanted),
                    Variant::Plain => said,
                };
                products[order(self.weights[place].0) - 1] += said * wanted;
            },
        );
        let mut sum = 0.0;
        for (k, product) in products.iter().enumerate() {
            let norm = self.norms[k] * reference.norms[k];
            // Zero where a side has no n-gram of this order, or only ones that every case has.
            if norm > 0.0 {
                sum += product / norm;
            }
        }
        let delta = self.words as f64 - reference.words as f64;
        match variant {
            Variant::D => sum * (-delta * delta / (2.0 * SIGMA * SIGMA)).exp(),
            Variant::Plain => sum,
        }
    }
}
