//! Row kernels of the loss.

use crate::Element;
use crate::exp::exp_fused;
use crate::isa::multiversion;

/// Sums run in so many lanes at once, added up at the end.
const LANES: usize = 32;

/// Replaces a row of logits by `e^(logit - max)`; the loss of `target` and the reciprocal of the sum.
pub(super) fn row_loss(logits: &mut [f32], target: usize) -> (f32, f32) {
    let highest = highest(logits);
    let below = highest - logits[target];
    let sum = exponentials(logits, highest);
    (below + sum.ln(), 1.0 / sum)
}

multiversion! {
    /// `Σ e^(value - highest)`.
    pub(super) fn sum_of_exponentials(values: &[f32], highest: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += exp_fused::<FMA>(*value - highest));
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, value)| *lane += exp_fused::<FMA>(*value - highest));
        lanes.iter().sum()
    }
}

multiversion! {
    pub(super) fn highest(values: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (chunks, rest) = values.as_chunks::<LANES>();
        let higher = |lane: &mut f32, value: f32| *lane = if value > *lane { value } else { *lane };
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, value)| higher(lane, *value));
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, value)| higher(lane, *value));
        lanes.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b))
    }
}

multiversion! {
    /// `values = e^(values - highest)`; their sum.
    fn exponentials(values: &mut [f32], highest: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        let add = |lane: &mut f32, value: &mut f32| {
            *value = exp_fused::<FMA>(*value - highest);
            *lane += *value;
        };
        let (chunks, rest) = values.as_chunks_mut::<LANES>();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, value)| add(lane, value));
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, value)| add(lane, value));
        lanes.iter().sum()
    }
}

multiversion! {
    /// `out = factor · values`.
    pub(super) fn scale<T: Element>(values: &[f32], factor: f32, out: &mut [T]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = T::store(factor * value);
        }
    }
}

multiversion! {
    /// `values = factor · values`.
    pub(super) fn scale_in_place(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}

multiversion! {
    /// `out = factor · values`, or `out += factor · values` where `accumulate` is set.
    pub(super) fn scale_or_add(values: &[f32], factor: f32, out: &mut [f32], accumulate: bool) {
        let pairs = out.iter_mut().zip(values);
        if accumulate {
            pairs.for_each(|(out, value)| *out += factor * value);
        } else {
            pairs.for_each(|(out, value)| *out = factor * value);
        }
    }
}
