//! What an image is known by once its features are.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use rand::SeedableRng;
use sha2::{Digest, Sha256};

use crate::{EncodedImage, SampleRng};

/// An image file's content, and which of its fixed variations ([`Augment::views`](crate::Augment::views)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey {
    digest: [u8; 32],
    view: u32,
}

impl ImageKey {
    /// Bytes of a key in a file.
    pub const BYTES: usize = 36;

    /// Variation `view` of `image`.
    pub fn new(image: &EncodedImage, view: u32) -> Self {
        Self {
            digest: Sha256::digest(&image.bytes).into(),
            view,
        }
    }

    /// The key as it is written to a file.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (digest, view) = bytes.split_at_mut(32);
        digest.copy_from_slice(&self.digest);
        view.copy_from_slice(&self.view.to_le_bytes());
        bytes
    }

    /// The key that [`ImageKey::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let (mut digest, mut view) = ([0; 32], [0; 4]);
        digest.copy_from_slice(&bytes[..32]);
        view.copy_from_slice(&bytes[32..]);
        Self {
            digest,
            view: u32::from_le_bytes(view),
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

/// The images that need not be decoded any more, as their features are at hand.
pub trait KnownImages: Send + Sync {
    /// Whether `key` is one of them. What is known once must stay so: nobody has its pixels from then on.
    fn contains(&self, key: &ImageKey) -> bool;
}

impl KnownImages for RwLock<HashSet<ImageKey>> {
    fn contains(&self, key: &ImageKey) -> bool {
        let known = self.read().unwrap_or_else(PoisonError::into_inner);
        known.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_tells_contents_and_views_apart() {
        let key = |bytes: &'static [u8], view| ImageKey::new(&EncodedImage::new(bytes), view);
        let one = key(b"one", 0x0102_0304);
        assert_eq!(ImageKey::from_bytes(one.to_bytes()), one);
        assert_ne!(one.to_bytes(), key(b"one", 0).to_bytes());
        assert_ne!(one.to_bytes(), key(b"two", 0x0102_0304).to_bytes());
    }
}
