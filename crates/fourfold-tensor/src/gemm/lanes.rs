//! The lanes of a vector.

use std::arch::x86_64::{__mmask16, __mmask32};

/// Lines and pairs of a packed block: the 32-bit lanes of a vector.
pub(super) const SIDE: usize = 16;

/// The lanes below `count` of 16.
#[inline(always)]
pub(super) fn first_16(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

/// The lanes below `count` of 32.
#[inline(always)]
pub(super) fn first_32(count: usize) -> __mmask32 {
    if count >= 32 { !0 } else { (1 << count) - 1 }
}
