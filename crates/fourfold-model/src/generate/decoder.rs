//! The state of sequences being decoded: cached keys and values of every layer.

use fourfold_tensor::ops;
use fourfold_tensor::ops::attention::{KeyValueCache, attention_step};
use fourfold_tensor::{Tape, Tensor};

use super::{GenerateOptions, Prompt};
use crate::model::{Images, Input};
use crate::{DocumentSpan, Model, Result, VisibilityKind, VisualSpan};

pub(super) struct Decoder<'m> {
    model: &'m Model,
    caches: Vec<KeyValueCache>,
    /// Rows that each sequence has cached.
    lengths: Vec<usize>,
    /// Most tokens that each prompt may be answered with.
    limits: Vec<usize>,
}

impl<'m> Decoder<'m> {
    /// Room for `sequences` sequences that continue `prompts`.
    pub fn new(
        model: &'m Model,
        sequences: usize,
        prompts: &[Prompt],
        options: &GenerateOptions,
    ) -> Result<Self> {
        let room = |prompt: &Prompt| model.config().max_positions() - prompt.tokens.len();
        let limits: Vec<usize> = prompts
            .iter()
            .map(|p| room(p).min(options.max_tokens))
            .collect();
        let capacity = prompts
            .iter()
            .zip(&limits)
            .map(|(p, limit)| p.tokens.len() + limit)
            .max();
        let capacity = capacity.unwrap_or(0);
        let heads = model.language.heads();
        let precision = model.parameters.precision();
        let caches = (0..model.language.layers())
            .map(|_| KeyValueCache::new(sequences, capacity, heads, precision))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            model,
            caches,
            lengths: vec![0; sequences],
            limits,
        })
    }

    /// Most tokens of the answer to prompt `index`.
    pub fn limit(&self, index: usize) -> usize {
        self.limits[index]
    }

    /// Reads the prompts into sequences `0..prompts.len()`; logits `[vocabulary]` after the last row of each.
    pub fn prefill(
        &mut self,
        prompts: &[Prompt],
        visibility: VisibilityKind,
    ) -> Result<Vec<Vec<f32>>> {
        let pack = pack(prompts)?;
        let tape = Tape::inference(&self.model.parameters);
        let input = Input {
            tokens: &pack.tokens,
            positions: &pack.positions,
            documents: &pack.documents,
            images: Images::Pixels(&pack.images),
            targets: &[],
        };
        let sight = self.model.sight(&input, visibility)?;
        let embedded = self.model.embed(&tape, &input, false)?;
        let language = &self.model.language;
        let heads = language.heads();
        let caches = &mut self.caches;
        let mut attend = |layer: usize, qkv: &Tensor| {
            for (sequence, document) in pack.documents.iter().enumerate() {
                caches[layer].write(sequence, qkv, heads, document.start..document.end)?;
            }
            let visibility = sight.of(language.window(layer));
            Ok(ops::attention(&tape, qkv, heads, visibility)?)
        };
        let features = language.continue_with(&tape, &embedded, &pack.positions, &mut attend)?;
        for (length, document) in self.lengths.iter_mut().zip(&pack.documents) {
            *length = document.end - document.start;
        }
        let width = features.width();
        let features = features.to_f32_vec();
        let last =
            |document: &DocumentSpan| &features[(document.end - 1) * width..document.end * width];
        let last: Vec<f32> = pack.documents.iter().flat_map(last).copied().collect();
        self.logits(&tape, &Tensor::from_f32(&[prompts.len(), width], &last)?)
    }

    /// Feeds one token to each of the given sequences; logits `[vocabulary]` after each.
    pub fn step(&mut self, next: &[(usize, u32)]) -> Result<Vec<Vec<f32>>> {
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

    /// Makes sequence `i` a copy of what sequence `parents[i]` is now.
    pub fn rearrange(&mut self, parents: &[usize]) -> Result<()> {
        // Sequences past the living ones keep what they have: nobody reads them again.
        let unused = parents.len()..self.lengths.len();
        let from: Vec<usize> = parents.iter().copied().chain(unused).collect();
        for cache in &mut self.caches {
            cache.reorder(&from)?;
        }
        self.lengths = from.iter().map(|parent| self.lengths[*parent]).collect();
        Ok(())
    }

    fn logits(&self, tape: &Tape<'_>, features: &Tensor) -> Result<Vec<Vec<f32>>> {
        let features = features.to_precision(tape.precision());
        let logits = ops::head_logits(tape, &features, &self.model.language.head(tape))?;
        Ok(logits
            .f32()?
            .chunks(logits.width())
            .map(<[f32]>::to_vec)
            .collect())
    }
}

/// Prompts laid end to end.
struct Pack {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    documents: Vec<DocumentSpan>,
    images: Tensor,
}

fn pack(prompts: &[Prompt]) -> Result<Pack> {
    let (mut tokens, mut positions, mut documents) = (Vec::new(), Vec::new(), Vec::new());
    let (mut pixels, mut shape) = (Vec::new(), vec![0, 0, 0, 0]);
    for prompt in prompts {
        let start = tokens.len();
        let place = |span: &VisualSpan| VisualSpan {
            start: start + span.start,
            len: span.len,
            image: shape[0] + span.image,
        };
        let visual = prompt.visual.iter().map(place).collect();
        tokens.extend(&prompt.tokens);
        positions.extend(0..prompt.tokens.len() as u32);
        documents.push(DocumentSpan {
            start,
            end: tokens.len(),
            prompt_end: tokens.len(),
            visual,
        });
        if prompt
            .images
            .shape()
            .first()
            .is_some_and(|images| *images > 0)
        {
            pixels.extend_from_slice(prompt.images.f32()?);
            let images = shape[0] + prompt.images.shape()[0];
            shape = prompt.images.shape().to_vec();
            shape[0] = images;
        }
    }
    Ok(Pack {
        tokens,
        positions,
        documents,
        images: Tensor::from_f32(&shape, &pixels)?,
    })
}
