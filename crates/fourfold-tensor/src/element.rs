//! The number formats that a tensor holds.

use half::{bf16, f16};

/// A number that kernels load as f32 and store from f32.
pub trait Element: bytemuck::Pod + Send + Sync + 'static {
    /// The value in f32.
    fn load(self) -> f32;
    /// The nearest value of this format, ties to even.
    fn store(value: f32) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn load(self) -> f32 {
        self
    }
    #[inline(always)]
    fn store(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn load(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }
    /// Written with integer operations alone so that loops over it become vector code.
    #[inline(always)]
    fn store(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet_nan = (bits >> 16) | 0x40;
        let is_nan = (bits & 0x7fff_ffff) > 0x7f80_0000;
        bf16::from_bits(if is_nan { quiet_nan } else { rounded } as u16)
    }
}

/// Both ways are written with operations that loops turn into vector code, as the conversions of the crate `half`, a call
/// a number, do not become. The scheme is Fabian Giesen's: where the exponents of one format are beyond the other's, an
/// addition in f32 does the shifting, and the rounding, of subnormal numbers.
impl Element for f16 {
    #[inline(always)]
    fn load(self) -> f32 {
        let bits = u32::from(self.to_bits());
        let moved = (bits & 0x7fff) << 13;
        let rebased = moved + (BIAS_BETWEEN << 23);
        let exponent = moved & INFINITE_EXPONENT;
        // Infinities and numbers that are none have the highest exponent in either format.
        let beyond = rebased + (BIAS_BETWEEN << 23);
        // A subnormal number is what remains of one with the smallest exponent once that is taken away.
        let subnormal = f32::from_bits(rebased + (1 << 23)) - f32::from_bits(SMALLEST_NORMAL);
        let magnitude = if exponent == INFINITE_EXPONENT {
            beyond
        } else if exponent == 0 {
            subnormal.to_bits()
        } else {
            rebased
        };
        f32::from_bits(magnitude | (bits & 0x8000) << 16)
    }

    #[inline(always)]
    fn store(value: f32) -> Self {
        let sign = value.to_bits() & 0x8000_0000;
        let magnitude = value.to_bits() ^ sign;
        // Adding a number whose last bit is worth as much as that of a subnormal number rounds to that bit.
        let subnormal = (f32::from_bits(magnitude) + f32::from_bits(SUBNORMAL_ROUNDER)).to_bits();
        let subnormal = subnormal.wrapping_sub(SUBNORMAL_ROUNDER);
        // What is rounded up beyond the highest number becomes the infinity that follows it.
        let odd = (magnitude >> 13) & 1;
        let normal = magnitude
            .wrapping_sub(BIAS_BETWEEN << 23)
            .wrapping_add(0xfff + odd)
            >> 13;
        let rounded = if magnitude > 0x7f80_0000 {
            0x7e00
        } else if magnitude >= TOO_LARGE {
            0x7c00
        } else if magnitude < SMALLEST_NORMAL {
            subnormal
        } else {
            normal
        };
        f16::from_bits((rounded | sign >> 16) as u16)
    }
}

/// What the exponents of f32 are higher by than those of f16.
const BIAS_BETWEEN: u32 = 127 - 15;
/// The highest exponent of f16, where f32 has its own.
const INFINITE_EXPONENT: u32 = 0x7c00 << 13;
/// The bits of 2^-14 in f32: what is smaller is subnormal in f16.
const SMALLEST_NORMAL: u32 = (BIAS_BETWEEN + 1) << 23;
/// The bits of 2^16 in f32: what is as large is infinite in f16.
const TOO_LARGE: u32 = (127 + 16) << 23;
/// The bits of 0.5 in f32, whose last bit is worth 2^-24, as that of subnormal numbers in f16.
const SUBNORMAL_ROUNDER: u32 = (127 - 1) << 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_loaded_and_stored_again() {
        for bits in 0..=u16::MAX {
            let number = f16::from_bits(bits);
            let loaded = number.load();
            if number.is_nan() {
                assert!(loaded.is_nan() && <f16 as Element>::store(loaded).is_nan());
                continue;
            }
            assert_eq!(loaded.to_bits(), number.to_f32().to_bits(), "{bits:#x}");
            assert_eq!(<f16 as Element>::store(loaded).to_bits(), bits);
        }
    }

    /// Halfway between neighbours, a hair beside it, and far from it: every place where rounding turns.
    #[test]
    fn f16_rounds_to_the_nearest_and_ties_to_even() {
        let check = |value: f32| {
            for value in [value, -value] {
                let (ours, theirs) = (<f16 as Element>::store(value), f16::from_f32(value));
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{value:e}");
            }
        };
        for bits in 0..0x7bff_u16 {
            let [low, high] = [bits, bits + 1].map(|bits| f16::from_bits(bits).to_f32());
            let middle = (low + high) / 2.0;
            let beside = [middle.to_bits() - 1, middle.to_bits() + 1].map(f32::from_bits);
            [middle, beside[0], beside[1]].into_iter().for_each(check);
            let even = if bits % 2 == 0 { low } else { high };
            assert_eq!(<f16 as Element>::store(middle).load(), even);
        }
        // 65504 is the highest number, and 65520 lies halfway to where the next would be.
        for (value, stored) in [
            (65_504.0, 65_504.0),
            (65_519.996, 65_504.0),
            (65_520.0, f32::INFINITY),
            (1e9, f32::INFINITY),
            (f32::INFINITY, f32::INFINITY),
            (2f32.powi(-24), 2f32.powi(-24)),
            (2f32.powi(-25), 0.0),
            (1.0001 * 2f32.powi(-25), 2f32.powi(-24)),
            (1e-40, 0.0),
        ] {
            check(value);
            assert_eq!(<f16 as Element>::store(value).load(), stored, "{value:e}");
        }
        assert!(<f16 as Element>::store(f32::NAN).is_nan());
        for bits in (0..=u32::MAX).step_by(65_521) {
            let value = f32::from_bits(bits);
            match value.is_nan() {
                true => assert!(<f16 as Element>::store(value).is_nan()),
                false => check(value),
            }
        }
    }

    #[test]
    fn bf16_rounds_as_the_half_crate_does() {
        for bits in (0..=u32::MAX).step_by(65_521) {
            let value = f32::from_bits(bits);
            let (ours, theirs) = (<bf16 as Element>::store(value), bf16::from_f32(value));
            assert!(
                ours == theirs || (ours.is_nan() && theirs.is_nan()),
                "{value:e}"
            );
        }
    }
}
