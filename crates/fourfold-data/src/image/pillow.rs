//! Resampling with Pillow's results to the bit: one axis after the other, rounded to 8 bits in between, with weights of
//! 22 fractional bits. Other libraries take the axes in another order, or round weights to 16 bits, and differ by a few
//! levels where contrasts are strong.

use ::image::RgbImage;

use super::Filter;

/// Fractional bits of a weight: what 32 bits leave beside 8 of a sample and 2 for sums above one.
const PRECISION: u32 = 22;

/// What happens along one axis: `from` samples become `to`, of which `len` from `start` on are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// An image on a larger area of one colour, which is never laid out in memory.
pub(super) struct Canvas<'a> {
    pub(super) image: &'a RgbImage,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Where the image's first column and row are.
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) color: [u8; 3],
}

impl<'a> Canvas<'a> {
    /// The image alone.
    pub(super) fn of(image: &'a RgbImage) -> Self {
        Self {
            image,
            width: image.width() as usize,
            height: image.height() as usize,
            left: 0,
            top: 0,
            color: [0; 3],
        }
    }

    /// The image in the middle of a square of its longer side; the odd pixel goes to the right or below.
    pub(super) fn square(image: &'a RgbImage, color: [u8; 3]) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let side = width.max(height);
        Self {
            image,
            width: side,
            height: side,
            left: (side - width) / 2,
            top: (side - height) / 2,
            color,
        }
    }

    /// Row `y`, `3 · width` bytes, from the image or made in `buffer`.
    fn row<'r>(&'r self, y: usize, buffer: &'r mut Vec<u8>) -> &'r [u8] {
        let (width, height) = (self.image.width() as usize, self.image.height() as usize);
        let from = y.checked_sub(self.top).filter(|y| *y < height);
        let from = from.map(|y| &self.image.as_raw()[3 * y * width..3 * (y + 1) * width]);
        if let Some(from) = from
            && width == self.width
        {
            return from;
        }
        buffer.resize(3 * self.width, 0);
        buffer.as_chunks_mut::<3>().0.fill(self.color);
        if let Some(from) = from {
            buffer[3 * self.left..3 * (self.left + width)].copy_from_slice(from);
        }
        buffer
    }

    /// The wanted part of the resized canvas, `[down.len, across.len, 3]`. Neither `len` is 0.
    pub(super) fn resample(&self, across: Axis, down: Axis, filter: Filter) -> Vec<u8> {
        let (columns, rows) = (taps(across, filter), taps(down, filter));
        let mut result = vec![0; 3 * columns.len() * rows.len()];
        let mut buffer = Vec::new();
        if down_first(across, down) {
            let used = span(&columns);
            let mut low = vec![0; 3 * used.len()];
            let mut sums = vec![0; 3 * used.len()];
            for (to, tap) in result.chunks_exact_mut(3 * columns.len()).zip(&rows) {
                sums.fill(HALF);
                for (y, weight) in (tap.first..).zip(&tap.weights) {
                    let row = self.row(y, &mut buffer);
                    add(&mut sums, &row[3 * used.start..3 * used.end], *weight);
                }
                round_all(&mut low, &sums);
                tap_all(to, &low, &columns, used.start);
            }
            return result;
        }
        let used = span(&rows);
        let width = 3 * columns.len();
        let mut narrow = vec![0; width * used.len()];
        let inside = self.top..self.top + self.image.height() as usize;
        let mut blank: Option<Vec<u8>> = None;
        for (y, to) in used.clone().zip(narrow.chunks_exact_mut(width)) {
            match &blank {
                // One row of the background is like another.
                Some(blank) if !inside.contains(&y) => to.copy_from_slice(blank),
                _ => tap_all(to, self.row(y, &mut buffer), &columns, 0),
            }
            if !inside.contains(&y) && blank.is_none() {
                blank = Some(to.to_vec());
            }
        }
        let mut sums = vec![0; width];
        for (to, tap) in result.chunks_exact_mut(width).zip(&rows) {
            sums.fill(HALF);
            let first = (tap.first - used.start) * width;
            for (row, weight) in narrow[first..].chunks_exact(width).zip(&tap.weights) {
                add(&mut sums, row, *weight);
            }
            round_all(to, &sums);
        }
        result
    }
}

/// Which axis Pillow takes first: across, unless the height shrinks by more than twice as many samples as the width.
/// (Since version 13; before, always across.)
fn down_first(across: Axis, down: Axis) -> bool {
    let less = |axis: Axis| axis.from as i64 - axis.to as i64;
    less(down) > 0 && less(down) > 2 * less(across)
}

/// The samples that one sample of the result is the weighted sum of.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

/// The samples that any of `taps` takes.
fn span(taps: &[Tap]) -> std::ops::Range<usize> {
    let first = taps.iter().map(|tap| tap.first).min();
    let end = taps.iter().map(|tap| tap.first + tap.weights.len()).max();
    first.unwrap_or(0)..end.unwrap_or(0)
}

/// What a sum begins with to be rounded.
const HALF: i32 = 1 << (PRECISION - 1);

fn round(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn round_all(to: &mut [u8], sums: &[i32]) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = round(*sum);
    }
}

fn add(sums: &mut [i32], samples: &[u8], weight: i32) {
    for (sum, sample) in sums.iter_mut().zip(samples) {
        *sum += weight * i32::from(*sample);
    }
}

/// One line of pixels from another, which begins with pixel `start`.
fn tap_all(to: &mut [u8], line: &[u8], taps: &[Tap], start: usize) {
    let (pixels, _) = line.as_chunks::<3>();
    for (pixel, tap) in to.as_chunks_mut::<3>().0.iter_mut().zip(taps) {
        let mut sums = [HALF; 3];
        for (from, weight) in pixels[tap.first - start..].iter().zip(&tap.weights) {
            add(&mut sums, from, *weight);
        }
        *pixel = sums.map(round);
    }
}

/// The wanted samples of the result in order. An axis that keeps its length is copied, whatever the filter.
fn taps(axis: Axis, filter: Filter) -> Vec<Tap> {
    let one = |first: usize| Tap {
        first,
        weights: vec![1 << PRECISION],
    };
    let wanted = axis.start..axis.start + axis.len;
    if axis.from == axis.to {
        return wanted.map(one).collect();
    }
    let scale = axis.from as f64 / axis.to as f64;
    if filter == Filter::Nearest {
        // Pillow adds the step up, and so do we: rounding decides where a sample falls between two.
        let places = std::iter::successors(Some(0.5 * scale), |place| Some(place + scale));
        return places
            .skip(axis.start)
            .take(axis.len)
            .map(|place| one((place as usize).min(axis.from - 1)))
            .collect();
    }
    // A filter is widened when it shrinks, which is the antialiasing.
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    wanted
        .map(|place| {
            let center = (place as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(axis.from);
            let weight =
                |place: usize| filter.weight((place as f64 - center + 0.5) * (1.0 / stretch));
            let weights: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            let fixed = |weight: &f64| (weight / sum * f64::from(1 << PRECISION)).round() as i32;
            Tap {
                first,
                weights: weights.iter().map(fixed).collect(),
            }
        })
        .collect()
}

impl Filter {
    /// How far the filter reaches either way, in samples.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight of a sample at a distance.
    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| {
            let x = x * std::f64::consts::PI;
            if x == 0.0 { 1.0 } else { x.sin() / x }
        };
        let distance = x.abs();
        match self {
            // The border between two samples belongs to one of them.
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            // Pillow has these two numbers in 32 bits.
            Self::Hamming if distance < 1.0 => {
                let (mean, swing) = (f64::from(0.54f32), f64::from(0.46f32));
                sinc(x) * (mean + swing * (std::f64::consts::PI * x).cos())
            }
            // Keys' cubic with a = −1/2 (Keys 1981, equation 15).
            Self::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => {
                ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
            }
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Hamming | Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}
