//! What a sample of the result is the sum of.

use std::ops::Range;

use super::Axis;
use crate::Filter;

/// Fractional bits of a weight: what 32 bits leave beside 8 of a sample and 2 for sums above one.
pub(super) const PRECISION: u32 = 22;

/// The samples that one sample of the result is the weighted sum of.
#[derive(Clone, Copy)]
pub(super) struct Tap<'a> {
    pub(super) first: usize,
    pub(super) weights: &'a [i32],
}

/// The taps of an axis. All weights lie in one piece: there are hundreds of taps an image.
#[derive(Default)]
pub(super) struct Taps {
    /// The first sample of each tap, and where its weights end.
    places: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

impl Taps {
    /// How many samples the result has.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Tap<'_>> {
        self.places.iter().scan(0, |start, &(first, end)| {
            let weights = &self.weights[*start..end];
            *start = end;
            Some(Tap { first, weights })
        })
    }

    /// The samples that any of them takes.
    pub(super) fn span(&self) -> Range<usize> {
        let first = self.iter().map(|tap| tap.first).min();
        let end = self.iter().map(|tap| tap.first + tap.weights.len()).max();
        first.unwrap_or(0)..end.unwrap_or(0)
    }

    fn push(&mut self, first: usize, weights: impl Iterator<Item = i32>) {
        self.weights.extend(weights);
        self.places.push((first, self.weights.len()));
    }

    /// The sample itself.
    fn push_one(&mut self, first: usize) {
        self.push(first, std::iter::once(1 << PRECISION));
    }
}

/// The wanted samples of the result in order. An axis that keeps its length is copied, whatever the filter.
pub(super) fn taps(axis: Axis, filter: Filter) -> Taps {
    let mut taps = Taps::default();
    let wanted = axis.start..axis.start + axis.len;
    if axis.from == axis.to {
        wanted.for_each(|first| taps.push_one(first));
        return taps;
    }
    let scale = axis.from as f64 / axis.to as f64;
    if filter == Filter::Nearest {
        // Pillow adds the step up, and so do we: rounding decides where a sample falls between two.
        let places = std::iter::successors(Some(0.5 * scale), |place| Some(place + scale));
        for place in places.skip(axis.start).take(axis.len) {
            taps.push_one((place as usize).min(axis.from - 1));
        }
        return taps;
    }
    // A filter is widened when it shrinks, which is the antialiasing.
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let mut weights: Vec<f64> = Vec::new();
    for place in wanted {
        let center = (place as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(axis.from);
        let weight = |place: usize| filter.weight((place as f64 - center + 0.5) * (1.0 / stretch));
        weights.clear();
        weights.extend((first..end).map(weight));
        let sum: f64 = weights.iter().sum();
        let sum = if sum == 0.0 { 1.0 } else { sum };
        let fixed = |weight: &f64| (weight / sum * f64::from(1 << PRECISION)).round() as i32;
        taps.push(first, weights.iter().map(fixed));
    }
    taps
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
