//! The language model: embedded rows in, next-token features out.

mod gpt2;
mod llama;

use fourfold_tensor::ops::{self, Heads};
use fourfold_tensor::{ParameterId, Parameters, Tape, Tensor};

use crate::layers::Norm;
use crate::spec::Spec;
use crate::{LanguageConfig, Result};

/// The language model's parameters.
pub(crate) fn specs(config: &LanguageConfig) -> Vec<Spec> {
    match config {
        LanguageConfig::Llama(config) => llama::specs(config),
        LanguageConfig::Gpt2(config) => gpt2::specs(config),
    }
}

/// How a block's rows attend: given the block's index and its `[rows, qkv columns]`, what the query heads saw.
/// Training attends within the pack, decoding over a cache; the blocks do not know which.
pub(crate) type Attend<'a> = &'a mut dyn FnMut(usize, &Tensor) -> Result<Tensor>;

/// A language model of either kind.
#[derive(Debug)]
pub(crate) struct LanguageModel {
    heads: Heads,
    table: ParameterId,
    head: ParameterId,
    body: Body,
    norm: Norm,
}

#[derive(Debug)]
enum Body {
    Llama(Vec<llama::Block>),
    Gpt2 {
        positions: ParameterId,
        blocks: Vec<gpt2::Block>,
    },
}

impl LanguageModel {
    pub fn new(config: &LanguageConfig, parameters: &Parameters) -> Result<Self> {
        match config {
            LanguageConfig::Llama(config) => llama::build(config, parameters),
            LanguageConfig::Gpt2(config) => gpt2::build(config, parameters),
        }
    }

    pub fn heads(&self) -> Heads {
        self.heads
    }

    pub fn layers(&self) -> usize {
        match &self.body {
            Body::Llama(blocks) => blocks.len(),
            Body::Gpt2 { blocks, .. } => blocks.len(),
        }
    }

    /// Token ids → `[tokens, width]`.
    pub fn embed(&self, tape: &Tape<'_>, tokens: &[u32]) -> Result<Tensor> {
        Ok(ops::embedding(tape, &tape.parameter(self.table), tokens)?)
    }

    /// Embedded rows → normed features `[rows, width]` for the head.
    pub fn forward(
        &self,
        tape: &Tape<'_>,
        embedded: &Tensor,
        positions: &[u32],
        attend: Attend<'_>,
    ) -> Result<Tensor> {
        let mut x = embedded.clone();
        match &self.body {
            Body::Llama(blocks) => {
                for (layer, block) in blocks.iter().enumerate() {
                    x = block.forward(tape, &x, positions, &mut |qkv| attend(layer, qkv))?;
                }
            }
            Body::Gpt2 {
                positions: table,
                blocks,
            } => {
                x = ops::add_rows(tape, &x, &tape.parameter(*table), positions)?;
                for (layer, block) in blocks.iter().enumerate() {
                    x = block.forward(tape, &x, &mut |qkv| attend(layer, qkv))?;
                }
            }
        }
        self.norm.forward(tape, &x)
    }

    /// The head's weight, `[vocabulary, width]`.
    pub fn head(&self, tape: &Tape<'_>) -> Tensor {
        tape.parameter(self.head)
    }
}
