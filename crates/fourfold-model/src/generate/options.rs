//! How to decode.

use crate::{ModelError, Result, VisibilityKind};

/// How to decode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens of an answer, its end counted, as `max_new_tokens` of `transformers`.
    pub max_tokens: usize,
    /// The end is not said before that many tokens; 0 lets answers be empty.
    pub min_tokens: usize,
    /// The token that ends an answer.
    pub end: u32,
    /// The visibility of the prompt: that of training.
    pub visibility: VisibilityKind,
    /// 1 follows one line; more keeps that many hypotheses.
    pub beams: usize,
    /// Beam scores are divided by `length ^ length_penalty`: above 0 favours longer answers.
    pub length_penalty: f32,
    /// Tokens are drawn instead of the likeliest taken; for one beam.
    pub sampling: Option<Sampling>,
    /// What an answer may say again.
    pub repetition: Repetition,
    /// Most sequences that are decoded side by side, a beam counting as one.
    pub sequences: usize,
    /// Whether a complete answer makes room for the next prompt at once, rather than all that began with it having to be
    /// complete.
    pub refill: bool,
}

/// How tokens are drawn: from the `top_k` likeliest, of these from the fewest whose probabilities sum up to `top_p`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by: below 1 sharpens, above 1 flattens.
    pub temperature: f32,
    /// Most tokens to draw from; 0 for all.
    pub top_k: usize,
    /// The share of probability to draw from; 1 for all.
    pub top_p: f32,
    /// Decides what is drawn, together with [`Prompt::draw`](super::Prompt::draw).
    pub seed: u64,
}

impl Default for Sampling {
    /// The distribution of the model itself.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            seed: 0,
        }
    }
}

/// Rules against saying again what prompt or answer said, as those of `transformers`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repetition {
    /// Above 1 makes tokens that were said less likely (Keskar et al. 2019): a positive score is divided by it, a
    /// negative one multiplied. 1 for none.
    pub penalty: f32,
    /// No sequence of so many tokens is said twice; 0 for any.
    pub no_repeat_ngram: usize,
}

impl Default for Repetition {
    fn default() -> Self {
        Self {
            penalty: 1.0,
            no_repeat_ngram: 0,
        }
    }
}

impl GenerateOptions {
    /// Always the likeliest token, up to `max_tokens` of them.
    pub fn greedy(max_tokens: usize, end: u32, visibility: VisibilityKind) -> Self {
        Self {
            max_tokens,
            min_tokens: 0,
            end,
            visibility,
            beams: 1,
            length_penalty: 1.0,
            sampling: None,
            repetition: Repetition::default(),
            // Enough to fill the products, few enough to keep the cache small.
            sequences: 64,
            refill: true,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(ModelError::Input(message));
        if self.beams == 0 || self.max_tokens == 0 || self.sequences == 0 {
            return refuse("beams, max_tokens and sequences must be at least 1".into());
        }
        if !self.length_penalty.is_finite() {
            return refuse(format!("length_penalty is {}", self.length_penalty));
        }
        let penalty = self.repetition.penalty;
        if !(penalty.is_finite() && penalty > 0.0) {
            return refuse(format!(
                "the repetition penalty is {penalty}; expected more than 0, 1 for none"
            ));
        }
        if let Some(sampling) = self.sampling {
            if self.beams > 1 {
                let beams = self.beams;
                return refuse(format!(
                    "sampling follows one line, {beams} beams are asked for"
                ));
            }
            if !(sampling.temperature.is_finite() && sampling.temperature > 0.0) {
                return refuse(format!(
                    "temperature is {}; expected more than 0, or no sampling for the likeliest tokens",
                    sampling.temperature
                ));
            }
            if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
                return refuse(format!(
                    "top_p is {}; expected more than 0, at most 1",
                    sampling.top_p
                ));
            }
        }
        Ok(())
    }
}
