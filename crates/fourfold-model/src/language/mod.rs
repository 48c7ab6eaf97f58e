//! The language model: embedded rows in, next-token features out.

mod gpt2;
mod rotary;

use std::sync::Arc;

use fourfold_tensor::ops::{self, Heads};
use fourfold_tensor::{ParameterId, Tape, Tensor};

use crate::layers::{Found, Norm, through};
use crate::spec::Spec;
use crate::visibility::Sight;
use crate::{LanguageConfig, Result};

/// The language model's parameters.
pub(crate) fn specs(config: &LanguageConfig) -> Vec<Spec> {
    match config {
        LanguageConfig::Rotary(config) => rotary::specs(config),
        LanguageConfig::Gpt2(config) => gpt2::specs(config),
    }
}

/// How a block's rows attend: given `[rows, qkv columns]`, what the query heads saw. Training attends within the pack,
/// decoding over a cache; the blocks do not know which.
type Attend<'a> = &'a mut dyn FnMut(&Tensor) -> Result<Tensor>;

/// The same for all blocks, told apart by their index.
pub(crate) type AttendIn<'a> = &'a mut dyn FnMut(usize, &Tensor) -> Result<Tensor>;

/// A language model of any kind.
#[derive(Debug)]
pub(crate) struct LanguageModel {
    heads: Heads,
    table: ParameterId,
    /// What embedded tokens are multiplied by.
    table_scale: f32,
    head: ParameterId,
    /// How many rows each layer sees at most, its own counted.
    windows: Vec<Option<usize>>,
    body: Body,
    norm: Norm,
}

#[derive(Debug)]
enum Body {
    Rotary(Vec<rotary::Block>),
    Gpt2 {
        positions: ParameterId,
        blocks: Vec<gpt2::Block>,
    },
}

impl LanguageModel {
    pub fn new(config: &LanguageConfig, found: &Found<'_>) -> Result<Self> {
        match config {
            LanguageConfig::Rotary(config) => rotary::build(config, found),
            LanguageConfig::Gpt2(config) => gpt2::build(config, found),
        }
    }

    pub fn heads(&self) -> Heads {
        self.heads
    }

    pub fn layers(&self) -> usize {
        self.windows.len()
    }

    /// How many rows the layer at `index` sees at most, its own counted, if not all.
    pub fn window(&self, index: usize) -> Option<usize> {
        self.windows[index]
    }

    /// Token ids → `[tokens, width]`.
    pub fn embed(&self, tape: &Tape<'_>, tokens: &[u32]) -> Result<Tensor> {
        let embedded = ops::embedding(tape, &tape.parameter(self.table), tokens)?;
        if self.table_scale == 1.0 {
            return Ok(embedded);
        }
        Ok(ops::scale(tape, &embedded, self.table_scale)?)
    }

    /// Embedded rows of a pack → normed features `[rows, width]` for the head. With `recompute` each block keeps only
    /// its input for the way back.
    pub fn read<'p>(
        &'p self,
        tape: &Tape<'p>,
        embedded: &Tensor,
        positions: &[u32],
        sight: &Sight,
        recompute: bool,
    ) -> Result<Tensor> {
        let positions: Arc<[u32]> = positions.into();
        let mut x = self.begin(tape, embedded, &positions)?;
        for layer in 0..self.layers() {
            let positions = positions.clone();
            let visibility = sight.of(self.window(layer)).clone();
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
        attend: AttendIn<'_>,
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
            Body::Rotary(_) => embedded.clone(),
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
        attend: Attend<'_>,
    ) -> Result<Tensor> {
        match &self.body {
            Body::Rotary(blocks) => blocks[layer].forward(tape, x, positions, attend),
            Body::Gpt2 { blocks, .. } => blocks[layer].forward(tape, x, attend),
        }
    }

    /// The head's weight, `[vocabulary, width]`.
    pub fn head(&self, tape: &Tape<'_>) -> Tensor {
        tape.parameter(self.head)
    }
}
