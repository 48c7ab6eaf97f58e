//! How answers are searched for.

use fourfold_model::{Model, Repetition};

use crate::question::Question;

/// One way to search, which `compare.py` knows by its name and asks `transformers` for.
pub struct SearchCase {
    pub name: &'static str,
    pub beams: usize,
    pub length_penalty: f32,
    /// A token that ends answers; no model has the default's number.
    pub end: u32,
    pub min_tokens: usize,
    pub repetition: Repetition,
}

impl SearchCase {
    pub fn plain(name: &'static str, beams: usize) -> Self {
        Self {
            name,
            beams,
            length_penalty: 1.0,
            end: u32::MAX,
            min_tokens: 0,
            repetition: Repetition::default(),
        }
    }

    /// Greedy search and beams, with and without an end, which is a token that the greedy answer of `model` has.
    pub fn all(model: &Model, question: &Question) -> Vec<Self> {
        let greedy = question.answer(model, &Self::plain("answer", 1));
        let end = greedy[5];
        let rules = Repetition {
            penalty: 1.3,
            no_repeat_ngram: 2,
        };
        let ended = |name, beams| Self {
            end,
            ..Self::plain(name, beams)
        };
        vec![
            Self::plain("answer", 1),
            Self::plain("beams", 3),
            ended("answer-ended", 1),
            ended("beams-ended", 3),
            Self {
                length_penalty: -2.0,
                ..ended("beams-short", 4)
            },
            Self {
                length_penalty: 3.0,
                min_tokens: 4,
                ..ended("beams-long", 4)
            },
            Self {
                repetition: rules,
                ..ended("answer-rules", 1)
            },
            Self {
                repetition: rules,
                ..ended("beams-rules", 3)
            },
        ]
    }
}
