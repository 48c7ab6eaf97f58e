//! What an image is known by once its features are.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use rand::SeedableRng;
use sha2::{Digest, Sha256};

use crate::{EncodedImage, SampleRng};

/// An image file's content, and which of its fixed variations ([`Augment::views`](crate::Augment::views)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageKey {
    digest: [u8; 32],
    view: u32,
}

impl ImageKey {
    /// Variation `view` of `image`.
    pub fn new(image: &EncodedImage, view: u32) -> Self {
        Self {
            digest: Sha256::digest(&image.bytes).into(),
            view,
        }
    }

    /// The generator that the variation is drawn from: the same in every run.
    pub(crate) fn rng(&self) -> SampleRng {
        let mut seed = self.digest;
        for (byte, view) in seed.iter_mut().zip(self.view.to_le_bytes()) {
            *byte ^= view;
        }
        SampleRng::from_seed(seed)
    }
}

/// The images that need not be decoded any more. Grows only: what is in it once may be relied on.
#[derive(Debug, Default)]
pub struct KnownImages(RwLock<HashSet<ImageKey>>);

impl KnownImages {
    /// Adds one.
    pub fn insert(&self, key: ImageKey) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key);
    }

    /// Whether it is there.
    pub fn contains(&self, key: &ImageKey) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.contains(key)
    }
}
