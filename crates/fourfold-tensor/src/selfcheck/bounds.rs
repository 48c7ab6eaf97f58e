//! How far from this processor's f32 a number may be.

use crate::Precision;

/// The largest error of a number that is let pass, relative to the largest number of its array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// In f32.
    pub f32: f64,
    /// In bf16.
    pub bf16: f64,
    /// In fp16.
    pub f16: f64,
    /// Why they are not those of a single operation; empty where they are.
    pub reason: &'static str,
}

impl Bounds {
    /// Some roundings of the format: what the tests of each operation are held to as well.
    pub const OPERATION: Self = Self {
        f32: 1e-5,
        bf16: 2e-2,
        f16: 4e-3,
        reason: "",
    };

    /// Products of numbers that were rounded to 10 bits of significand.
    pub const TF32: Self = Self {
        f32: 2e-3,
        reason: "operands are rounded to TF32",
        ..Self::OPERATION
    };

    /// Nothing at all: numbers that are moved and not computed with.
    pub const MOVED: Self = Self {
        f32: 0.0,
        bf16: 0.0,
        f16: 0.0,
        reason: "numbers are moved, not computed",
    };

    /// The same in every format.
    pub const ALWAYS_F32: Self = Self {
        f32: 1e-5,
        bf16: 1e-5,
        f16: 1e-5,
        reason: "computed in f32 whatever the precision of products",
    };

    /// The bound in `precision`.
    pub fn of(self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => self.f32,
            Precision::Bf16 => self.bf16,
            Precision::F16 => self.f16,
        }
    }
}
