//! From prompts with images to text, token by token.
//!
//! ```text
//! prompts ─► prefill ─► cache ─► step ─► rules ─► greedy, sample or beams ─► answers
//!    ▲                    ▲                              │
//!    └─ refill: an answer that is complete makes room ◄──┴─ tokens that follow
//! ```
//!
//! Prompts are laid end to end and read at once under the visibility of training, up to the end of their images: once
//! for all prompts that begin alike. What follows the images, and then one row a sequence, is fed to steps that attend
//! over cached keys and values; a new prompt's rows beside the answers of others. No row is padding, whatever the
//! lengths.

mod beam;
mod decoder;
mod image;
mod line;
mod options;
mod queue;
mod rules;
mod sampling;

pub use image::PromptImage;
pub use options::{GenerateOptions, Repetition, Sampling};

use std::sync::Arc;

use fourfold_tensor::awake;

use crate::{Model, ModelError, Result, VisibilityKind, VisualSpan};

/// What a sequence begins with.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Token ids up to where the answer begins.
    pub tokens: Vec<u32>,
    /// The rows of its images, relative to the prompt; `image` counts within `images`.
    pub visual: Vec<VisualSpan>,
    /// The images. Prompts about one image share it, and it is encoded once.
    pub images: Vec<Arc<PromptImage>>,
    /// Which random numbers sampling takes: the same seed and draw give the same answer, whatever is asked beside it.
    pub draw: u64,
}

impl Prompt {
    /// How many rows are read under the visibility of training, before the rest is fed to a cache: up to the end of the
    /// last image where what follows is not seen from there, else all.
    fn beginning(&self, visibility: VisibilityKind) -> usize {
        let ends = self.visual.iter().map(|span| span.start + span.len);
        match ends.max() {
            Some(end) if visibility != VisibilityKind::PrefixLm => end.min(self.tokens.len()),
            _ => self.tokens.len(),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// Token ids without the end.
    pub tokens: Vec<u32>,
    /// The natural logarithm of the probability that the model gives each of `tokens`, and after them its end where it
    /// is `finished` by one; before rules, temperature and the like.
    pub log_probabilities: Vec<f32>,
    /// Whether the model ended it, by its end or a stop, rather than the limit.
    pub finished: bool,
}

impl Generated {
    /// The natural logarithm of the probability of the whole answer.
    pub fn log_probability(&self) -> f32 {
        self.log_probabilities.iter().sum()
    }
}

/// Says of the tokens of an answer so far, and the number of its prompt, whether it stops there, as at a stop string.
pub type Stop<'a> = dyn Fn(usize, &[u32]) -> bool + Sync + 'a;

impl Model {
    /// An answer to each prompt.
    ///
    /// # Errors
    /// When an option is out of its range, or a prompt is empty, too long for the model or does not fit its images.
    pub fn generate(
        &self,
        prompts: &[Prompt],
        options: &GenerateOptions,
    ) -> Result<Vec<Generated>> {
        for (index, prompt) in prompts.iter().enumerate() {
            self.check_prompt(index, prompt)?;
        }
        let mut answers = vec![Generated::default(); prompts.len()];
        let mut waiting = prompts.iter().cloned();
        self.generate_each::<ModelError>(
            &mut waiting,
            options,
            &|_, _| false,
            &mut |index, answer| {
                answers[index] = answer;
                Ok(())
            },
        )?;
        Ok(answers)
    }

    /// Answers prompts as they come: a prompt is taken when there is room for it, and `answered` hears its answer, with
    /// its number among the prompts, as soon as it is complete, which is not in their order. Answers also end where
    /// `stop` says so.
    ///
    /// # Errors
    /// As [`Model::generate`], and when `answered` fails; what is not complete is lost then.
    pub fn generate_each<E: From<ModelError> + Send>(
        &self,
        prompts: &mut (dyn Iterator<Item = Prompt> + Send),
        options: &GenerateOptions,
        stop: &Stop<'_>,
        answered: &mut (dyn FnMut(usize, Generated) -> Result<(), E> + Send),
    ) -> Result<(), E> {
        options.check()?;
        awake(|| queue::answer(self, prompts, options, stop, answered))
    }

    fn check_prompt(&self, index: usize, prompt: &Prompt) -> Result<()> {
        let limit = self.config().max_positions();
        if prompt.tokens.is_empty() || prompt.tokens.len() >= limit {
            return Err(ModelError::Input(format!(
                "prompt {index} has {} tokens; the model reads 1 to {} and needs one for the answer",
                prompt.tokens.len(),
                limit - 1
            )));
        }
        Ok(())
    }
}
