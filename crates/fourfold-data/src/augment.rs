//! Random changes to an image that leave its meaning: one affine warp on white, then colours,
//! blur, noise and an erased rectangle. All off by default.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{DataError, PixelArray, SampleRng};

/// How strongly images are varied. Works on RGB in `[0, 1]`, before normalization.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Zoom drawn between these; `[0.8, 1.1]` shows the content at 80 to 110 % of its size.
    pub scale: Option<[f32; 2]>,
    /// Shift along each axis, up to this part of the side.
    pub shift: f32,
    /// Rotation, up to this many degrees either way.
    pub rotate_degrees: f32,
    /// Mirrors left and right every second time.
    pub flip: bool,
    /// Multiplies all channels by up to `1 ± brightness`.
    pub brightness: f32,
    /// Scales the distance from the mean grey by up to `1 ± contrast`.
    pub contrast: f32,
    /// Scales the distance from the pixel's own grey by up to `1 ± saturation`.
    pub saturation: f32,
    /// Turns the colours by up to this part of the colour circle, at most 0.5.
    pub hue: f32,
    /// Probability of becoming grey.
    pub grayscale: f32,
    /// Gaussian blur with a standard deviation of up to this many pixels, at most 4.
    pub blur: f32,
    /// Noise with a standard deviation of up to this.
    pub noise: f32,
    /// Probability that a rectangle of 2 to 20 % of the area is painted over in one colour.
    pub erase: f32,
    /// How many variations an image has, drawn once and for all; without it, every look at an image is a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<u32>,
}

/// Rec. 601 luma, as torchvision's grey uses.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

type Matrix = [[f32; 3]; 3];

impl Augment {
    /// Refuses values outside their ranges.
    pub fn check(&self) -> Result<(), DataError> {
        let ranges = [
            ("shift", self.shift, 1.0),
            ("rotate_degrees", self.rotate_degrees, 180.0),
            ("brightness", self.brightness, 1.0),
            ("contrast", self.contrast, 1.0),
            ("saturation", self.saturation, 1.0),
            ("hue", self.hue, 0.5),
            ("grayscale", self.grayscale, 1.0),
            ("blur", self.blur, 4.0),
            ("noise", self.noise, 1.0),
            ("erase", self.erase, 1.0),
        ];
        for (key, value, high) in ranges {
            if !(0.0..=high).contains(&value) {
                let message = format!("expected a number from 0 to {high}, got {value}");
                return Err(DataError::config(format!("augment.{key}"), message));
            }
        }
        if self.views == Some(0) {
            return Err(DataError::config(
                "augment.views",
                "expected at least 1; remove the key for a new variation at every look",
            ));
        }
        match self.scale {
            Some([low, high]) if !(low >= 0.1 && low <= high && high <= 10.0) => {
                let message =
                    format!("expected [low, high] between 0.1 and 10, got [{low}, {high}]");
                Err(DataError::config("augment.scale", message))
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing is varied.
    pub fn is_none(&self) -> bool {
        let varied = Self {
            views: None,
            ..self.clone()
        };
        varied == Self::default()
    }

    /// Varies one image in place.
    pub fn apply(&self, pixels: &mut PixelArray, rng: &mut SampleRng) {
        self.warp(pixels, rng);
        self.color(pixels, rng);
        if self.blur > 0.0 {
            blur(pixels, rng.random_range(0.0..=self.blur));
        }
        if self.noise > 0.0 {
            noise(pixels, rng.random_range(0.0..=self.noise), rng.random());
        }
        if self.erase > 0.0 && rng.random_bool(f64::from(self.erase)) {
            erase(pixels, rng);
        }
    }

    fn warp(&self, pixels: &mut PixelArray, rng: &mut SampleRng) {
        let zoom = self
            .scale
            .map_or(1.0, |[low, high]| rng.random_range(low..=high));
        let angle = symmetric(rng, self.rotate_degrees).to_radians();
        let shift = [symmetric(rng, self.shift), symmetric(rng, self.shift)];
        let mirror = if self.flip && rng.random() { -1.0 } else { 1.0 };
        if zoom == 1.0 && angle == 0.0 && shift == [0.0; 2] && mirror == 1.0 {
            return;
        }
        // From a place in the result to the place in the image it shows.
        let (sin, cos) = (angle.sin() / zoom, angle.cos() / zoom);
        let inverse = [[mirror * cos, mirror * sin], [-sin, cos]];
        warp(pixels, inverse, shift);
    }

    fn color(&self, pixels: &mut PixelArray, rng: &mut SampleRng) {
        let brightness = 1.0 + symmetric(rng, self.brightness);
        let saturation = 1.0 + symmetric(rng, self.saturation);
        let turn = symmetric(rng, self.hue) * std::f32::consts::TAU;
        let contrast = 1.0 + symmetric(rng, self.contrast);
        let gray = self.grayscale > 0.0 && rng.random_bool(f64::from(self.grayscale));
        if brightness == 1.0 && saturation == 1.0 && turn == 0.0 && contrast == 1.0 && !gray {
            return;
        }
        let mut matrix = product(
            &saturate(if gray { 0.0 } else { saturation }),
            &rotate_hue(turn),
        );
        matrix
            .iter_mut()
            .flatten()
            .for_each(|m| *m *= brightness * contrast);
        let plane = pixels.height * pixels.width;
        let (red, rest) = pixels.data.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        // Luma is kept by saturation and hue, so the mean grey is that of before, brightened.
        let offset = if contrast == 1.0 {
            0.0
        } else {
            let sums = [&*red, green, blue].map(|p| p.iter().sum::<f32>());
            let mean = (0..3).map(|c| LUMA[c] * sums[c]).sum::<f32>() / plane as f32;
            (1.0 - contrast) * mean * brightness
        };
        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
            let old = [*r, *g, *b];
            let new = matrix.map(|m| m[0] * old[0] + m[1] * old[1] + m[2] * old[2] + offset);
            [*r, *g, *b] = new.map(|v| v.clamp(0.0, 1.0));
        }
    }
}

fn symmetric(rng: &mut SampleRng, range: f32) -> f32 {
    if range > 0.0 {
        rng.random_range(-range..=range)
    } else {
        0.0
    }
}

/// Bilinear sampling; outside of the image is white.
fn warp(pixels: &mut PixelArray, inverse: [[f32; 2]; 2], shift: [f32; 2]) {
    let (height, width) = (pixels.height, pixels.width);
    let plane = height * width;
    let source = pixels.data.clone();
    let center = [(width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0];
    let shift = [shift[0] * width as f32, shift[1] * height as f32];
    let inside = |x: i32, y: i32| (0..width as i32).contains(&x) && (0..height as i32).contains(&y);
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (
                x as f32 - center[0] - shift[0],
                y as f32 - center[1] - shift[1],
            );
            let from_x = inverse[0][0] * dx + inverse[0][1] * dy + center[0];
            let from_y = inverse[1][0] * dx + inverse[1][1] * dy + center[1];
            let (left, top) = (from_x.floor(), from_y.floor());
            let (wx, wy) = (from_x - left, from_y - top);
            let (left, top) = (left as i32, top as i32);
            let weights = [
                (1.0 - wx) * (1.0 - wy),
                wx * (1.0 - wy),
                (1.0 - wx) * wy,
                wx * wy,
            ];
            let to = y * width + x;
            if inside(left, top) && inside(left + 1, top + 1) {
                let from = top as usize * width + left as usize;
                for channel in 0..3 {
                    let p = &source[channel * plane + from..];
                    pixels.data[channel * plane + to] = weights[0] * p[0]
                        + weights[1] * p[1]
                        + weights[2] * p[width]
                        + weights[3] * p[width + 1];
                }
                continue;
            }
            let corners = [
                (left, top),
                (left + 1, top),
                (left, top + 1),
                (left + 1, top + 1),
            ];
            let mut sum = [0.0; 3];
            for ((cx, cy), weight) in corners.into_iter().zip(weights) {
                for (channel, sum) in sum.iter_mut().enumerate() {
                    *sum += weight
                        * if inside(cx, cy) {
                            source[channel * plane + cy as usize * width + cx as usize]
                        } else {
                            1.0
                        };
                }
            }
            (0..3).for_each(|channel| pixels.data[channel * plane + to] = sum[channel]);
        }
    }
}

fn saturate(amount: f32) -> Matrix {
    std::array::from_fn(|i| {
        std::array::from_fn(|j| (1.0 - amount) * LUMA[j] + if i == j { amount } else { 0.0 })
    })
}

/// Turns colours about the grey axis, keeping grey and luma.
fn rotate_hue(angle: f32) -> Matrix {
    let (sin, cos) = angle.sin_cos();
    // Rotation about (1, 1, 1)/√3 by Rodrigues' formula.
    let third = (1.0 - cos) / 3.0;
    let root = sin / 3.0f32.sqrt();
    let rotation = [
        [cos + third, third - root, third + root],
        [third + root, cos + third, third - root],
        [third - root, third + root, cos + third],
    ];
    // Adds back the luma that the rotation takes away, to every channel alike.
    let change: [f32; 3] =
        std::array::from_fn(|j| LUMA[j] - (0..3).map(|i| LUMA[i] * rotation[i][j]).sum::<f32>());
    std::array::from_fn(|i| std::array::from_fn(|j| rotation[i][j] + change[j]))
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

/// Separable Gaussian; the border pixel continues outside.
fn blur(pixels: &mut PixelArray, sigma: f32) {
    let radius = (2.5 * sigma).ceil() as usize;
    if sigma < 0.05 || radius == 0 {
        return;
    }
    let mut kernel: Vec<f32> = (0..=2 * radius)
        .map(|i| (-0.5 * ((i as f32 - radius as f32) / sigma).powi(2)).exp())
        .collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= sum);
    let (height, width) = (pixels.height, pixels.width);
    let mut line = vec![0.0; width + 2 * radius];
    let mut rows = vec![0.0; height * width];
    for plane in pixels.data.chunks_exact_mut(height * width) {
        rows.fill(0.0);
        for (from, to) in plane.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
            line[..radius].fill(from[0]);
            line[radius..radius + width].copy_from_slice(from);
            line[radius + width..].fill(from[width - 1]);
            for (tap, k) in kernel.iter().enumerate() {
                to.iter_mut()
                    .zip(&line[tap..])
                    .for_each(|(to, from)| *to += k * from);
            }
        }
        plane.fill(0.0);
        for (y, to) in plane.chunks_exact_mut(width).enumerate() {
            for (tap, k) in kernel.iter().enumerate() {
                let row = (y + tap).saturating_sub(radius).min(height - 1);
                let from = &rows[row * width..(row + 1) * width];
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, from)| *to += k * from);
            }
        }
    }
}

/// Near-Gaussian noise: the sum of four uniform numbers, from SplitMix64 (Steele et al. 2014),
/// since ten thousand draws from the sample's own generator would cost more than all the rest.
fn noise(pixels: &mut PixelArray, deviation: f32, seed: u64) {
    // Four uniform u16 have the variance 4·65536²/12.
    let scale = deviation / (65536.0 * (4.0f32 / 12.0).sqrt());
    let mut state = seed;
    for value in &mut pixels.data {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let sum = (z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48);
        *value = (*value + (sum as f32 - 131_070.0) * scale).clamp(0.0, 1.0);
    }
}

fn erase(pixels: &mut PixelArray, rng: &mut SampleRng) {
    let (height, width) = (pixels.height, pixels.width);
    let area: f32 = rng.random_range(0.02..0.2);
    let shape: f32 = rng.random_range(0.5f32..2.0).sqrt();
    let side = |part: f32, all: usize| ((part * all as f32).round() as usize).clamp(1, all);
    let (tall, wide) = (
        side(area.sqrt() * shape, height),
        side(area.sqrt() / shape, width),
    );
    let top = rng.random_range(0..=(height - tall) as u32) as usize;
    let left = rng.random_range(0..=(width - wide) as u32) as usize;
    for plane in pixels.data.chunks_exact_mut(height * width) {
        let color: f32 = rng.random();
        for row in plane.chunks_exact_mut(width).skip(top).take(tall) {
            row[left..left + wide].fill(color);
        }
    }
}

#[cfg(test)]
mod tests;
