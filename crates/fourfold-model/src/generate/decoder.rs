//! The state of sequences being decoded: cached keys and values of every layer.

use std::ops::Range;

use fourfold_tensor::ops;
use fourfold_tensor::ops::attention::{KeyValueCache, attention_step};
use fourfold_tensor::{Tape, Tensor};

use super::{Prompt, image};
use crate::model::{Images, Input};
use crate::{DocumentSpan, Model, Result, VisibilityKind, VisualSpan};

pub(super) struct Decoder<'m> {
    model: &'m Model,
    caches: Vec<KeyValueCache>,
    /// Rows that each sequence has cached.
    lengths: Vec<usize>,
}

impl<'m> Decoder<'m> {
    /// Room for `sequences` sequences, each as long as the model reads.
    pub fn new(model: &'m Model, sequences: usize) -> Result<Self> {
        let heads = model.language.heads();
        let precision = model.parameters.precision();
        let capacity = model.config().max_positions();
        let caches = (0..model.language.layers())
            .map(|_| KeyValueCache::new(sequences, capacity, heads, precision))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            model,
            caches,
            lengths: vec![0; sequences],
        })
    }

    /// Reads prompts into sequences that are empty; logits after the last row of each, f32 `[prompts, vocabulary]`.
    pub fn prefill(
        &mut self,
        prompts: &[(usize, &Prompt)],
        visibility: VisibilityKind,
    ) -> Result<Tensor> {
        let pack = Pack::of(prompts.iter().map(|(_, prompt)| *prompt));
        let images: Vec<_> = prompts.iter().flat_map(|(_, p)| &p.images).collect();
        let features = match images.as_slice() {
            [] => Tensor::zeros(&[0]),
            images => image::features(self.model, images)?,
        };
        let tape = Tape::inference(&self.model.parameters);
        let input = Input {
            tokens: &pack.tokens,
            positions: &pack.positions,
            documents: &pack.documents,
            images: Images::Features(&features),
            targets: &[],
        };
        let sight = self.model.sight(&input, visibility)?;
        let embedded = self.model.embed(&tape, &input, false)?;
        let language = &self.model.language;
        let heads = language.heads();
        let caches = &mut self.caches;
        let mut attend = |layer: usize, qkv: &Tensor| {
            for ((sequence, _), document) in prompts.iter().zip(&pack.documents) {
                caches[layer].write(*sequence, qkv, heads, document.start..document.end)?;
            }
            let visibility = sight.of(language.window(layer));
            Ok(ops::attention(&tape, qkv, heads, visibility)?)
        };
        let features = language.continue_with(&tape, &embedded, &pack.positions, &mut attend)?;
        for ((sequence, _), document) in prompts.iter().zip(&pack.documents) {
            self.lengths[*sequence] = document.end - document.start;
        }
        let width = features.width();
        let features = features.to_f32_vec();
        let last =
            |document: &DocumentSpan| &features[(document.end - 1) * width..document.end * width];
        let last: Vec<f32> = pack.documents.iter().flat_map(last).copied().collect();
        self.logits(&tape, &Tensor::from_f32(&[prompts.len(), width], &last)?)
    }

    /// Feeds one token to each of the given sequences; logits after each, f32 `[sequences, vocabulary]`.
    pub fn step(&mut self, next: &[(usize, u32)]) -> Result<Tensor> {
        let (sequences, tokens): (Vec<usize>, Vec<u32>) = next.iter().copied().unzip();
        let positions: Vec<u32> = sequences
            .iter()
            .map(|sequence| self.lengths[*sequence] as u32)
            .collect();
        let tape = Tape::inference(&self.model.parameters);
        let language = &self.model.language;
        let embedded = language.embed(&tape, &tokens)?;
        let heads = language.heads();
        let caches = &mut self.caches;
        let mut attend = |layer: usize, qkv: &Tensor| {
            let (cache, window) = (&mut caches[layer], language.window(layer));
            Ok(attention_step(qkv, heads, cache, &sequences, window)?)
        };
        let features = language.continue_with(&tape, &embedded, &positions, &mut attend)?;
        for sequence in &sequences {
            self.lengths[*sequence] += 1;
        }
        self.logits(&tape, &features)
    }

    /// Makes each sequence `to` what `from` is now, for all moves `(from, to)` at once.
    pub fn rearrange(&mut self, moves: impl Iterator<Item = (usize, usize)>) -> Result<()> {
        let mut origins: Vec<usize> = (0..self.lengths.len()).collect();
        moves.for_each(|(from, to)| origins[to] = from);
        for cache in &mut self.caches {
            cache.reorder(&origins)?;
        }
        self.lengths = origins.iter().map(|from| self.lengths[*from]).collect();
        Ok(())
    }

    /// Empties sequences, and gives back their memory.
    pub fn forget(&mut self, sequences: Range<usize>) -> Result<()> {
        for sequence in sequences {
            for cache in &mut self.caches {
                cache.clear(sequence)?;
            }
            self.lengths[sequence] = 0;
        }
        Ok(())
    }

    fn logits(&self, tape: &Tape<'_>, features: &Tensor) -> Result<Tensor> {
        let features = features.to_precision(tape.precision());
        Ok(ops::head_logits(
            tape,
            &features,
            &self.model.language.head(tape),
        )?)
    }
}

/// Prompts laid end to end.
#[derive(Default)]
struct Pack {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    documents: Vec<DocumentSpan>,
}

impl Pack {
    fn of<'p>(prompts: impl Iterator<Item = &'p Prompt>) -> Self {
        let (mut pack, mut images) = (Self::default(), 0);
        for prompt in prompts {
            let start = pack.tokens.len();
            let place = |span: &VisualSpan| VisualSpan {
                start: start + span.start,
                len: span.len,
                image: images + span.image,
            };
            let visual = prompt.visual.iter().map(place).collect();
            pack.tokens.extend(&prompt.tokens);
            pack.positions.extend(0..prompt.tokens.len() as u32);
            pack.documents.push(DocumentSpan {
                start,
                end: pack.tokens.len(),
                prompt_end: pack.tokens.len(),
                visual,
            });
            images += prompt.images.len();
        }
        pack
    }
}
