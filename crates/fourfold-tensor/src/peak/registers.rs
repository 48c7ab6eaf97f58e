//! Loops of 16-bit product instructions over registers alone.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::Isa;
use crate::gemm::{Amx, tile_configuration};

const ROUNDS: usize = 100_000;

/// Runs the loop of this machine's best instruction; the operations that it did, or nothing where there is none.
#[allow(unsafe_code)]
pub(super) fn products() -> Option<f64> {
    if Amx::find().is_some() {
        // SAFETY: the proof was found.
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
/// The machine must have AMX and this process the right to use it.
#[allow(unsafe_code)]
unsafe fn tiles() {
    let configuration = tile_configuration(16, 16);
    // SAFETY: the loop touches tile registers alone, which it configures, clears by that, and releases.
    unsafe {
        asm!(
            "ldtilecfg [{configuration}]",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {rounds}",
            "jnz 2b",
            "tilerelease",
            configuration = in(reg) &configuration,
            rounds = inout(reg) ROUNDS => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
