//! Features of a frozen vision encoder, computed once an image and kept.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use fourfold_data::{Augment, DocumentImage, ImageKey, KnownImages, PixelArray};
use fourfold_model::Model;
use fourfold_tensor::{Precision, Tensor};

use crate::input::stack_pixels;
use crate::recipe::Stage;

/// Images that go through the encoder together, filled up with black ones. Products of another height may add in
/// another order: with one height for all, what an image becomes depends on the image alone, and a resumed run,
/// which finds nothing kept, makes the same bits.
const GROUP: usize = 8;

/// Features by image, up to a limit of memory; what finds no room is computed again when it comes again.
pub struct FeatureCache {
    augment: Option<Augment>,
    known: Arc<KnownImages>,
    kept: HashMap<ImageKey, Tensor>,
    /// Bytes that may still be taken.
    room: usize,
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
            room: limit_mib.saturating_mul(1 << 20),
        }))
    }

    /// The images whose pixels are not needed any more.
    pub fn known(&self) -> Arc<KnownImages> {
        Arc::clone(&self.known)
    }

    /// Features of `images`, at least one: `[images, patches, vision_width]`.
    ///
    /// # Errors
    /// When an image is of another size than the encoder takes, or comes without its key.
    pub fn features(&mut self, model: &Model, images: &[DocumentImage]) -> Result<Tensor> {
        let mut fresh: HashMap<ImageKey, Tensor> = HashMap::new();
        let mut unseen: Vec<(ImageKey, &PixelArray)> = Vec::new();
        for image in images {
            if let DocumentImage::Pixels(pixels, Some(key)) = image
                && !self.kept.contains_key(key)
                && unseen.iter().all(|(other, _)| other != key)
            {
                unseen.push((*key, pixels));
            }
        }
        for group in unseen.chunks(GROUP) {
            let black = PixelArray {
                data: vec![0.0; group[0].1.data.len()],
                ..*group[0].1
            };
            let pixels = group.iter().map(|(_, pixels)| *pixels);
            let filled = pixels.chain(std::iter::repeat(&black)).take(GROUP);
            let features = model.encode(&stack_pixels(filled)?)?.unstack();
            fresh.extend(group.iter().map(|(key, _)| *key).zip(features));
        }
        let find = |image: &DocumentImage| {
            let (DocumentImage::Pixels(_, Some(key)) | DocumentImage::Known(key)) = image else {
                return None;
            };
            fresh.get(key).or_else(|| self.kept.get(key))
        };
        let found: Option<Vec<&Tensor>> = images.iter().map(find).collect();
        let found =
            found.context("an image whose features are to be kept has neither key nor pixels")?;
        let features = Tensor::stack(&found)?;
        self.keep(fresh);
        Ok(features)
    }

    fn keep(&mut self, fresh: HashMap<ImageKey, Tensor>) {
        for (key, features) in fresh {
            let bytes = features.len() * bytes_of(features.precision());
            if bytes > self.room {
                return;
            }
            self.room -= bytes;
            self.kept.insert(key, features);
            // Only now: from here on the loader leaves its pixels out.
            self.known.insert(key);
        }
    }
}

/// Bytes of a number.
pub(crate) fn bytes_of(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 4,
        Precision::Bf16 => 2,
    }
}
