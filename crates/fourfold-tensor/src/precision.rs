//! The number format that products are computed in.

use crate::{Device, Isa};

/// The format of matrix products and of the activations between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats throughout.
    F32,
    /// 16-bit brain floats into 32-bit sums.
    Bf16,
    /// 16-bit floats with five bits of exponent (IEEE 754's half) into 32-bit sums. On a CPU it is simulated: for
    /// checking what these numbers do to a training, not for speed.
    F16,
}

impl Precision {
    /// The fastest precision this machine has its own instructions for; never one that it simulates.
    pub fn fastest() -> Self {
        if Isa::current().has_bf16() {
            Self::Bf16
        } else {
            Self::F32
        }
    }

    /// The same for `device`: every GPU that is used has bf16 of its own.
    pub fn fastest_on(device: &Device) -> Self {
        match device {
            Device::Cpu => Self::fastest(),
            Device::Gpu(_) => Self::Bf16,
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// The word used in recipes and messages: the field's.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "fp16",
        }
    }
}
