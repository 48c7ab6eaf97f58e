//! How answers are searched for: keys of evaluations and tasks.

use fourfold_model::{GenerateOptions, Repetition, Sampling, VisibilityKind};
use serde::{Deserialize, Serialize};

use crate::files;

/// How answers are searched for. Without `temperature`, `top_k` and `top_p` the likeliest token is taken each time, or
/// the best of several beams; with any of them tokens are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Search {
    /// The longest answer, in tokens, its end counted.
    pub max_new_tokens: usize,
    /// Answers do not end before that many tokens.
    #[serde(skip_serializing_if = "files::is_default")]
    pub min_new_tokens: usize,
    /// 1 follows one line; more keeps that many hypotheses.
    pub beams: usize,
    /// Above 0 favours longer answers among the beams.
    #[serde(skip_serializing_if = "is_one")]
    pub length_penalty: f32,
    /// What logits are divided by before a token is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Draws from that many of the likeliest tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Draws from the fewest tokens with that share of probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Decides what is drawn.
    #[serde(skip_serializing_if = "files::is_default")]
    pub seed: u64,
    /// Above 1 makes tokens that prompt or answer hold less likely.
    #[serde(skip_serializing_if = "is_one")]
    pub repetition_penalty: f32,
    /// No sequence of so many tokens comes twice; 0 for any.
    #[serde(skip_serializing_if = "files::is_default")]
    pub no_repeat_ngram_size: usize,
    /// Texts that end an answer; they and what follows are cut off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            max_new_tokens: 32,
            min_new_tokens: 0,
            beams: 1,
            length_penalty: 1.0,
            temperature: None,
            top_k: None,
            top_p: None,
            seed: 0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            stop: Vec::new(),
        }
    }
}

/// Most beams of a search: each has a cache of its own.
const MOST_BEAMS: usize = 64;
/// Most tokens of an answer: no model reads so many.
const MOST_TOKENS: usize = 1 << 16;

impl Search {
    /// The keys in a recipe.
    pub(crate) const KEYS: [&str; 11] = [
        "max_new_tokens",
        "min_new_tokens",
        "beams",
        "length_penalty",
        "temperature",
        "top_k",
        "top_p",
        "seed",
        "repetition_penalty",
        "no_repeat_ngram_size",
        "stop",
    ];

    /// Whether tokens are drawn.
    fn draws(&self) -> bool {
        self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some()
    }

    /// How the model is to decode.
    pub(crate) fn options(&self, end: u32, visibility: VisibilityKind) -> GenerateOptions {
        GenerateOptions {
            min_tokens: self.min_new_tokens,
            beams: self.beams,
            length_penalty: self.length_penalty,
            sampling: self.draws().then(|| Sampling {
                temperature: self.temperature.unwrap_or(1.0),
                top_k: self.top_k.unwrap_or(0),
                top_p: self.top_p.unwrap_or(1.0),
                seed: self.seed,
            }),
            repetition: Repetition {
                penalty: self.repetition_penalty,
                no_repeat_ngram: self.no_repeat_ngram_size,
            },
            ..GenerateOptions::greedy(self.max_new_tokens, end, visibility)
        }
    }

    /// The key that is out of its range, and what was expected.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let above_zero = |value: f32| value.is_finite() && value > 0.0;
        let checks = [
            (
                "max_new_tokens",
                self.max_new_tokens > 0,
                "expected at least 1",
            ),
            (
                "max_new_tokens",
                self.max_new_tokens <= MOST_TOKENS,
                "expected at most 65536",
            ),
            (
                "min_new_tokens",
                self.min_new_tokens < self.max_new_tokens,
                "expected less than the longest answer has",
            ),
            ("beams", self.beams > 0, "expected at least 1"),
            ("beams", self.beams <= MOST_BEAMS, "expected at most 64"),
            (
                "beams",
                self.beams == 1 || !self.draws(),
                "expected 1 beam where tokens are drawn (temperature, top_k, top_p)",
            ),
            (
                "length_penalty",
                self.length_penalty.is_finite(),
                "expected a number",
            ),
            (
                "temperature",
                self.temperature.is_none_or(above_zero),
                "expected more than 0; leave it out to take the likeliest token each time",
            ),
            (
                "top_p",
                self.top_p.is_none_or(|p| above_zero(p) && p <= 1.0),
                "expected more than 0, at most 1",
            ),
            ("top_k", self.top_k != Some(0), "expected at least 1"),
            (
                "repetition_penalty",
                above_zero(self.repetition_penalty),
                "expected more than 0; 1 is none",
            ),
            (
                "stop",
                self.stop.iter().all(|stop| !stop.is_empty()),
                "expected texts that are not empty",
            ),
        ];
        let fault = checks.into_iter().find(|(_, holds, _)| !holds)?;
        Some((fault.0, fault.2.to_owned()))
    }
}

fn is_one(number: &f32) -> bool {
    *number == 1.0
}
