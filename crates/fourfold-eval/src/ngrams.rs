//! Words as numbers, and counts of their sequences, shared by the metrics.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::TokenizedCase;

/// The longest word sequence that BLEU and CIDEr-D count.
pub(crate) const MAX_N: usize = 4;

/// A sequence of up to [`MAX_N`] words: the number of each in 32 bits, 0 where there is none.
pub(crate) type Gram = u128;

/// A caption case as the metrics take it: numbers in place of words, equal for equal words of one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedCase {
    /// Words of the generated caption.
    pub candidate: Vec<u32>,
    /// Words of each reference.
    pub references: Vec<Vec<u32>>,
}

/// Numbers the words of all cases from 1 in the order of the alphabet, so that sums in the order of sequences have one
/// result whatever the order of the cases.
pub fn numbered(cases: &[TokenizedCase]) -> Vec<NumberedCase> {
    let texts = cases
        .iter()
        .flat_map(|case| case.references.iter().chain([&case.candidate]));
    let words: HashSet<&str> = texts.flatten().map(String::as_str).collect();
    let mut words: Vec<&str> = words.into_iter().collect();
    words.sort_unstable();
    let numbers: HashMap<&str, u32> = words.into_iter().zip(1..).collect();
    let number = |words: &Vec<String>| words.iter().map(|word| numbers[word.as_str()]).collect();
    cases
        .par_iter()
        .map(|case| NumberedCase {
            candidate: number(&case.candidate),
            references: case.references.iter().map(number).collect(),
        })
        .collect()
}

/// Every sequence of `n` words with its count, in order.
pub(crate) fn count(words: &[u32], n: usize) -> Vec<(Gram, usize)> {
    let mut grams: Vec<Gram> = words.windows(n).map(gram).collect();
    grams.sort_unstable();
    let runs = grams.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len())).collect()
}

fn gram(words: &[u32]) -> Gram {
    words
        .iter()
        .fold(0, |gram, word| (gram << 32) | Gram::from(*word))
}

/// What `counts`, in order, has for `gram`.
pub(crate) fn find<T: Copy>(counts: &[(Gram, T)], gram: Gram) -> Option<T> {
    let at = counts.binary_search_by_key(&gram, |(gram, _)| *gram).ok()?;
    Some(counts[at].1)
}
