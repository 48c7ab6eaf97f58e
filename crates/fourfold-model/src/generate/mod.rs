//! From prompts with images to text, token by token.
//!
//! Prompts are laid end to end and read at once under the visibility of training; then each step feeds one row a
//! sequence, attending over cached keys and values.

mod beam;
mod decoder;
mod greedy;

use fourfold_tensor::ops::log_sum_exp;
use fourfold_tensor::{Tensor, awake};

use crate::{Model, ModelError, Result, VisibilityKind, VisualSpan};

/// Sequences that are decoded side by side: enough to fill the products, few enough to keep the cache small.
const SEQUENCES_AT_ONCE: usize = 64;

/// What a sequence begins with.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Token ids up to where the answer begins.
    pub tokens: Vec<u32>,
    /// The rows of its images, relative to the prompt; `image` counts within `images`.
    pub visual: Vec<VisualSpan>,
    /// f32 `[images, channels, height, width]`.
    pub images: Tensor,
}

/// How to decode.
#[derive(Clone, Copy, Debug)]
pub struct GenerateOptions {
    /// Most tokens of an answer, its end not counted.
    pub max_tokens: usize,
    /// The token that ends an answer.
    pub end: u32,
    /// The visibility of the prompt: that of training.
    pub visibility: VisibilityKind,
    /// 1 decodes greedily; more keeps that many hypotheses.
    pub beams: usize,
    /// Beam scores are divided by `length ^ length_penalty`: above 0 favours longer answers.
    pub length_penalty: f32,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Token ids without the end.
    pub tokens: Vec<u32>,
    /// Sum of the natural logarithms of the probabilities of its tokens, the end included.
    pub log_probability: f32,
    /// Whether the model ended it, rather than the limit.
    pub finished: bool,
}

impl Model {
    /// An answer to each prompt.
    ///
    /// # Errors
    /// When a prompt is empty, too long for the model or does not fit its images.
    pub fn generate(
        &self,
        prompts: &[Prompt],
        options: &GenerateOptions,
    ) -> Result<Vec<Generated>> {
        if options.beams == 0 || options.max_tokens == 0 {
            return Err(ModelError::Input(
                "beams and max_tokens must be at least 1".into(),
            ));
        }
        let limit = self.config().max_positions();
        for (index, prompt) in prompts.iter().enumerate() {
            if prompt.tokens.is_empty() || prompt.tokens.len() >= limit {
                return Err(ModelError::Input(format!(
                    "prompt {index} has {} tokens; the model reads 1 to {} and needs one for the answer",
                    prompt.tokens.len(),
                    limit - 1
                )));
            }
        }
        let mut answers = Vec::with_capacity(prompts.len());
        for group in prompts.chunks((SEQUENCES_AT_ONCE / options.beams).max(1)) {
            answers.extend(awake(|| {
                if options.beams == 1 {
                    greedy::decode(self, group, options)
                } else {
                    beam::decode(self, group, options)
                }
            })?);
        }
        Ok(answers)
    }
}

/// `log softmax` of one row of logits.
fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let log_sum = log_sum_exp(logits);
    logits.iter().map(|logit| logit - log_sum).collect()
}
