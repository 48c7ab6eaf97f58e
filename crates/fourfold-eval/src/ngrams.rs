//! Counts of word sequences, shared by BLEU and CIDEr-D.

use std::collections::BTreeMap;

/// The longest word sequence that BLEU and CIDEr-D count.
pub(crate) const MAX_N: usize = 4;

/// Every sequence of `n` words with its count. Ordered, so that sums over it have one result
/// whatever the order of the cases.
pub(crate) fn count(words: &[String], n: usize) -> BTreeMap<&[String], usize> {
    let mut counts = BTreeMap::new();
    for gram in words.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}
