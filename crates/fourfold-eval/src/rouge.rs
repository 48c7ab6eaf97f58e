//! ROUGE-L (Lin 2004): the longest common subsequence as an F measure, beta 1.2.
//!
//! As `pycocoevalcap`'s `Rouge`: the best precision and the best recall over the references are
//! taken apart, so they may come from two references.

use rayon::prelude::*;

use crate::figure::Figure;
use crate::ngrams::NumberedCase;

/// Weight of recall over precision.
const BETA: f64 = 1.2;

/// The mean of ROUGE-L over cases, each in `0..=1`.
pub fn figure(cases: &[NumberedCase]) -> Figure {
    Figure::mean("rouge_l", cases.par_iter().map(score).collect())
}

fn score(case: &NumberedCase) -> f64 {
    let (mut precision, mut recall) = (0.0f64, 0.0f64);
    let candidate = case.candidate.tokens();
    for reference in &case.references {
        let reference = reference.tokens();
        let common = common_subsequence(candidate, reference);
        // Where words are common, neither side is empty.
        if common > 0 {
            precision = precision.max(common as f64 / candidate.len() as f64);
            recall = recall.max(common as f64 / reference.len() as f64);
        }
    }
    if precision == 0.0 {
        return 0.0;
    }
    let beta2 = BETA * BETA;
    (1.0 + beta2) * precision * recall / (recall + beta2 * precision)
}

/// Length of the longest common subsequence, with one row of the table in memory.
fn common_subsequence(a: &[u32], b: &[u32]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other {
                diagonal + 1
            } else {
                above.max(row[j])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsequences_need_the_order_but_not_the_contact() {
        assert_eq!(common_subsequence(&[1, 2, 3, 4, 5], &[1, 9, 3, 5]), 3);
        assert_eq!(common_subsequence(&[1, 2], &[2, 1]), 1);
        assert_eq!(common_subsequence(&[1, 1, 1], &[1, 1]), 2);
        assert_eq!(common_subsequence(&[], &[1]), 0);
    }
}
