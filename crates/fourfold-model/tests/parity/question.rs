//! What the models are shown and asked.

use fourfold_model::{
    DocumentSpan, GenerateOptions, Images, Input, Model, Prompt, PromptImage, VisualSpan,
};
use fourfold_tensor::Tensor;

use crate::TOKENS;
use crate::search::SearchCase;

/// Two images and text: the images side by side, or with a token between.
pub struct Question {
    pub tokens: Vec<u32>,
    pub visual: Vec<VisualSpan>,
    pub images: Tensor,
}

impl Question {
    pub fn new(model: &Model, side_by_side: bool) -> Self {
        let config = model.config();
        let (size, len) = (config.vision.image_size, config.visual_tokens());
        let mut tokens = vec![TOKENS.begin];
        let mut visual = Vec::new();
        for image in 0..2 {
            visual.push(VisualSpan {
                start: tokens.len(),
                len,
                image,
            });
            tokens.extend(vec![TOKENS.image; len]);
            tokens.extend((!side_by_side).then_some(30));
        }
        tokens.extend((0..6).map(|place| 5 + place * 11 % 30));
        let numbers: Vec<f32> = (0..2 * 3 * size.area())
            .map(|place| (place * 7 % 19) as f32 / 9.0 - 1.0)
            .collect();
        let shape = [2, 3, size.height, size.width];
        Self {
            tokens,
            visual,
            images: Tensor::from_f32(&shape, &numbers).expect("two images"),
        }
    }

    pub fn text() -> Self {
        Self {
            tokens: (0..20).map(|place| 5 + place * 11 % 30).collect(),
            visual: vec![],
            images: Tensor::zeros(&[0, 3, 16, 16]),
        }
    }

    pub fn logits(&self, model: &Model) -> Tensor {
        let positions: Vec<u32> = (0..self.tokens.len() as u32).collect();
        let input = Input {
            tokens: &self.tokens,
            positions: &positions,
            documents: &[DocumentSpan {
                start: 0,
                end: self.tokens.len(),
                prompt_end: self.tokens.len(),
                visual: self.visual.clone(),
                key: 0,
            }],
            images: Images::Pixels(&self.images),
            targets: &[],
        };
        let visibility = model.config().visibility;
        model.logits(&input, visibility).expect("fits")
    }

    /// What the model says under the rules of `search`.
    pub fn answer(&self, model: &Model, search: &SearchCase) -> Vec<u32> {
        let shape = &self.images.shape()[1..];
        let image = |image: Tensor| PromptImage::new(image.reshape(shape).expect("one image"));
        let prompt = Prompt {
            tokens: self.tokens.clone(),
            visual: self.visual.clone(),
            images: self.images.unstack().into_iter().map(image).collect(),
            draw: 0,
        };
        let options = GenerateOptions {
            min_tokens: search.min_tokens,
            beams: search.beams,
            length_penalty: search.length_penalty,
            repetition: search.repetition,
            ..GenerateOptions::greedy(12, search.end, model.config().visibility)
        };
        let answers = model.generate(&[prompt], &options).expect("fits");
        answers[0].tokens.clone()
    }
}
