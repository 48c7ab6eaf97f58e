//! Norm kernels over a piece of rows.
//!
//! Mean and deviation are computed anew on the way back: the row has to be read anyway, and nothing is kept.

use super::Norm;
use crate::Element;
use crate::isa::{fma, multiversion};
use crate::ops::formats::Formats;

/// Sums run in so many lanes at once, added up by halves at the end.
const LANES: usize = 32;

multiversion! {
    /// `out = (x - mean) / deviation · weight + bias` for the rows of `x`.
    pub(in crate::ops) fn forward<F: Formats>(x: &[F::In], norm: Norm<'_>, out: &mut [F::Out]) {
        let width = norm.weight.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let (mean, scale) = statistics::<FMA, _>(x, norm);
            let normal = x.iter().map(|x| (x.load() - mean) * scale);
            let terms = out.iter_mut().zip(normal).zip(norm.weight);
            match norm.bias {
                Some(bias) => {
                    for (((out, normal), weight), bias) in terms.zip(bias) {
                        *out = Element::store(fma::<FMA>(normal, *weight, *bias));
                    }
                }
                None => {
                    for ((out, normal), weight) in terms {
                        *out = Element::store(normal * weight);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// Gradients for the rows of `x`: that of the input is put or added (`accumulate`) to `dx` where it is wanted,
    /// those of weight and bias are added to `sums: [2, width]` unless that is empty.
    pub(in crate::ops) fn backward<F: Formats>(
        x: &[F::In],
        dy: &[F::Out],
        norm: Norm<'_>,
        dx: Option<&mut [f32]>,
        accumulate: bool,
        sums: &mut [f32],
    ) {
        let width = norm.weight.len();
        let (weight_sums, bias_sums) = sums.split_at_mut(sums.len() / 2);
        let mut dx = dx.map(|dx| dx.chunks_exact_mut(width));
        for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
            let (mean, scale) = statistics::<FMA, _>(x, norm);
            for (((weight, bias), x), dy) in weight_sums.iter_mut().zip(bias_sums.iter_mut()).zip(x).zip(dy) {
                let normal = (x.load() - mean) * scale;
                *weight = fma::<FMA>(dy.load(), normal, *weight);
                *bias += dy.load();
            }
            let Some(dx) = dx.as_mut().and_then(Iterator::next) else {
                continue;
            };
            // dx = scale · (g - mean(g) - normal · mean(g · normal)), g = dy · weight; the RMS norm has no mean(g).
            let (sum, product) = gradient_sums::<FMA, _, _>(x, dy, norm.weight, mean, scale);
            let sum = if norm.centred { sum / width as f32 } else { 0.0 };
            let product = product / width as f32;
            let terms = dx.iter_mut().zip(x).zip(dy).zip(norm.weight);
            for (((dx, x), dy), weight) in terms {
                let normal = (x.load() - mean) * scale;
                let gradient = fma::<FMA>(dy.load(), *weight, -sum);
                let gradient = scale * fma::<FMA>(-normal, product, gradient);
                *dx = if accumulate { *dx + gradient } else { gradient };
            }
        }
    }
}

/// Mean (0 for a norm that is not centred) and reciprocal deviation of a row.
#[inline(always)]
fn statistics<const FMA: bool, T: Element>(x: &[T], norm: Norm<'_>) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = if norm.centred {
        fold(x, |sum, x| sum + x) / width
    } else {
        0.0
    };
    let squares = fold(x, |sum, x| fma::<FMA>(x - mean, x - mean, sum));
    (mean, 1.0 / (squares / width + norm.epsilon).sqrt())
}

#[inline(always)]
fn fold<T: Element>(values: &[T], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = add(*lane, value.load());
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = add(*lane, value.load());
    }
    sum(lanes)
}

/// `Σ dy · weight` and `Σ dy · weight · normal` of a row.
#[inline(always)]
fn gradient_sums<const FMA: bool, X: Element, Y: Element>(
    x: &[X],
    dy: &[Y],
    weight: &[f32],
    mean: f32,
    scale: f32,
) -> (f32, f32) {
    let (mut sums, mut products) = ([0.0; LANES], [0.0; LANES]);
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (dy_chunks, dy_rest) = dy.as_chunks::<LANES>();
    let (weight_chunks, weight_rest) = weight.as_chunks::<LANES>();
    let mut add = |lane: usize, x: X, dy: Y, weight: f32| {
        let gradient = dy.load() * weight;
        sums[lane] += gradient;
        products[lane] = fma::<FMA>(gradient, (x.load() - mean) * scale, products[lane]);
    };
    for ((x, dy), weight) in x_chunks.iter().zip(dy_chunks).zip(weight_chunks) {
        for lane in 0..LANES {
            add(lane, x[lane], dy[lane], weight[lane]);
        }
    }
    for (lane, ((x, dy), weight)) in x_rest.iter().zip(dy_rest).zip(weight_rest).enumerate() {
        add(lane, *x, *dy, *weight);
    }
    (sum(sums), sum(products))
}

#[inline(always)]
fn sum(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
