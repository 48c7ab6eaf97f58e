//! Nearest-neighbour retrieval on raw pixels: what can be said of an image by having seen one like it.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use fourfold_data::{
    EncodedImage, ImageFiles, ImageTransform, Sample, Source, decode_rgb_within, sample_rng,
};
use fourfold_tensor::gemm::{Matrix, Output, product};
use fourfold_tensor::{Precision, Tensor};
use rayon::prelude::*;

use super::Case;

/// Images that are compared at a time: enough for a product, little enough memory.
const BLOCK: usize = 256;

/// Training images as pixels, with what is said of each.
pub struct PixelIndex {
    /// RGB bytes of each image, `[images, 3 · height · width]`.
    pixels: Vec<u8>,
    width: usize,
    /// Prompt and answer of every sample with the image.
    texts: Vec<Vec<(String, String)>>,
    transform: ImageTransform,
    files: ImageFiles,
}

impl PixelIndex {
    /// Reads the training data; samples without an image, and those that cannot be read, are passed over.
    ///
    /// # Errors
    /// When no image is left.
    pub fn build(
        training: &[&dyn Source],
        transform: &ImageTransform,
        files: ImageFiles,
    ) -> Result<Self> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut images: Vec<EncodedImage> = Vec::new();
        let mut texts: Vec<Vec<(String, String)>> = Vec::new();
        for source in training {
            let read = |row: usize| -> Option<(String, EncodedImage, Sample)> {
                let sample = source.sample(row, &mut sample_rng(0, row as u64)).ok()?;
                let image = sample.images.first()?;
                let file = image.load(&sample.origin, 0).ok()?;
                Some((image.key(), file, sample))
            };
            let samples: Vec<_> = (0..source.len()).into_par_iter().map(read).collect();
            for (key, image, sample) in samples.into_iter().flatten() {
                let place = *places.entry(key).or_insert_with(|| {
                    images.push(image);
                    texts.push(Vec::new());
                    images.len() - 1
                });
                texts[place].extend(
                    sample
                        .turns
                        .into_iter()
                        .map(|turn| (turn.prompt, turn.answer)),
                );
            }
        }
        let width = 3 * transform.size.height * transform.size.width;
        let decoded: Vec<Option<Vec<u8>>> = images
            .par_iter()
            .map(|image| bytes(image, transform, files).ok())
            .collect();
        let mut index = Self {
            pixels: Vec::new(),
            width,
            texts: Vec::new(),
            transform: transform.clone(),
            files,
        };
        for (image, texts) in decoded.into_iter().zip(texts) {
            if let Some(image) = image {
                index.pixels.extend(image);
                index.texts.push(texts);
            }
        }
        ensure!(
            !index.texts.is_empty(),
            "the baseline_data of pixel_nn holds no readable image; name data with images"
        );
        Ok(index)
    }

    /// For each case, what is said of the training image with the least mean squared difference of pixels: its
    /// answer to the case's prompt, or the first one it has. Ties go to the earlier image. None for a case without an
    /// image, which is near to nothing.
    ///
    /// # Errors
    /// When an image cannot be read.
    pub fn nearest(&self, cases: &[Case]) -> Result<Vec<Option<String>>> {
        let mut nearest: HashMap<&str, usize> = HashMap::new();
        let mut distinct: Vec<(&str, &Case)> = Vec::new();
        let mut seen = HashSet::new();
        for case in cases {
            if let Some(key) = case.image_key.as_deref()
                && seen.insert(key)
            {
                distinct.push((key, case));
            }
        }
        for block in distinct.chunks(BLOCK) {
            let queries = block
                .par_iter()
                .map(|(_, case)| self.query(case))
                .collect::<Result<Vec<_>>>()
                .context("pixel_nn")?;
            let places = self.nearest_block(&queries.concat())?;
            nearest.extend(block.iter().map(|(key, _)| *key).zip(places));
        }
        let answer = |case: &Case| {
            let texts = &self.texts[*nearest.get(case.image_key.as_deref()?)?];
            let same = texts.iter().find(|(prompt, _)| *prompt == case.prompt);
            Some(same.or(texts.first())?.1.clone())
        };
        Ok(cases.iter().map(answer).collect())
    }

    /// The pixels of the first image of a case that has some.
    fn query(&self, case: &Case) -> Result<Vec<u8>> {
        let image = case.images.first().context("a case has no image")?;
        let file = image.load(&case.id, 0)?;
        let within = || format!("{}: the image", case.id);
        let pixels = bytes(&file, &self.transform, self.files).map_err(anyhow::Error::msg);
        pixels.with_context(within)
    }

    /// The place of the nearest training image to each of `queries`, `[images, width]`.
    fn nearest_block(&self, queries: &[u8]) -> Result<Vec<usize>> {
        let count = queries.len() / self.width;
        let query = self.tensor(queries)?;
        let mut best = vec![(f32::INFINITY, 0); count];
        for (block, pixels) in self.pixels.chunks(BLOCK * self.width).enumerate() {
            let images = self.tensor(pixels)?;
            let norms: Vec<f32> = images
                .f32()?
                .chunks(self.width)
                .map(|row| row.iter().map(|x| x * x).sum())
                .collect();
            let mut products = vec![0.0; count * norms.len()];
            let output = Output::F32 {
                out: &mut products,
                accumulate: false,
            };
            product(
                Matrix::new(&query),
                Matrix::new(&images).t(),
                None,
                Precision::F32,
                output,
            )?;
            for (best, products) in best.iter_mut().zip(products.chunks(norms.len())) {
                for (place, (product, norm)) in products.iter().zip(&norms).enumerate() {
                    // |q − x|² less |q|², which is the same for every x.
                    let distance = norm - 2.0 * product;
                    if distance < best.0 {
                        *best = (distance, block * BLOCK + place);
                    }
                }
            }
        }
        Ok(best.into_iter().map(|(_, place)| place).collect())
    }

    /// Bytes as numbers around 0, which keeps the sums small and so the rounding.
    fn tensor(&self, bytes: &[u8]) -> Result<Tensor> {
        let values: Vec<f32> = bytes
            .iter()
            .map(|byte| f32::from(*byte) / 255.0 - 0.5)
            .collect();
        Ok(Tensor::from_f32(
            &[bytes.len() / self.width, self.width],
            &values,
        )?)
    }
}

/// An image file at the model's size as `3 · height · width` bytes.
fn bytes(
    image: &EncodedImage,
    transform: &ImageTransform,
    files: ImageFiles,
) -> Result<Vec<u8>, String> {
    let pixels = transform.resize(&decode_rgb_within(&image.bytes, &files)?)?;
    Ok(pixels
        .data
        .iter()
        .map(|value| (value * 255.0).round() as u8)
        .collect())
}
