//! Features of a frozen vision encoder, computed once an image and kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use fourfold_data::{Augment, DocumentImage, ImageKey, KnownImages, PixelArray};
use fourfold_model::{Model, ModelConfig};
use fourfold_tensor::{Precision, Tensor};

use crate::input::stack_pixels;
use crate::recipe::Stage;

/// Images that go through the encoder together, filled up with blank ones. Products of another height may add in
/// another order: with one height for all, what an image becomes depends on the image alone, and a resumed run,
/// which finds nothing kept, makes the same bits.
const GROUP: usize = 8;

/// Features by image.
pub type Features = HashMap<ImageKey, Tensor>;

/// Features by image, up to a limit of memory; what finds no room is computed again when it comes again.
pub struct FeatureCache {
    augment: Option<Augment>,
    known: Arc<KnownImages>,
    kept: Features,
    /// Bytes that may still be taken.
    room: usize,
    full: bool,
}

impl FeatureCache {
    /// The cache that `stage` wants, if any. That of the stage before goes on where both vary images alike: an
    /// encoder that stays frozen has not changed in between.
    pub fn for_stage(before: Option<Self>, stage: &Stage, limit_mib: usize) -> Option<Self> {
        if !stage.cache_features {
            return None;
        }
        let before = before.filter(|cache| cache.augment == stage.augment);
        Some(before.unwrap_or_else(|| Self {
            augment: stage.augment.clone(),
            known: Arc::default(),
            kept: HashMap::new(),
            room: limit_mib << 20,
            full: false,
        }))
    }

    /// How many images of `model` find room in `limit_mib`.
    pub fn capacity(limit_mib: usize, model: &ModelConfig, precision: Precision) -> f64 {
        let numbers = model.vision.patches() * model.vision.hidden_size;
        (limit_mib << 20) as f64 / (numbers * precision.bytes()) as f64
    }

    /// The images whose pixels are not needed any more.
    pub fn known(&self) -> Arc<KnownImages> {
        Arc::clone(&self.known)
    }

    /// Whether an image found no room yet.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Features of those of `images` that are not kept. Asked for a whole batch at once, few blank images are needed.
    ///
    /// # Errors
    /// When an image is of another size than the encoder takes.
    pub fn missing<'a>(
        &self,
        model: &Model,
        images: impl Iterator<Item = &'a DocumentImage>,
    ) -> Result<Features> {
        let mut unseen: Vec<(ImageKey, &PixelArray)> = Vec::new();
        let mut seen = HashSet::new();
        for image in images {
            if let DocumentImage::Pixels(pixels, Some(key)) = image
                && !self.kept.contains_key(key)
                && seen.insert(*key)
            {
                unseen.push((*key, pixels));
            }
        }
        let mut features = HashMap::with_capacity(unseen.len());
        for group in unseen.chunks(GROUP) {
            let blank = PixelArray {
                data: vec![0.0; group[0].1.data.len()],
                ..*group[0].1
            };
            let pixels = group.iter().map(|(_, pixels)| *pixels);
            let filled = pixels.chain(std::iter::repeat(&blank)).take(GROUP);
            let encoded = model.encode(&stack_pixels(filled)?)?.unstack();
            features.extend(group.iter().map(|(key, _)| *key).zip(encoded));
        }
        Ok(features)
    }

    /// Kept or `fresh` features of `images`, at least one: `[images, patches, vision_width]`.
    ///
    /// # Errors
    /// When an image came without the key that its features would be found under.
    pub fn stack(&self, fresh: &Features, images: &[DocumentImage]) -> Result<Tensor> {
        let find = |image: &DocumentImage| {
            let (DocumentImage::Pixels(_, Some(key)) | DocumentImage::Known(key)) = image else {
                return None;
            };
            fresh.get(key).or_else(|| self.kept.get(key))
        };
        let found: Option<Vec<&Tensor>> = images.iter().map(find).collect();
        let found = found.context("an image has no features: it came without a key")?;
        Ok(Tensor::stack(&found)?)
    }

    /// Keeps what there is room for.
    pub fn keep(&mut self, fresh: Features) {
        for (key, features) in fresh {
            let bytes = features.len() * features.precision().bytes();
            if bytes > self.room {
                self.full = true;
                return;
            }
            self.room -= bytes;
            self.kept.insert(key, features);
            // Only now: from here on the loader leaves its pixels out.
            self.known.insert(key);
        }
    }
}

#[cfg(test)]
mod tests;
