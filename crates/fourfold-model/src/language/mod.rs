//! The language model: embedded rows in, next-token features out.

mod gpt2;
mod llama;

use std::sync::Arc;

use fourfold_tensor::ops::{self, Heads, Visibility};
use fourfold_tensor::{ParameterId, Parameters, Tape, Tensor};

use crate::layers::{Norm, through};
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

    /// Embedded rows of a pack → normed features `[rows, width]` for the head. With `recompute` each block keeps only
    /// its input for the way back.
    pub fn read<'p>(
        &'p self,
        tape: &Tape<'p>,
        embedded: &Tensor,
        positions: &[u32],
        visibility: &Visibility,
        recompute: bool,
    ) -> Result<Tensor> {
        let positions: Arc<[u32]> = positions.into();
        let mut x = self.begin(tape, embedded, &positions)?;
        for layer in 0..self.layers() {
            let (positions, visibility) = (positions.clone(), visibility.clone());
            let block = move |tape: &Tape<'p>, x: &Tensor| {
                let mut attend =
                    |qkv: &Tensor| Ok(ops::attention(tape, qkv, self.heads, &visibility)?);
                self.block(tape, layer, x, &positions, &mut attend)
            };
            x = through(tape, &x, recompute, block)?;
        }
        self.norm.forward(tape, &x)
    }

    /// The same for rows that attend as the caller says, without a gradient.
    pub fn continue_with(
        &self,
        tape: &Tape<'_>,
        embedded: &Tensor,
        positions: &[u32],
        attend: Attend<'_>,
    ) -> Result<Tensor> {
        let mut x = self.begin(tape, embedded, positions)?;
        for layer in 0..self.layers() {
            x = self.block(tape, layer, &x, positions, &mut |qkv| attend(layer, qkv))?;
        }
        self.norm.forward(tape, &x)
    }

    /// What the first block reads.
    fn begin(&self, tape: &Tape<'_>, embedded: &Tensor, positions: &[u32]) -> Result<Tensor> {
        Ok(match &self.body {
            Body::Llama(_) => embedded.clone(),
            Body::Gpt2 {
                positions: table, ..
            } => ops::add_rows(tape, embedded, &tape.parameter(*table), positions)?,
        })
    }

    fn block(
        &self,
        tape: &Tape<'_>,
        layer: usize,
        x: &Tensor,
        positions: &[u32],
        attend: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        match &self.body {
            Body::Llama(blocks) => blocks[layer].forward(tape, x, positions, attend),
            Body::Gpt2 { blocks, .. } => blocks[layer].forward(tape, x, attend),
        }
    }

    /// The head's weight, `[vocabulary, width]`.
    pub fn head(&self, tape: &Tape<'_>) -> Tensor {
        tape.parameter(self.head)
    }
}
