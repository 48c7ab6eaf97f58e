//! Images that prompts share.

use std::sync::{Arc, OnceLock};

use fourfold_tensor::Tensor;

use crate::{Model, ModelError, Result};

/// An image of one prompt or of several, encoded when the first of them is read.
#[derive(Debug)]
pub struct PromptImage {
    /// f32 `[channels, height, width]`, normalised.
    pixels: Tensor,
    /// `[features, vision_width]`.
    features: OnceLock<Tensor>,
}

impl PromptImage {
    /// An image that is not encoded yet; `pixels` are f32 `[channels, height, width]`, normalised.
    pub fn new(pixels: Tensor) -> Arc<Self> {
        Arc::new(Self {
            pixels,
            features: OnceLock::new(),
        })
    }

    /// f32 `[channels, height, width]`, normalised.
    pub fn pixels(&self) -> &Tensor {
        &self.pixels
    }
}

/// Features of `images` in their order, `[images, features, vision_width]`; those that have none yet are encoded
/// together.
pub(super) fn features(model: &Model, images: &[&Arc<PromptImage>]) -> Result<Tensor> {
    let mut fresh: Vec<&Arc<PromptImage>> = Vec::new();
    for image in images {
        let known = image.features.get().is_some() || fresh.iter().any(|f| Arc::ptr_eq(f, image));
        if !known {
            fresh.push(image);
        }
    }
    if !fresh.is_empty() {
        let pixels: Vec<&Tensor> = fresh.iter().map(|image| &image.pixels).collect();
        let encoded = model.encode(&Tensor::stack(&pixels)?)?.unstack();
        for (image, features) in fresh.into_iter().zip(encoded) {
            image.features.get_or_init(|| features);
        }
    }
    let lost = || ModelError::Input("an image has no features; this is a defect".into());
    let found = images
        .iter()
        .map(|image| image.features.get().ok_or_else(lost));
    Ok(Tensor::stack(&found.collect::<Result<Vec<_>>>()?)?)
}
