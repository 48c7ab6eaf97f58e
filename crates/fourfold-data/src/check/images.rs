//! Images examined once each, however many samples show them.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use image::RgbImage;
use sha2::{Digest, Sha256};

use super::Reason;
use crate::{DataError, ImageFiles, PerceptualHash, RowImage, decode_rgb_within};

/// What is known of an image that decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// The SHA-256 of the file.
    pub digest: [u8; 32],
    /// What it looks like; none where it has one colour.
    pub hash: Option<PerceptualHash>,
    /// Width and height in pixels, upright.
    pub size: (u32, u32),
}

/// Hash and size of an image.
type Looks = (Option<PerceptualHash>, (u32, u32));

/// The images that were examined.
#[derive(Default)]
pub(crate) struct Images {
    files: ImageFiles,
    known: RwLock<HashMap<[u8; 32], Looks>>,
}

impl Images {
    /// None yet; they will be decoded within the limits of `files`.
    pub fn within(files: ImageFiles) -> Self {
        Self {
            files,
            known: RwLock::default(),
        }
    }

    /// Reads image `index` of the row `origin`, and unless its content is known decodes it; `more` says what else is
    /// demanded of its pixels.
    ///
    /// # Errors
    /// [`DataError::Image`] when it is missing or cannot be decoded.
    pub fn facts(
        &self,
        origin: &str,
        index: usize,
        image: &RowImage,
        more: &mut dyn FnMut(&RgbImage) -> Result<(), String>,
    ) -> Result<ImageFacts, DataError> {
        let bytes = image.load(origin, index)?.bytes;
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let facts = known.get(&digest).copied();
        drop(known);
        if let Some((hash, size)) = facts {
            return Ok(ImageFacts { digest, hash, size });
        }
        let examined = decode_rgb_within(&bytes, &self.files).and_then(|rgb| {
            more(&rgb)?;
            Ok((PerceptualHash::of(&rgb), rgb.dimensions()))
        });
        let (hash, size) = examined.map_err(|message| DataError::Image {
            origin: origin.into(),
            image: image.name(index),
            message,
        })?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(digest, (hash, size));
        Ok(ImageFacts { digest, hash, size })
    }
}

/// Why `image` could not be read.
pub(super) fn reason(image: Option<&RowImage>) -> Reason {
    match image {
        Some(RowImage::Missing) => Reason::NoImage,
        Some(RowImage::File(path)) if !path.exists() => Reason::MissingFile,
        _ => Reason::UnreadableImage,
    }
}
