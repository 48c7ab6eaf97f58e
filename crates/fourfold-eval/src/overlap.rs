//! Words that an answer has in common with a reference, as precision, recall and F1 (Rajpurkar et al. 2016).
//!
//! Words are those of the normalised answer ([`crate::vqa::normalize`]), which drops articles and marks; one that comes twice
//! counts twice. Of several references the best F1 and the best recall are taken.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::Case;
use crate::figure::{Figure, quotient};
use crate::vqa::normalize;

/// What two texts have in common, each value in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overlap {
    /// The share of the answer's words that are in the reference.
    pub precision: f64,
    /// The share of the reference's words that are in the answer.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// What `answer` and `reference` have in common.
pub fn overlap(answer: &str, reference: &str) -> Overlap {
    let (answer, reference) = (normalize(answer), normalize(reference));
    let mut left: HashMap<&str, usize> = HashMap::new();
    let mut words = 0;
    for word in reference.split_whitespace() {
        *left.entry(word).or_default() += 1;
        words += 1;
    }
    let (mut said, mut common) = (0, 0);
    for word in answer.split_whitespace() {
        said += 1;
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    let precision = quotient(f64::from(common), f64::from(said));
    let recall = quotient(f64::from(common), f64::from(words));
    Overlap {
        precision,
        recall,
        f1: quotient(2.0 * precision * recall, precision + recall),
    }
}

/// The means of the best F1 and the best recall.
pub fn figures(cases: &[Case<'_>]) -> Vec<Figure> {
    let best = |case: &Case<'_>| best(case.candidate, case.references);
    let best: Vec<Overlap> = cases.par_iter().map(best).collect();
    let figure =
        |name, value: fn(&Overlap) -> f64| Figure::mean(name, best.iter().map(value).collect());
    vec![
        figure("token_f1", |overlap| overlap.f1),
        figure("token_recall", |overlap| overlap.recall),
    ]
}

/// The best F1 and the best recall over references.
pub fn best<S: AsRef<str>>(answer: &str, references: &[S]) -> Overlap {
    let all = references.iter().map(|r| overlap(answer, r.as_ref()));
    all.fold(Overlap::default(), |best, one| Overlap {
        precision: best.precision.max(one.precision),
        recall: best.recall.max(one.recall),
        f1: best.f1.max(one.f1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_as_often_as_both_have_it() {
        let found = overlap("The red red cell", "red blood cell cell");
        assert_eq!((found.precision, found.recall), (2.0 / 3.0, 0.5));
        assert!((found.f1 - 4.0 / 7.0).abs() < 1e-12);
        assert_eq!(overlap("", "x"), Overlap::default());
        assert_eq!(overlap("a", "the"), Overlap::default());
        assert_eq!(best("two", &["three", "2"]).f1, 1.0);
    }
}
