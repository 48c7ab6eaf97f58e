//! Features of a frozen vision encoder, computed once an image and kept: in memory for the run, and on disk for later
//! ones where the recipe names a folder.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use fourfold_data::{Augment, DocumentImage, ImageKey, KnownImages, PixelArray};
use fourfold_model::{Model, ModelConfig};
use fourfold_tensor::{Precision, Tensor};
use serde::{Deserialize, Serialize};

use crate::feature_store::{FeatureStore, StoredImages};
use crate::input::stack_pixels;
use crate::recipe::Stage;

/// Images that go through the encoder together, filled up with blank ones. Products of another height may add in
/// another order: with one height for all, what an image becomes depends on the image alone, and a resumed run,
/// which finds nothing kept, makes the same bits.
const GROUP: usize = 8;

/// Features by image; in an order, so that which ones find room is the same in every run.
pub type Features = BTreeMap<ImageKey, Tensor>;

/// Features by image, up to a limit of memory. What finds no room is read from disk when it comes again, or computed
/// again.
pub struct FeatureCache {
    augment: Option<Augment>,
    /// The format of the features, and of the products that make them.
    precision: Precision,
    known: Arc<Known>,
    kept: Features,
    store: Option<FeatureStore>,
    limit_mib: usize,
    /// Bytes that may still be taken.
    room: usize,
    full: bool,
    notes: Vec<String>,
}

/// Where the features of images came from, each image of an update counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    /// Kept in memory.
    pub memory: usize,
    /// Read from disk.
    pub disk: usize,
    /// Made by the encoder.
    pub encoded: usize,
}

impl Origins {
    /// Adds those of another update.
    pub fn add(&mut self, other: Self) {
        self.memory += other.memory;
        self.disk += other.disk;
        self.encoded += other.encoded;
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "features: {} from memory, {} from disk, {} encoded",
            self.memory, self.disk, self.encoded
        )
    }
}

/// The images whose features are in memory or on disk.
#[derive(Default)]
struct Known {
    kept: RwLock<HashSet<ImageKey>>,
    stored: Option<Arc<StoredImages>>,
}

impl KnownImages for Known {
    fn contains(&self, key: &ImageKey) -> bool {
        let stored = |stored: &Arc<StoredImages>| stored.contains(key);
        self.kept.contains(key) || self.stored.as_ref().is_some_and(stored)
    }
}

impl FeatureCache {
    /// The cache that `stage` wants, if any, for features in `precision`. That of the stage before goes on where both vary
    /// images and compute alike: an encoder that stays frozen has not changed in between.
    pub fn for_stage(
        before: Option<Self>,
        stage: &Stage,
        precision: Precision,
        limit_mib: usize,
    ) -> Option<Self> {
        if !stage.cache_features {
            return None;
        }
        let before =
            before.filter(|cache| cache.augment == stage.augment && cache.precision == precision);
        Some(before.unwrap_or_else(|| Self {
            augment: stage.augment.clone(),
            precision,
            known: Arc::default(),
            kept: Features::new(),
            store: None,
            limit_mib,
            room: limit_mib << 20,
            full: false,
            notes: Vec::new(),
        }))
    }

    /// Has features on disk beside those in memory from here on; a cache that goes on has them open already.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn stored_in(&mut self, open: impl FnOnce() -> Result<FeatureStore>) -> Result<()> {
        if self.store.is_none() {
            let store = open()?;
            self.known = Arc::new(Known {
                stored: Some(Arc::clone(store.stored())),
                // A stage before may have gone on without the disk.
                kept: RwLock::new(self.kept.keys().copied().collect()),
            });
            self.store = Some(store);
        }
        Ok(())
    }

    /// How many images of `model` find room in `limit_mib`.
    pub fn capacity(limit_mib: usize, model: &ModelConfig, precision: Precision) -> f64 {
        let numbers = model.vision.features() * model.vision.hidden_size;
        (limit_mib << 20) as f64 / (numbers * precision.bytes()) as f64
    }

    /// The images whose pixels are not needed any more.
    pub fn known(&self) -> Arc<dyn KnownImages> {
        Arc::clone(&self.known) as _
    }

    /// What is worth telling since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        if let Some(store) = &mut self.store {
            notes.extend(store.take_notes());
        }
        notes
    }

    /// Features of those of `images` that are not kept in memory, and where all of them come from. Asked for a whole
    /// batch at once, few blank images are needed.
    ///
    /// # Errors
    /// When an image is of another size than the encoder takes, or features on disk cannot be read any more.
    pub fn missing<'a>(
        &self,
        model: &Model,
        images: impl Iterator<Item = &'a DocumentImage>,
    ) -> Result<(Features, Origins)> {
        let (mut features, mut origins) = (Features::new(), Origins::default());
        let mut unseen: Vec<(ImageKey, &PixelArray)> = Vec::new();
        let mut seen = HashSet::new();
        for image in images {
            let (key, pixels) = match image {
                DocumentImage::Pixels(pixels, Some(key)) => (*key, Some(pixels)),
                DocumentImage::Known(key) => (*key, None),
                DocumentImage::Pixels(_, None) => continue,
            };
            if !seen.insert(key) {
                continue;
            }
            if self.kept.contains_key(&key) {
                origins.memory += 1;
                continue;
            }
            match (self.read(&key), pixels) {
                (Ok(Some(stored)), _) => {
                    origins.disk += 1;
                    features.insert(key, stored);
                }
                // Where its pixels are at hand, it does not matter why it is not there.
                (_, Some(pixels)) => {
                    origins.encoded += 1;
                    unseen.push((key, pixels));
                }
                (Ok(None), None) => {}
                (Err(error), None) => return Err(error),
            }
        }
        for group in unseen.chunks(GROUP) {
            let blank = PixelArray {
                data: vec![0.0; group[0].1.data.len()],
                ..*group[0].1
            };
            let pixels = group.iter().map(|(_, pixels)| *pixels);
            let filled = pixels.chain(std::iter::repeat(&blank)).take(GROUP);
            let encoded = model.encode(&stack_pixels(filled)?)?.to_host()?.unstack();
            features.extend(group.iter().map(|(key, _)| *key).zip(encoded));
        }
        Ok((features, origins))
    }

    /// Features on disk.
    fn read(&self, key: &ImageKey) -> Result<Option<Tensor>> {
        match &self.store {
            Some(store) => store.stored().read(key),
            None => Ok(None),
        }
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
    ///
    /// # Errors
    /// When features are not of the size that the encoder gives, which is a defect.
    pub fn keep(&mut self, fresh: Features) -> Result<()> {
        if let Some(store) = &mut self.store {
            store.append(fresh.iter())?;
        }
        for (key, features) in fresh {
            let bytes = features.len() * features.precision().bytes();
            if bytes > self.room {
                self.note_full();
                break;
            }
            self.room -= bytes;
            self.kept.insert(key, features);
            // Only now: from here on the loader leaves its pixels out.
            let known = self.known.kept.write();
            known.unwrap_or_else(PoisonError::into_inner).insert(key);
        }
        Ok(())
    }

    fn note_full(&mut self) {
        if !std::mem::replace(&mut self.full, true) {
            self.notes.push(format!(
                "the features of the images seen so far fill training.feature_cache_mib = {}: further images are {} at \
                 every look; raise it if there is memory",
                self.limit_mib,
                match self.store {
                    Some(_) => "looked up on disk",
                    None => "encoded",
                }
            ));
        }
    }
}

#[cfg(test)]
mod tests;
