//! Words as numbers, and counts of their sequences, shared by the metrics of captions.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;

use crate::Case;
use crate::tokenize::{NO_BREAK_SPACE, tokenize_candidate, tokenize_references};

/// The longest word sequence that BLEU and CIDEr count.
pub(crate) const MAX_N: usize = 4;

/// A sequence of up to [`MAX_N`] words: the number of each in 32 bits, 0 before the first. So sequences in order are those
/// of one word, then those of two, and so on.
pub(crate) type Gram = u128;

/// How many words a sequence has.
pub(crate) fn order(gram: Gram) -> usize {
    (1..MAX_N).find(|n| gram >> (32 * n) == 0).unwrap_or(MAX_N)
}

/// A case as the metrics take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedCase {
    /// The generated caption.
    pub candidate: NumberedText,
    /// Each reference.
    pub references: Vec<NumberedText>,
}

/// A caption with numbers in place of words, equal for equal words of one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedText {
    tokens: Vec<u32>,
    /// Where they are not the tokens.
    words: Option<Vec<u32>>,
}

impl NumberedText {
    /// As the tokenizer gives them.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What is between white space, which BLEU and CIDEr count: a whole number and its fraction are one token (`2 1/2`)
    /// and two words.
    pub fn words(&self) -> &[u32] {
        self.words.as_deref().unwrap_or(&self.tokens)
    }

    fn map(&self, number: impl Fn(u32) -> u32) -> Self {
        let all = |numbers: &[u32]| numbers.iter().map(|n| number(*n)).collect();
        Self {
            tokens: all(&self.tokens),
            words: self.words.as_deref().map(all),
        }
    }
}

/// Cases whose words are numbered together before they get the numbers of the whole list.
const CHUNK: usize = 1024;

/// Splits the texts of all cases into words, and numbers these from 1 in the order of the alphabet, so that sums in the
/// order of sequences have one result whatever the order of the cases.
pub fn numbered(cases: &[Case<'_>]) -> Vec<NumberedCase> {
    let starts: Vec<usize> = (0..cases.len()).step_by(CHUNK).collect();
    let chunks: Vec<(Vec<String>, Vec<NumberedCase>)> = starts
        .into_par_iter()
        .map(|start| numbered_alone(cases, start..(start + CHUNK).min(cases.len())))
        .collect();
    let mut words: Vec<&str> = chunks
        .iter()
        .flat_map(|(words, _)| words.iter().map(String::as_str))
        .collect();
    words.par_sort_unstable();
    words.dedup();
    let numbers: HashMap<&str, u32> = words.into_iter().zip(1..).collect();
    chunks
        .par_iter()
        .flat_map(|(own, cases)| {
            let numbers: Vec<u32> = own.iter().map(|word| numbers[word.as_str()]).collect();
            let of_list = |text: &NumberedText| text.map(|n| numbers[n as usize]);
            let cases = cases.iter().map(|case| NumberedCase {
                candidate: of_list(&case.candidate),
                references: case.references.iter().map(of_list).collect(),
            });
            cases.collect::<Vec<_>>()
        })
        .collect()
}

/// The cases `range` with numbers of their own, from 0, and the words that these stand for.
fn numbered_alone(cases: &[Case<'_>], range: Range<usize>) -> (Vec<String>, Vec<NumberedCase>) {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut number = |word: String| {
        let next = numbers.len() as u32;
        *numbers.entry(word).or_insert(next)
    };
    let mut text = |tokens: Vec<String>| {
        let one_word = |token: &String| !token.contains(NO_BREAK_SPACE);
        let words = (!tokens.iter().all(one_word)).then(|| {
            let words = tokens.iter().flat_map(|token| token.split(NO_BREAK_SPACE));
            words.map(|word| number(word.to_owned())).collect()
        });
        NumberedText {
            words,
            tokens: tokens.into_iter().map(&mut number).collect(),
        }
    };
    let cases = range
        .map(|index| NumberedCase {
            candidate: text(tokenize_candidate(cases, index)),
            references: tokenize_references(cases, index).map(&mut text).collect(),
        })
        .collect();
    let mut words = vec![String::new(); numbers.len()];
    for (word, number) in numbers {
        words[number as usize] = word;
    }
    (words, cases)
}

/// Adds every sequence of one to [`MAX_N`] words to `grams`.
pub(crate) fn collect(words: &[u32], grams: &mut Vec<Gram>) {
    for start in 0..words.len() {
        let mut gram = 0;
        for word in words[start..].iter().take(MAX_N) {
            gram = (gram << 32) | Gram::from(*word);
            grams.push(gram);
        }
    }
}

/// Every sequence of one to [`MAX_N`] words with its count, in order.
pub(crate) fn count(words: &[u32]) -> Vec<(Gram, u32)> {
    let mut grams = Vec::with_capacity(MAX_N * words.len());
    collect(words, &mut grams);
    grams.sort_unstable();
    let runs = grams.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len() as u32)).collect()
}

/// Calls `both` with what two lists in order have for each sequence that is in both of them.
pub(crate) fn join<A: Copy, B: Copy>(
    left: &[(Gram, A)],
    right: &[(Gram, B)],
    mut both: impl FnMut(usize, A, B),
) {
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        match left[i].0.cmp(&right[j].0) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                both(i, left[i].1, right[j].1);
                (i, j) = (i + 1, j + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_fewer_words_come_first() {
        let counts = count(&[7, 7, 2]);
        let two = |a: u128, b: u128| (a << 32) | b;
        let expected = [
            (2, 1),
            (7, 2),
            (two(7, 2), 1),
            (two(7, 7), 1),
            ((7 << 64) | two(7, 2), 1),
        ];
        assert_eq!(counts, expected);
        let orders: Vec<usize> = counts.iter().map(|(gram, _)| order(*gram)).collect();
        assert_eq!(orders, [1, 1, 2, 2, 3]);
    }

    #[test]
    fn words_are_numbered_across_chunks_in_the_order_of_the_alphabet() {
        let references = ["b a".to_owned()];
        let case = |candidate| Case {
            id: "x",
            candidate,
            references: &references,
        };
        let mut cases = vec![case("c"); CHUNK];
        cases.push(case("a d"));
        let numbered = numbered(&cases);
        assert_eq!(numbered[0].candidate.words(), [3]);
        assert_eq!(numbered[CHUNK].candidate.words(), [1, 4]);
        assert!(
            numbered
                .iter()
                .all(|case| case.references[0].words() == [2, 1])
        );
    }

    #[test]
    fn a_number_with_its_fraction_is_one_token_and_two_words() {
        let references = ["2 1/2".to_owned(), "1/2 in".to_owned()];
        let case = Case {
            id: "x",
            candidate: "2 1/2 in",
            references: &references,
        };
        let numbered = numbered(&[case]);
        let candidate = &numbered[0].candidate;
        let [whole, fraction] = &numbered[0].references[..] else {
            panic!("two references");
        };
        assert_eq!(
            candidate.tokens(),
            [whole.tokens(), &fraction.tokens()[1..]].concat()
        );
        assert_eq!(
            candidate.words(),
            [&whole.words()[..1], fraction.words()].concat()
        );
    }

    #[test]
    fn captions_are_read_in_their_order() {
        let references = ["the middle c.".to_owned(), "The cat".to_owned()];
        let case = Case {
            id: "x",
            candidate: "the middle c.",
            references: &references,
        };
        let numbered = numbered(&[case; 2 * CHUNK]);
        // Behind every candidate comes a candidate, behind every first reference "The cat".
        let differ = |case: &NumberedCase| case.candidate != case.references[0];
        assert!(numbered.iter().all(differ));
    }
}
