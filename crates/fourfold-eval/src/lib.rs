//! Caption and answer metrics: text in, numbers out.
//!
//! [`score_captions`] gives CIDEr-D, BLEU-1..4, ROUGE-L and exact match as `pycocoevalcap` computes
//! them, [`score_answers`] answer accuracy, each over the corpus and a sample at a time, [`meteor`] METEOR without its
//! paraphrases, [`vqa::accuracy`] what the VQA challenge measures, and
//! [`bootstrap_mean`] says how sure a mean is. Scores are finite whatever the text: a candidate
//! without words scores 0.
//!
//! ```
//! use fourfold_eval::{CaptionCase, score_captions};
//!
//! let case = |id: &str, candidate: &str, reference: &str| CaptionCase {
//!     id: id.into(),
//!     candidate: candidate.into(),
//!     references: vec![reference.into()],
//! };
//! let cases = [
//!     case("a", "a grey cat sleeps", "A grey cat sleeps."),
//!     case("b", "a dog", "two dogs run on grass"),
//! ];
//! let (scores, samples) = score_captions(&cases)?;
//! assert_eq!(scores.exact_match, 0.5);
//! assert!(samples[0].cider_d > samples[1].cider_d);
//! # Ok::<(), fourfold_eval::EvalError>(())
//! ```

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

mod abbreviations;

pub mod answers;
pub mod bleu;
pub mod bootstrap;
pub mod cider;
pub mod error;
pub mod meteor;
pub mod ngrams;
pub mod rouge;
pub mod tokenize;
pub mod vqa;

pub use bootstrap::{Interval, bootstrap_mean};
pub use error::EvalError;

/// A generated caption and what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionCase {
    /// Name of the sample, once in a list.
    pub id: String,
    /// The generated caption.
    pub candidate: String,
    /// Human captions of the same image; at least one has text.
    pub references: Vec<String>,
}

/// A generated answer and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerCase {
    /// Name of the sample, once in a list.
    pub id: String,
    /// The generated answer.
    pub candidate: String,
    /// Every answer that counts as right; at least one has text.
    pub accepted: Vec<String>,
}

/// A caption case as words; [`ngrams::numbered`] makes of it what the metric functions take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedCase {
    /// Words of the generated caption.
    pub candidate: Vec<String>,
    /// Words of each reference.
    pub references: Vec<Vec<String>>,
}

impl TokenizedCase {
    /// Splits a case's texts with [`tokenize::tokenize`].
    pub fn new(case: &CaptionCase) -> Self {
        TokenizedCase {
            candidate: tokenize::tokenize(&case.candidate),
            references: case
                .references
                .iter()
                .map(|text| tokenize::tokenize(text))
                .collect(),
        }
    }
}

/// Scores of a list of captions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaptionScores {
    /// Number of cases.
    pub samples: usize,
    /// Mean CIDEr-D, in `0..=10` (1.0 is what papers write as 100).
    pub cider_d: f64,
    /// Corpus BLEU-1..4, in `0..=1`.
    pub bleu: [f64; 4],
    /// Mean ROUGE-L, in `0..=1`.
    pub rouge_l: f64,
    /// Share of captions that equal a reference, see [`answers::normalize`].
    pub exact_match: f64,
}

/// Scores of one caption.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleScores {
    /// The case's id.
    pub id: String,
    /// CIDEr-D, in `0..=10`.
    pub cider_d: f64,
    /// BLEU-1..4 of this caption alone, in `0..=1`.
    pub bleu: [f64; 4],
    /// ROUGE-L, in `0..=1`.
    pub rouge_l: f64,
    /// Whether the caption equals a reference.
    pub exact_match: bool,
}

/// Scores of a list of answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerScores {
    /// Number of cases.
    pub samples: usize,
    /// Share of answers that are right, in `0..=1`.
    pub accuracy: f64,
}

/// Score of one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnswerSample {
    /// The case's id.
    pub id: String,
    /// Whether the answer is one of the accepted ones.
    pub correct: bool,
}

/// Scores captions against their references, over the list and each by itself, in its order.
///
/// CIDEr-D takes its document frequencies from the references of this very list.
///
/// # Errors
/// An empty list, an id that comes twice, or a case without a reference that has text.
pub fn score_captions(
    cases: &[CaptionCase],
) -> Result<(CaptionScores, Vec<SampleScores>), EvalError> {
    check(
        cases
            .iter()
            .map(|case| (case.id.as_str(), case.references.as_slice())),
    )?;
    let tokenized: Vec<_> = cases.par_iter().map(TokenizedCase::new).collect();
    let numbered = ngrams::numbered(&tokenized);
    let cider = cider::cider_d(&numbered);
    let (corpus_bleu, bleu) = bleu::bleu(&numbered);
    let rouge = rouge::rouge_l(&numbered);
    let samples: Vec<_> = cases
        .iter()
        .zip(cider.iter().zip(bleu).zip(&rouge))
        .map(|(case, ((&cider_d, bleu), &rouge_l))| SampleScores {
            id: case.id.clone(),
            cider_d,
            bleu,
            rouge_l,
            exact_match: answers::matches(&case.candidate, &case.references),
        })
        .collect();
    let scores = CaptionScores {
        samples: cases.len(),
        cider_d: mean(cider.iter().copied()),
        bleu: corpus_bleu,
        rouge_l: mean(rouge.iter().copied()),
        exact_match: mean(samples.iter().map(|sample| f64::from(sample.exact_match))),
    };
    Ok((scores, samples))
}

/// Scores answers against the accepted ones, over the list and each by itself, in its order.
///
/// # Errors
/// An empty list, an id that comes twice, or a case without an accepted answer that has text.
pub fn score_answers(cases: &[AnswerCase]) -> Result<(AnswerScores, Vec<AnswerSample>), EvalError> {
    check(
        cases
            .iter()
            .map(|case| (case.id.as_str(), case.accepted.as_slice())),
    )?;
    let samples: Vec<_> = cases
        .iter()
        .map(|case| AnswerSample {
            id: case.id.clone(),
            correct: answers::matches(&case.candidate, &case.accepted),
        })
        .collect();
    let accuracy = mean(samples.iter().map(|sample| f64::from(sample.correct)));
    Ok((
        AnswerScores {
            samples: samples.len(),
            accuracy,
        },
        samples,
    ))
}

/// Refuses lists that have no score, given each case's id and references.
fn check<'a>(cases: impl Iterator<Item = (&'a str, &'a [String])>) -> Result<(), EvalError> {
    let mut positions = HashMap::new();
    for (index, (id, references)) in cases.enumerate() {
        let position = index + 1;
        if let Some(first) = positions.insert(id, position) {
            return Err(EvalError::DuplicateId {
                id: id.to_owned(),
                first,
                second: position,
            });
        }
        if references.iter().all(|text| text.trim().is_empty()) {
            return Err(EvalError::NoReferences {
                id: id.to_owned(),
                position,
            });
        }
    }
    if positions.is_empty() {
        Err(EvalError::Empty)
    } else {
        Ok(())
    }
}

/// Mean of values of which there is at least one.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
