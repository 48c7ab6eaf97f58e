//! The state of sequences being decoded: cached keys and values of every layer.

use std::ops::Range;
use std::sync::Arc;

use fourfold_tensor::ops;
use fourfold_tensor::ops::attention::{KeyValueCache, attention_step};
use fourfold_tensor::{Tape, Tensor};

use super::{Prompt, PromptImage, image};
use crate::model::{Images, Input};
use crate::{DocumentSpan, Model, Result, VisibilityKind, VisualSpan};

pub(super) struct Decoder<'m> {
    model: &'m Model,
    visibility: VisibilityKind,
    caches: Vec<KeyValueCache>,
    /// Rows that each sequence has cached.
    lengths: Vec<usize>,
    /// What each sequence begins with, if another prompt may begin alike. The last sequence is nobody's: it keeps what
    /// was read last.
    beginnings: Vec<Option<Beginning>>,
}

impl<'m> Decoder<'m> {
    /// Room for `sequences` sequences, each as long as the model reads.
    pub fn new(model: &'m Model, sequences: usize, visibility: VisibilityKind) -> Result<Self> {
        let heads = model.language.heads();
        let precision = model.parameters.precision();
        let capacity = model.config().max_positions();
        let sequences = sequences + 1;
        let device = model.parameters.device();
        let caches = (0..model.language.layers())
            .map(|_| KeyValueCache::new_on(device, sequences, capacity, heads, precision))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            model,
            visibility,
            caches,
            lengths: vec![0; sequences],
            beginnings: vec![None; sequences],
        })
    }

    /// Reads the beginnings of prompts, [`Prompt::beginning`] rows of each, into sequences that are empty. One that is
    /// cached already is not read again.
    ///
    /// Logits after the last row of each prompt that has no other rows, in their order: f32 `[prompts, vocabulary]`.
    pub fn read(&mut self, prompts: &[(usize, &Prompt)]) -> Result<Tensor> {
        let (mut fresh, mut known) = (Vec::new(), Vec::new());
        for (sequence, prompt) in prompts {
            let beginning = Beginning::of(prompt, self.visibility);
            match self
                .beginnings
                .iter()
                .position(|b| b.is_some() && *b == beginning)
            {
                Some(from) => known.push((from, *sequence)),
                None => fresh.push((*sequence, *prompt)),
            }
            self.beginnings[*sequence] = beginning;
        }
        let logits = self.prefill(&fresh)?;
        for (from, to) in known {
            self.copy(from, to)?;
        }
        let last = prompts
            .iter()
            .rev()
            .find(|(sequence, _)| self.beginnings[*sequence].is_some());
        if let Some((sequence, _)) = last {
            self.copy(*sequence, self.lengths.len() - 1)?;
        }
        Ok(logits)
    }

    /// Makes sequence `to` the beginning of `from`.
    fn copy(&mut self, from: usize, to: usize) -> Result<()> {
        let rows = self.beginnings[from].as_ref().map_or(0, Beginning::rows);
        for cache in &mut self.caches {
            cache.copy(from, to, rows)?;
        }
        self.lengths[to] = rows;
        self.beginnings[to] = self.beginnings[from].clone();
        Ok(())
    }

    /// Computes the beginnings of prompts, laid end to end; logits as [`Decoder::read`] gives them.
    fn prefill(&mut self, prompts: &[(usize, &Prompt)]) -> Result<Tensor> {
        if prompts.is_empty() {
            return Ok(Tensor::zeros(&[0]));
        }
        let pack = Pack::of(prompts.iter().map(|(_, prompt)| *prompt), self.visibility);
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
        let sight = self.model.sight(&input, self.visibility)?;
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
        let mut last = Vec::new();
        for ((sequence, prompt), document) in prompts.iter().zip(&pack.documents) {
            self.lengths[*sequence] = document.end - document.start;
            if self.lengths[*sequence] == prompt.tokens.len() {
                last.push(document.end as u32 - 1);
            }
        }
        self.logits(&tape, &features, &last)
    }

    /// Feeds tokens to sequences, those of one sequence side by side; logits after the last of each, f32 `[sequences,
    /// vocabulary]`.
    pub fn step(&mut self, next: &[(usize, u32)]) -> Result<Tensor> {
        let (sequences, tokens): (Vec<usize>, Vec<u32>) = next.iter().copied().unzip();
        let mut last = Vec::new();
        let mut positions = Vec::with_capacity(next.len());
        for run in sequences.chunk_by(|a, b| a == b) {
            let length = &mut self.lengths[run[0]];
            positions.extend((*length..).take(run.len()).map(|position| position as u32));
            *length += run.len();
            last.push(positions.len() as u32 - 1);
        }
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
        self.logits(&tape, &features, &last)
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
            self.beginnings[sequence] = None;
        }
        Ok(())
    }

    /// After some rows of `features`.
    fn logits(&self, tape: &Tape<'_>, features: &Tensor, rows: &[u32]) -> Result<Tensor> {
        if rows.is_empty() {
            return Ok(Tensor::zeros(&[0]));
        }
        let features = ops::take_rows(tape, features, rows)?;
        Ok(ops::head_logits(
            tape,
            &features.to_precision(tape.precision()),
            &self.model.language.head(tape),
        )?)
    }
}

/// The rows of a prompt up to the end of its last image, where they do not see what follows: prompts about one image
/// have them in common.
#[derive(Clone, Debug)]
struct Beginning {
    tokens: Vec<u32>,
    visual: Vec<VisualSpan>,
    images: Vec<Arc<PromptImage>>,
}

impl Beginning {
    fn of(prompt: &Prompt, visibility: VisibilityKind) -> Option<Self> {
        let rows = prompt.beginning(visibility);
        (rows < prompt.tokens.len()).then(|| Self {
            tokens: prompt.tokens[..rows].to_vec(),
            visual: prompt.visual.clone(),
            images: prompt.images.clone(),
        })
    }

    fn rows(&self) -> usize {
        self.tokens.len()
    }
}

impl PartialEq for Beginning {
    fn eq(&self, other: &Self) -> bool {
        let images = self.images.iter().zip(&other.images);
        self.images.len() == other.images.len()
            && images
                .into_iter()
                .all(|(one, other)| Arc::ptr_eq(one, other))
            && self.visual == other.visual
            && self.tokens == other.tokens
    }
}

/// The beginnings of prompts laid end to end.
#[derive(Default)]
struct Pack {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    documents: Vec<DocumentSpan>,
}

impl Pack {
    fn of<'p>(prompts: impl Iterator<Item = &'p Prompt>, visibility: VisibilityKind) -> Self {
        let (mut pack, mut images) = (Self::default(), 0);
        for prompt in prompts {
            let start = pack.tokens.len();
            let place = |span: &VisualSpan| VisualSpan {
                start: start + span.start,
                len: span.len,
                image: images + span.image,
            };
            let visual = prompt.visual.iter().map(place).collect();
            let rows = prompt.beginning(visibility);
            pack.tokens.extend(&prompt.tokens[..rows]);
            pack.positions.extend(0..rows as u32);
            pack.documents.push(DocumentSpan {
                start,
                end: pack.tokens.len(),
                prompt_end: pack.tokens.len(),
                visual,
                key: 0,
            });
            images += prompt.images.len();
        }
        pack
    }
}
