//! Loops of product instructions over registers alone, in assembly: a compiler would keep the sums in memory.

use std::arch::asm;

use super::kernel_amx::{Amx, Registers};
use crate::{Isa, Precision};

const ROUNDS: usize = 1_000_000;

/// Runs the loop of this machine's best instruction for products in `precision`; the operations that it did, or nothing
/// where there is none.
#[allow(unsafe_code)]
pub(crate) fn register_loop(precision: Precision) -> Option<f64> {
    let isa = Isa::current();
    let operations = match precision {
        Precision::Bf16 if isa >= Isa::Amx => {
            let _registers = Registers::configure(Amx::find()?);
            // SAFETY: the registers are configured.
            unsafe { tiles() };
            // Four products of 16 x 16 sums over 16 pairs.
            4 * 16 * 16 * 16 * 4
        }
        Precision::Bf16 if isa.has_bf16() => {
            // SAFETY: `Isa::current` found the instructions.
            unsafe { dots() };
            24 * 16 * 4
        }
        _ if isa >= Isa::Avx512 => {
            // SAFETY: as above.
            unsafe { wide_multiply_adds() };
            24 * 16 * 2
        }
        _ if isa == Isa::Avx2 => {
            // SAFETY: as above.
            unsafe { multiply_adds() };
            12 * 8 * 2
        }
        _ => return None,
    };
    Some((ROUNDS * operations) as f64)
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

/// A loop over 24 sums of zero, enough to hide the latency of an instruction, in 512-bit registers.
macro_rules! wide_rounds {
    ($instruction:literal) => {
        asm!(
            ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,30,31",
            r"vpxord zmm\sum, zmm\sum, zmm\sum",
            ".endr",
            "2:",
            ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
            concat!($instruction, r" zmm\sum, zmm30, zmm31"),
            ".endr",
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) ROUNDS => _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
            out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _, out("zmm17") _,
            out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm30") _, out("zmm31") _,
            options(nostack, nomem),
        )
    };
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(unsafe_code)]
fn dots() {
    // SAFETY: the loop touches registers alone, all of them named.
    unsafe { wide_rounds!("vdpbf16ps") }
}

#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
fn wide_multiply_adds() {
    // SAFETY: as above.
    unsafe { wide_rounds!("vfmadd231ps") }
}

#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
fn multiply_adds() {
    // SAFETY: as above.
    unsafe {
        asm!(
            ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11,14,15",
            r"vxorps ymm\sum, ymm\sum, ymm\sum",
            ".endr",
            "2:",
            ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11",
            r"vfmadd231ps ymm\sum, ymm14, ymm15",
            ".endr",
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) ROUNDS => _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _,
            out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm14") _, out("ymm15") _,
            options(nostack, nomem),
        );
    }
}
