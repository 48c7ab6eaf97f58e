//! What an image looks like, in 64 bits: images that look alike differ in few of them.
//!
//! The hash is that of Python's `imagehash.phash`, bit for bit but for rounding while resizing: the image in grey
//! (ITU-R BT.601) is resized to 32 × 32 by Lanczos, `X[u, v] = Σ x[i, j] cos(π u (2i + 1) / 64) cos(π v (2j + 1) / 64)` is
//! its discrete cosine transform (type II), and of the 8 × 8 lowest frequencies, row by row and the highest bit first,
//! a bit says whether a coefficient is above their median. Formula: C. Zauner, "Implementation and Benchmarking of
//! Perceptual Image Hash Functions", 2010, section 3.2.1, with the median over all 64 coefficients.

mod index;

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use fast_image_resize as resize;
use image::RgbImage;

pub use index::HashIndex;

/// Pixels of a side of what is transformed.
const SIDE: usize = 32;
/// Frequencies of a direction that are kept.
const KEPT: usize = 8;
/// Coefficients of a wave as strong as one level of 255. Weaker ones are rounding: an image without any stronger one
/// shows nothing to know it by.
const FLAT: f64 = (SIDE * SIDE / 4) as f64;
/// Coefficients that are equal differ by less.
const ROUNDING: f64 = 1e-6;

/// The hash of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerceptualHash(pub u64);

impl PerceptualHash {
    /// Images of which no more bits differ look alike.
    pub const NEAR: u32 = 4;

    /// The hash of `image`; none where all of it has one colour, since then it looks like nothing in particular.
    pub fn of(image: &RgbImage) -> Option<Self> {
        let small = shrunk(&grey(image), image.width(), image.height())?;
        let low = lowest(&small);
        if low[1..].iter().all(|value| value.abs() < FLAT) {
            return None;
        }
        let mut sorted = low;
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = (sorted[middle - 1] + sorted[middle]) / 2.0;
        let bits = low.iter().fold(0, |bits, value| {
            bits << 1 | u64::from(*value > median + ROUNDING)
        });
        Some(Self(bits))
    }

    /// How many bits differ, 0 to 64.
    pub fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }
}

impl fmt::Display for PerceptualHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for PerceptualHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(bits) if hexadecimal => Ok(Self(bits)),
            _ => Err(format!("expected 16 hexadecimal digits, got {text:?}")),
        }
    }
}

/// The luma of each pixel, as Pillow rounds it.
fn grey(image: &RgbImage) -> Vec<u8> {
    let luma = |[r, g, b]: [u8; 3]| {
        let sum = u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471;
        ((sum + 0x8000) >> 16) as u8
    };
    image.pixels().map(|pixel| luma(pixel.0)).collect()
}

/// `[SIDE, SIDE]`; none where there are no pixels.
fn shrunk(grey: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    let side = SIDE as u32;
    let from = resize::images::ImageRef::new(width, height, grey, resize::PixelType::U8).ok()?;
    let mut to = resize::images::Image::new(side, side, resize::PixelType::U8);
    let lanczos = resize::ResizeAlg::Convolution(resize::FilterType::Lanczos3);
    let options = resize::ResizeOptions::new().resize_alg(lanczos);
    resize::Resizer::new()
        .resize(&from, &mut to, &options)
        .ok()?;
    Some(to.into_vec())
}

/// The lowest frequencies, `[KEPT, KEPT]`.
fn lowest(pixels: &[u8]) -> [f64; KEPT * KEPT] {
    let wave = |frequency: usize, place: usize| {
        (PI * frequency as f64 * (2 * place + 1) as f64 / (2 * SIDE) as f64).cos()
    };
    let mut waves = [[0.0; SIDE]; KEPT];
    for (frequency, row) in waves.iter_mut().enumerate() {
        for (place, value) in row.iter_mut().enumerate() {
            *value = wave(frequency, place);
        }
    }
    let sum = |values: &mut dyn Iterator<Item = f64>, wave: &[f64; SIDE]| -> f64 {
        values.zip(wave).map(|(value, wave)| value * wave).sum()
    };
    let mut across = [[0.0; KEPT]; SIDE];
    for (row, line) in across.iter_mut().zip(pixels.chunks_exact(SIDE)) {
        for (to, wave) in row.iter_mut().zip(&waves) {
            *to = sum(&mut line.iter().map(|value| f64::from(*value)), wave);
        }
    }
    let mut low = [0.0; KEPT * KEPT];
    for (place, to) in low.iter_mut().enumerate() {
        let (down, column) = (place / KEPT, place % KEPT);
        *to = sum(&mut across.iter().map(|row| row[column]), &waves[down]);
    }
    low
}

#[cfg(test)]
mod tests;
