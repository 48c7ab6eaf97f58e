//! GELU kernels over a piece of numbers.

use super::Gelu;
use crate::Element;
use crate::exp::exp_fused;
use crate::isa::{fma, multiversion};

multiversion! {
    /// `out = gelu(x)`.
    pub(super) fn forward<T: Element>(kind: Gelu, x: &[T], out: &mut [T]) {
        match kind {
            Gelu::Tanh => {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = T::store(at::<FMA>(Gelu::Tanh, x.load()));
                }
            }
            Gelu::Erf => {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = T::store(at::<FMA>(Gelu::Erf, x.load()));
                }
            }
            Gelu::Quick => {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = T::store(at::<FMA>(Gelu::Quick, x.load()));
                }
            }
        }
    }
}

/// `gelu(x)`.
#[inline(always)]
pub(crate) fn at<const FMA: bool>(kind: Gelu, x: f32) -> f32 {
    match kind {
        Gelu::Tanh => x * tanh_gate::<FMA>(x),
        Gelu::Erf => x * normal::<FMA>(x).0,
        Gelu::Quick => x * sigmoid::<FMA>(QUICK * x),
    }
}

multiversion! {
    /// `dx = dy · gelu'(x)`.
    pub(super) fn backward<T: Element>(kind: Gelu, x: &[T], dy: &[T], dx: &mut [T]) {
        match kind {
            Gelu::Tanh => {
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = T::store(dy.load() * tanh_slope::<FMA>(x.load()));
                }
            }
            Gelu::Erf => {
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    let x = x.load();
                    let (below, density) = normal::<FMA>(x);
                    *dx = T::store(dy.load() * fma::<FMA>(x, density, below));
                }
            }
            Gelu::Quick => {
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    let x = x.load();
                    let gate = sigmoid::<FMA>(QUICK * x);
                    let slope = fma::<FMA>(QUICK * x * gate, 1.0 - gate, gate);
                    *dx = T::store(dy.load() * slope);
                }
            }
        }
    }
}

/// The slope of the tanh form at `x`.
#[inline(always)]
pub(crate) fn tanh_slope<const FMA: bool>(x: f32) -> f32 {
    let gate = tanh_gate::<FMA>(x);
    let slope = TWO_ROOT * fma::<FMA>(3.0 * CUBIC * x, x, 1.0);
    fma::<FMA>(x * slope * gate, 1.0 - gate, gate)
}

/// The logistic function, `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp_fused::<FMA>(-x))
}

/// The factor within the logistic function of [`Gelu::Quick`].
const QUICK: f32 = 1.702;

/// `2 √(2/π)`.
const TWO_ROOT: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

/// `(1 + tanh u) / 2 = 1 / (1 + e^-2u)` with `u = √(2/π) (x + 0.044715 x³)`.
#[inline(always)]
fn tanh_gate<const FMA: bool>(x: f32) -> f32 {
    let twice = TWO_ROOT * x * fma::<FMA>(CUBIC * x, x, 1.0);
    sigmoid::<FMA>(twice)
}

/// The standard normal distribution below `x`, to 1e-7 before rounding, and its density at `x`.
///
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26, for the complement of erf: the tail keeps its
/// digits, and the exponential is the density's too.
#[inline(always)]
fn normal<const FMA: bool>(x: f32) -> (f32, f32) {
    const ROOT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    /// `1 / √(2π)`.
    const DENSITY: f32 = 0.398_942_3;
    let z = x.abs() * ROOT_HALF;
    let t = 1.0 / fma::<FMA>(0.327_591_1, z, 1.0);
    let mut p = 1.061_405_4;
    p = fma::<FMA>(p, t, -1.453_152);
    p = fma::<FMA>(p, t, 1.421_413_8);
    p = fma::<FMA>(p, t, -0.284_496_74);
    p = fma::<FMA>(p, t, 0.254_829_6);
    let e = exp_fused::<FMA>(-z * z);
    let tail = 0.5 * p * t * e;
    let below = if x < 0.0 { tail } else { 1.0 - tail };
    (below, DENSITY * e)
}
