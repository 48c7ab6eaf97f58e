//! METEOR 1.5 (Denkowski and Lavie 2014): words aligned one to one, weighted precision and recall, and a penalty for
//! words that stand apart.
//!
//! As the Java program that `pycocoevalcap` 1.2 calls with `-l en -norm`, in three of its four modules: the same word, the
//! same stem and, where a [`WordNet`] is given, a synonym. The fourth, its table of paraphrases (61 MB), is left out.
//!
//! With the same modules the program gives the same scores, to 1e-12: on 1,376 captions of aac-metrics' examples with five
//! references each, on 5,000 made from WordNet's glosses, and on the 428 cases of `tests/fixtures/meteor.json`. With its
//! paraphrases it gives more. On the 1,376 captions, beside its corpus score of 0.2102:
//!
//! | | corpus | captions that differ | mean difference | correlation |
//! |---|---|---|---|---|
//! | words and stems | 0.1927 | 657 | -0.0194 | 0.953 |
//! | with WordNet 3.0 | 0.2021 | 382 | -0.0101 | 0.974 |
//!
//! So compare only scores of one kind. WordNet 3.1 with the exceptions of 3.0 (it has none) gives the same there, and
//! another score in one of the 5,000.
//!
//! A score is that of the best reference; the corpus score is the score of the summed [`Statistics`], not a mean:
//!
//! ```
//! use fourfold_eval::meteor::{Meteor, Statistics};
//! # use fourfold_eval::Case;
//! # use fourfold_eval::meteor::TokenizedCase;
//! # let references = ["a cat".to_owned()];
//! # let case = Case { id: "a", candidate: "a cat", references: &references };
//! # let cases = TokenizedCase::all(&[case]);
//! let segments = Meteor::new(None).segments(&cases);
//! let corpus: Statistics = segments.iter().copied().sum();
//! assert_eq!(corpus.score(), 1.0);
//! ```

use std::borrow::Cow;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use rayon::prelude::*;

use crate::Case;
use crate::figure::{Figure, Sums};
use crate::tokenize::{tokenize_candidate, tokenize_references};

mod alignment;
mod function_words;
mod lexicon;
mod wordnet;
mod words;

pub use wordnet::{WordNet, WordNetError};

use alignment::{Alignment, Stage};
use lexicon::{Lexicon, Word};

/// Weight of recall against precision.
const ALPHA: f64 = 0.85;
/// How steeply the penalty grows with the share of chunks.
const BETA: f64 = 0.2;
/// The penalty when no two matches are neighbours.
const GAMMA: f64 = 0.6;
/// Weight of content words; function words have the rest.
const DELTA: f64 = 0.75;

/// What a match of this stage is worth.
fn weight(stage: Stage) -> f64 {
    match stage {
        Stage::Exact => 1.0,
        Stage::Stem => 0.6,
        Stage::Synonym => 0.8,
    }
}

/// What a segment adds to the corpus: sums, of which the score is a function.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Statistics {
    /// Weight of the candidate's matched words.
    pub candidate_matched: f64,
    /// Weight of the candidate's words.
    pub candidate_words: f64,
    /// Weight of the reference's matched words.
    pub reference_matched: f64,
    /// Weight of the reference's words.
    pub reference_words: f64,
    /// Runs of matches that stand in the same order on both sides; none where the whole candidate is one run of the
    /// whole reference.
    pub chunks: f64,
    /// Matched pairs of words.
    pub matches: f64,
}

impl Statistics {
    /// The score, in `0..=1`; 0 where nothing matches.
    pub fn score(&self) -> f64 {
        if self.candidate_matched <= 0.0 || self.reference_matched <= 0.0 {
            return 0.0;
        }
        let precision = self.candidate_matched / self.candidate_words;
        let recall = self.reference_matched / self.reference_words;
        let mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall);
        mean * (1.0 - GAMMA * (self.chunks / self.matches).powf(BETA))
    }

    fn terms(&self) -> [f64; 6] {
        [
            self.candidate_matched,
            self.candidate_words,
            self.reference_matched,
            self.reference_words,
            self.chunks,
            self.matches,
        ]
    }

    fn of_terms(terms: &[f64]) -> Self {
        Statistics {
            candidate_matched: terms[0],
            candidate_words: terms[1],
            reference_matched: terms[2],
            reference_words: terms[3],
            chunks: terms[4],
            matches: terms[5],
        }
    }

    fn of(candidate: &[&Word], reference: &[&Word], alignment: &Alignment) -> Self {
        let words = |words: &[&Word]| words.iter().map(|word| worth(word)).sum();
        let mut sums = Statistics {
            candidate_words: words(candidate),
            reference_words: words(reference),
            matches: alignment.matches.len() as f64,
            chunks: alignment.chunks as f64,
            ..Statistics::default()
        };
        for found in &alignment.matches {
            let weight = weight(found.stage);
            sums.candidate_matched += weight * worth(candidate[found.candidate]);
            sums.reference_matched += weight * worth(reference[found.reference]);
        }
        let count = alignment.matches.len();
        if alignment.chunks == 1 && count == candidate.len() && count == reference.len() {
            sums.chunks = 0.0;
        }
        sums
    }
}

/// What a word counts on its side.
fn worth(word: &Word) -> f64 {
    if word.function { 1.0 - DELTA } else { DELTA }
}

impl AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.candidate_matched += other.candidate_matched;
        self.candidate_words += other.candidate_words;
        self.reference_matched += other.reference_matched;
        self.reference_words += other.reference_words;
        self.chunks += other.chunks;
        self.matches += other.matches;
    }
}

impl Add for Statistics {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Statistics {
    fn sum<I: Iterator<Item = Self>>(segments: I) -> Self {
        segments.fold(Statistics::default(), Add::add)
    }
}

/// A case as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedCase {
    /// Words of the generated caption.
    pub candidate: Vec<String>,
    /// Words of each reference.
    pub references: Vec<Vec<String>>,
}

impl TokenizedCase {
    /// Splits the texts of all cases.
    pub fn all(cases: &[Case<'_>]) -> Vec<Self> {
        let case = |index| TokenizedCase {
            candidate: tokenize_candidate(cases, index),
            references: tokenize_references(cases, index).collect(),
        };
        (0..cases.len()).into_par_iter().map(case).collect()
    }
}

/// The metric, with what it knows of words.
#[derive(Debug, Default)]
pub struct Meteor {
    wordnet: Option<WordNet>,
}

impl Meteor {
    /// Matches words and stems, and synonyms where `wordnet` has them.
    pub fn new(wordnet: Option<WordNet>) -> Self {
        Meteor { wordnet }
    }

    /// METEOR of the list, made of the summed statistics, and of each case.
    pub fn figure(&self, cases: &[Case<'_>]) -> Figure {
        let segments = self.segments(&TokenizedCase::all(cases));
        let samples = segments.iter().map(|segment| Some(segment.score()));
        let sums = Sums::new(segments.iter().map(Statistics::terms));
        let name = match self.wordnet {
            Some(_) => "meteor_wordnet",
            None => "meteor",
        };
        Figure::of_sums(name, samples.collect(), sums, |sums| {
            Statistics::of_terms(sums).score()
        })
    }

    /// The statistics of each case with its best reference, the first of equal ones.
    pub fn segments(&self, cases: &[TokenizedCase]) -> Vec<Statistics> {
        let texts: Vec<Texts> = cases.par_iter().map(Texts::of).collect();
        let words = texts
            .iter()
            .flat_map(|case| case.references.iter().chain([&case.candidate]));
        let lexicon = Lexicon::of(words.flatten().map(Cow::as_ref), self.wordnet.as_ref());
        texts
            .par_iter()
            .map(|case| {
                let candidate = lexicon.look_up(&case.candidate);
                let references = case.references.iter().map(|reference| {
                    let reference = lexicon.look_up(reference);
                    let alignment = alignment::align(&candidate, &reference);
                    Statistics::of(&candidate, &reference, &alignment)
                });
                references.reduce(better).unwrap_or_default()
            })
            .collect()
    }
}

/// The one with the higher score, the first where they are equal.
fn better(one: Statistics, other: Statistics) -> Statistics {
    if other.score() > one.score() {
        other
    } else {
        one
    }
}

/// A case's words in the program's writing.
struct Texts<'a> {
    candidate: Vec<Cow<'a, str>>,
    references: Vec<Vec<Cow<'a, str>>>,
}

impl<'a> Texts<'a> {
    fn of(case: &'a TokenizedCase) -> Self {
        Texts {
            candidate: words::normalize(&case.candidate),
            references: case
                .references
                .iter()
                .map(|r| words::normalize(r))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(cases: &[(&str, &[&str])]) -> Vec<Statistics> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let cases: Vec<_> = cases
            .iter()
            .map(|(candidate, references)| TokenizedCase {
                candidate: words(candidate),
                references: references.iter().map(|text| words(text)).collect(),
            })
            .collect();
        Meteor::new(None).segments(&cases)
    }

    #[test]
    fn scores_by_hand() {
        let near = |case: (&str, &[&str]), score: f64| {
            let found = segments(&[case])[0].score();
            assert!((found - score).abs() < 1e-12, "{case:?} {found}");
        };
        near(("a dog runs", &["a dog runs"]), 1.0);
        // One run of the whole text is no fragment, but stems are worth 0.6.
        near(("dogs running", &["dog run"]), 0.6);
        // Precision and recall 0.25 / 1, and the whole penalty.
        near(("a x", &["a y"]), 0.25 * 0.4);
        // Precision 1, recall 0.75 / 1.5.
        let mean = 1.0 / (0.15 / 1.0 + 0.85 / 0.5);
        near(("x y", &["x z y w"]), mean * 0.4);
        near(
            ("dog", &["cat", "the dog"]),
            0.75 / (0.15 * 0.75 + 0.85) * 0.4,
        );
        near(("", &["a dog"]), 0.0);
        near(("a dog", &[""]), 0.0);
        near(("a dog", &[]), 0.0);
    }

    #[test]
    fn the_corpus_is_scored_by_its_sums() {
        let same: (&str, &[&str]) = ("a dog runs", &["a dog runs"]);
        let segments = segments(&[same, same, same, ("a x", &["a y"])]);
        let corpus: Statistics = segments.iter().copied().sum();
        // As the program says: of 6.25 matched 5.5, of 10 matches one chunk beside the whole texts.
        assert!(
            (corpus.score() - 0.5468545221144581).abs() < 1e-12,
            "{corpus:?}"
        );
        assert_eq!(Statistics::default().score(), 0.0);
    }

    #[test]
    fn the_first_of_equal_references_counts() {
        let found = segments(&[("x", &["of", "a dog"])])[0];
        assert_eq!(found.reference_words, 1.0 - DELTA);
    }
}
