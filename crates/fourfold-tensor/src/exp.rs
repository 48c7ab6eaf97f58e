//! The exponential as straight-line arithmetic, so that loops over it become vector code.

use crate::isa::fma;

/// `e^x` to within 2e-7 of its value, without a branch or a call.
///
/// Results below 2.4e-38 are 0, those beyond the largest f32 are infinite, NaN stays NaN.
#[inline(always)]
#[allow(dead_code)]
pub(crate) fn exp(x: f32) -> f32 {
    exp_fused::<false>(x)
}

/// [`exp`] inside a `multiversion!` body, with its `FMA`.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, so `e^x = 2^(n-1) · 2 e^r`. The polynomial is our own minimax fit of
/// `2 e^r` (3e-9 relative): the factor 2 lets `n - 1` reach 127, the largest exponent that f32 has.
#[inline(always)]
pub(crate) fn exp_fused<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5 · 2^23 leaves the nearest integer in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few bits, so its product with `n` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // e^x there is twice the smallest normal number.
    const LOWEST: f32 = -86.643_39;

    let bounded = if x > 89.0 { 89.0 } else { x };
    let shifted = fma::<FMA>(bounded, std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = fma::<FMA>(n, -LN2_LOW, fma::<FMA>(n, -LN2_HIGH, bounded));
    let mut p = 0.002_762_908;
    p = fma::<FMA>(p, r, 0.016_737_49);
    p = fma::<FMA>(p, r, 0.083_336_78);
    p = fma::<FMA>(p, r, 0.333_330_42);
    p = fma::<FMA>(p, r, 0.999_999_9);
    p = fma::<FMA>(p, r, 2.0);
    p = fma::<FMA>(p, r, 2.0);
    // 2^(n-1): the shift drops everything of `shifted` but `n` itself.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(126) << 23);
    if x < LOWEST { 0.0 } else { p * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_exact_as_f32_allows() {
        let mut worst = 0.0f64;
        let mut check = |x: f32| {
            let wanted = f64::from(x).exp();
            for found in [exp(x), exp_fused::<true>(x)] {
                worst = worst.max((f64::from(found) - wanted).abs() / wanted);
            }
        };
        for step in 0..=1_753_000 {
            check(-86.6 + step as f32 * 1e-4);
        }
        for exponent in -149..0 {
            check(2f32.powi(exponent));
            check(-(2f32.powi(exponent)));
        }
        assert!(worst < 2e-7, "relative error {worst:.2e}");
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn leaves_the_range_as_it_should() {
        for exp in [exp, exp_fused::<true>] {
            for x in [f32::NEG_INFINITY, f32::MIN, -1e6, -104.0, -88.0, -87.0] {
                assert_eq!(exp(x).to_bits(), 0, "{x}");
            }
            assert!(exp(88.72).is_finite());
            for x in [88.73, 89.0, 1e3, f32::MAX, f32::INFINITY] {
                assert_eq!(exp(x), f32::INFINITY, "{x}");
            }
            assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
            assert!(exp(f32::from_bits(0x7fff_ffff)).is_nan());
        }
    }
}
