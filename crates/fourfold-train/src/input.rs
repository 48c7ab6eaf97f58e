//! From packs of data to what the model reads.

use std::sync::Arc;

use anyhow::{Context, Result};
use fourfold_data::{DocumentImage, Pack, PixelArray, VisualSpan};
use fourfold_model::{DocumentSpan, Images, Input, PromptImage};
use fourfold_tensor::Tensor;

/// A pack with its images, or their features, as a tensor and its targets as a list.
pub struct PackInput<'p> {
    pack: &'p Pack,
    images: Tensor,
    encoded: bool,
    documents: Vec<DocumentSpan>,
    targets: Vec<(u32, u32)>,
}

impl<'p> PackInput<'p> {
    /// Prepares `pack` with the pixels of its images, those of [`pack_pixels`].
    pub fn seen(pack: &'p Pack, pixels: Tensor) -> Self {
        Self::with(pack, pixels, false)
    }

    /// Prepares `pack` with the features of its images, `[images, patches, vision_width]`.
    pub fn encoded(pack: &'p Pack, features: Tensor) -> Self {
        Self::with(pack, features, true)
    }

    fn with(pack: &'p Pack, images: Tensor, encoded: bool) -> Self {
        let documents = pack.documents.iter().map(|document| DocumentSpan {
            start: document.start,
            end: document.end,
            prompt_end: document.prompt_end,
            visual: visual(&document.visual),
            key: document.key,
        });
        let rows = pack.targets.iter().enumerate();
        let targets = rows.filter_map(|(row, target)| target.map(|token| (row as u32, token)));
        Self {
            images,
            encoded,
            documents: documents.collect(),
            targets: targets.collect(),
            pack,
        }
    }

    /// What the model reads.
    pub fn as_input(&self) -> Input<'_> {
        Input {
            tokens: &self.pack.tokens,
            positions: &self.pack.positions,
            documents: &self.documents,
            images: if self.encoded {
                Images::Features(&self.images)
            } else {
                Images::Pixels(&self.images)
            },
            targets: &self.targets,
        }
    }
}

/// An image as prompts share it.
///
/// # Errors
/// When `pixels` holds fewer numbers than its size says.
pub(crate) fn prompt_image(pixels: &PixelArray) -> Result<Arc<PromptImage>> {
    let shape = [3, pixels.height, pixels.width];
    Ok(PromptImage::new(Tensor::from_f32(&shape, &pixels.data)?))
}

/// The images of `pack` as f32 `[images, 3, height, width]`.
///
/// # Errors
/// When they differ in size, or one comes without pixels.
pub fn pack_pixels(pack: &Pack) -> Result<Tensor> {
    let pixels: Option<Vec<_>> = pack.images.iter().map(DocumentImage::pixels).collect();
    let pixels = pixels.context("an image of a pack came without pixels")?;
    stack_pixels(pixels.into_iter())
}

/// Images of one size as f32 `[images, 3, height, width]`.
///
/// # Errors
/// When they differ in size.
pub(crate) fn stack_pixels<'a>(images: impl Iterator<Item = &'a PixelArray>) -> Result<Tensor> {
    let (mut count, mut size, mut numbers) = (0, (0, 0), Vec::new());
    for image in images {
        if count == 0 {
            size = (image.height, image.width);
        }
        count += 1;
        numbers.extend_from_slice(&image.data);
    }
    Ok(Tensor::from_f32(&[count, 3, size.0, size.1], &numbers)?)
}

/// The rows of images, as the model takes them.
pub(crate) fn visual(spans: &[VisualSpan]) -> Vec<fourfold_model::VisualSpan> {
    let convert = |span: &VisualSpan| fourfold_model::VisualSpan {
        start: span.start,
        len: span.len,
        image: span.image,
    };
    spans.iter().map(convert).collect()
}
