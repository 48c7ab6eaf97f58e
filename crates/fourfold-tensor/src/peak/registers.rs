//! Loops of 16-bit product instructions over registers alone.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::Isa;
use crate::gemm::{Amx, TileRegisters};

const ROUNDS: usize = 100_000;

/// Runs the loop of this machine's best instruction; the operations that it did, or nothing where there is none.
#[allow(unsafe_code)]
pub(super) fn products() -> Option<f64> {
    if let Some(amx) = Amx::find() {
        let _registers = TileRegisters::configure(amx);
        // SAFETY: the registers are configured.
        unsafe { tiles() };
        // Four products of 16 x 16 sums over 16 pairs.
        return Some((ROUNDS * 4 * 16 * 16 * 16 * 4) as f64);
    }
    if Isa::current().has_bf16() {
        // SAFETY: `Isa::current` found the instructions.
        std::hint::black_box(unsafe { dots() });
        return Some((ROUNDS * SUMS * 16 * 4) as f64);
    }
    None
}

/// Independent sums, enough to hide the latency of a dot product.
const SUMS: usize = 24;

#[target_feature(enable = "avx512f,avx512bf16")]
fn dots() -> f32 {
    let one = _mm512_set1_ps(std::hint::black_box(1.0));
    let pairs = _mm512_cvtne2ps_pbh(one, one);
    let mut sums = [_mm512_setzero_ps(); SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, pairs, pairs);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

/// # Safety
/// The tile registers must be configured.
#[allow(unsafe_code)]
unsafe fn tiles() {
    // SAFETY: the loop touches tile registers alone.
    unsafe {
        asm!(
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) ROUNDS => _,
            options(nostack, nomem),
        );
    }
}
