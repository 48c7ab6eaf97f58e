//! Made-up images and texts.

use anyhow::Result;
use fourfold_model::{DocumentSpan, Images, Input, ModelConfig, Prompt, PromptImage, VisualSpan};
use fourfold_tensor::Tensor;

use super::work::{GPT_TEXTS, GPT_TOKENS, TEXTS};
use crate::plan::Average;

/// Documents laid end to end, as training packs them.
pub(super) struct Batch {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    documents: Vec<DocumentSpan>,
    images: Tensor,
    targets: Vec<(u32, u32)>,
}

impl Batch {
    /// Texts whose every next token is a target.
    pub fn texts(config: &ModelConfig) -> Result<Self> {
        let mut batch = Self::empty(images(0, config)?);
        for number in 0..GPT_TEXTS {
            let text = text(number, GPT_TOKENS + 1, config.vocabulary());
            let first = batch.tokens.len();
            batch.push(&text[..GPT_TOKENS], 0);
            let next = (first..).zip(&text[1..]);
            let next = next.map(|(row, token)| (row as u32, *token));
            batch.targets.extend(next);
        }
        Ok(batch)
    }

    /// An image and a text a document; the tokens of the text's second half are targets.
    pub fn images_with_texts(config: &ModelConfig, samples: usize) -> Result<Self> {
        let mut batch = Self::empty(images(samples, config)?);
        for (number, length) in TEXTS.into_iter().cycle().take(samples).enumerate() {
            let text = text(number, length, config.vocabulary());
            let first = batch.tokens.len() + config.visual_tokens();
            batch.push(&text, config.visual_tokens());
            for (at, token) in text.into_iter().enumerate().skip(length.div_ceil(2)) {
                batch.targets.push(((first + at - 1) as u32, token));
            }
        }
        Ok(batch)
    }

    fn empty(images: Tensor) -> Self {
        Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            documents: Vec::new(),
            images,
            targets: Vec::new(),
        }
    }

    fn push(&mut self, text: &[u32], visual_tokens: usize) {
        let (start, image) = (self.tokens.len(), self.documents.len());
        let span = (visual_tokens > 0).then_some(VisualSpan {
            start,
            len: visual_tokens,
            image,
        });
        self.tokens.resize(start + visual_tokens, 0);
        self.tokens.extend(text);
        let end = self.tokens.len();
        self.positions.extend(0..(end - start) as u32);
        self.documents.push(DocumentSpan {
            start,
            end,
            prompt_end: start + visual_tokens,
            visual: span.into_iter().collect(),
            key: 0,
        });
    }

    pub fn as_input(&self) -> Input<'_> {
        Input {
            tokens: &self.tokens,
            positions: &self.positions,
            documents: &self.documents,
            images: Images::Pixels(&self.images),
            targets: &self.targets,
        }
    }

    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    pub fn documents(&self) -> usize {
        self.documents.len()
    }

    /// What a document has on average.
    pub fn average(&self) -> Average {
        let mean = |sum: usize| sum as f64 / self.documents.len() as f64;
        Average {
            tokens: mean(self.tokens.len()),
            targets: mean(self.targets.len()),
            images: mean(self.images.shape()[0]),
        }
    }
}

/// An image and `length` tokens of text.
pub(super) fn prompt(number: usize, length: usize, config: &ModelConfig) -> Result<Prompt> {
    let visual_tokens = config.visual_tokens();
    let size = config.vision.image_size;
    let shape = [3, size.height, size.width];
    let mut tokens = vec![0; visual_tokens];
    tokens.extend(text(number, length, config.vocabulary()));
    Ok(Prompt {
        tokens,
        visual: vec![VisualSpan {
            start: 0,
            len: visual_tokens,
            image: 0,
        }],
        images: vec![PromptImage::new(images(1, config)?.reshape(&shape)?)],
        draw: 0,
    })
}

/// Images of noise, f32 `[count, 3, height, width]`.
pub(super) fn images(count: usize, config: &ModelConfig) -> Result<Tensor> {
    let size = config.vision.image_size;
    let numbers = count * 3 * size.area();
    let pixels: Vec<f32> = (0..numbers)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7 & 255) as f32 / 127.5 - 1.0)
        .collect();
    Ok(Tensor::from_f32(
        &[count, 3, size.height, size.width],
        &pixels,
    )?)
}

/// Tokens spread over the vocabulary.
fn text(number: usize, length: usize, vocabulary: usize) -> Vec<u32> {
    let token = |i: usize| (((number * 1009 + i) * 7919 + 31) % vocabulary) as u32;
    (0..length).map(token).collect()
}
