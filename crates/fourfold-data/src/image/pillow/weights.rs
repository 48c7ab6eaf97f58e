//! What a sample of the result is the sum of.

use super::Axis;
use crate::Filter;

/// Fractional bits of a weight: what 32 bits leave beside 8 of a sample and 2 for sums above one.
pub(super) const PRECISION: u32 = 22;

/// The samples that one sample of the result is the weighted sum of.
pub(super) struct Tap {
    pub(super) first: usize,
    pub(super) weights: Vec<i32>,
}

/// The samples that any of `taps` takes.
pub(super) fn span(taps: &[Tap]) -> std::ops::Range<usize> {
    let first = taps.iter().map(|tap| tap.first).min();
    let end = taps.iter().map(|tap| tap.first + tap.weights.len()).max();
    first.unwrap_or(0)..end.unwrap_or(0)
}

/// The wanted samples of the result in order. An axis that keeps its length is copied, whatever the filter.
pub(super) fn taps(axis: Axis, filter: Filter) -> Vec<Tap> {
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
