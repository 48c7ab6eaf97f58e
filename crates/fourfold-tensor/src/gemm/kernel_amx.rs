//! The micro-kernel of AMX: the processor multiplies tiles of 16 rows by 64 bytes as one instruction.
//!
//! Rust has no stable intrinsics for it, so the inner loop is assembly.

use std::arch::asm;
use std::arch::x86_64::*;

use super::kernel::{Finish, MicroKernel, Place};
use super::kernel_avx512bf16::write_vector;
use super::pack::first_16;
use crate::Isa;

/// Rows, columns and pairs of a tile register.
const SIDE: usize = 16;
/// Bytes of a row of a tile register.
const LINE: usize = 64;

/// Proof that this machine has AMX with 16-bit products and that the system lets this process use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx(());

impl Amx {
    /// The kernel, where the instruction set in use has it.
    pub(crate) fn find() -> Option<Self> {
        (Isa::current() >= Isa::Amx).then_some(Self(()))
    }
}

impl MicroKernel for Amx {
    const ROWS: usize = 2 * SIDE;
    const COLUMNS: usize = 2 * SIDE;
    const PAIRS: usize = SIDE;

    #[inline]
    #[allow(unsafe_code)]
    unsafe fn tile(
        self,
        pairs: usize,
        left: Place<u32>,
        right: *const u32,
        rows: usize,
        columns: usize,
        finish: Finish,
    ) {
        let mut sums = Sums([[0.0; Self::COLUMNS]; Self::ROWS]);
        // SAFETY: `self` exists only where `Isa::current` found the instructions; the rest is the caller's promise.
        unsafe {
            if rows > SIDE {
                upper_and_lower(pairs, left, right, rows, &mut sums);
            } else {
                upper(pairs, left, right, rows, &mut sums);
            }
            write(&sums, rows, columns, finish);
        }
    }
}

/// What the tile registers held, `[rows, columns]`.
#[repr(align(64))]
struct Sums([[f32; Amx::COLUMNS]; Amx::ROWS]);

/// How many rows and bytes a row each tile register has; the layout is the processor's.
#[repr(C, align(64))]
pub(crate) struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Registers 0 to 3 hold sums, 4 and 5 rows of the left operand, 6 and 7 pairs of the right one. A register without
/// rows has no bytes either.
pub(crate) fn configuration(upper_rows: usize, lower_rows: usize) -> Configuration {
    let (upper, lower) = (upper_rows as u8, lower_rows as u8);
    let mut rows = [0; 16];
    rows[..8].copy_from_slice(&[upper, upper, lower, lower, upper, lower, 16, 16]);
    Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: rows.map(|rows| if rows > 0 { LINE as u16 } else { 0 }),
        rows,
    }
}

/// Sums of more than 16 rows. They begin at zero: to configure the registers is to clear them.
///
/// # Safety
/// The machine must have AMX; otherwise the promise of [`MicroKernel::tile`] for `left` and `right`.
#[allow(unsafe_code)]
unsafe fn upper_and_lower(
    pairs: usize,
    left: Place<u32>,
    right: *const u32,
    rows: usize,
    sums: &mut Sums,
) {
    let configuration = configuration(SIDE, rows - SIDE);
    // SAFETY: each round reads 16 pairs of `rows` rows of `left` (the registers have no more rows) and 16 whole rows
    // of the panel; `pairs` is a positive multiple of 16, so the rounds end where the operands do. The sums are
    // exactly as large as the four registers. The registers are released, as others expect to find them.
    unsafe {
        asm!(
            "ldtilecfg [{configuration}]",
            "2:",
            "tileloadd tmm4, [{upper} + {left_step}]",
            "tileloadd tmm6, [{right} + {step}]",
            "tileloadd tmm7, [{right} + {step} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{lower} + {left_step}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {upper}, 64",
            "add {lower}, 64",
            "add {right}, 2048",
            "dec {rounds}",
            "jnz 2b",
            "tilestored [{sums} + {step}], tmm0",
            "tilestored [{sums} + {step} + 64], tmm1",
            "tilestored [{sums} + {step} + 2048], tmm2",
            "tilestored [{sums} + {step} + 2112], tmm3",
            "tilerelease",
            configuration = in(reg) &configuration,
            upper = inout(reg) left.start => _,
            lower = inout(reg) left.at(SIDE, 0).start => _,
            left_step = in(reg) left.row_step * size_of::<u32>(),
            right = inout(reg) right => _,
            step = in(reg) Amx::COLUMNS * size_of::<u32>(),
            rounds = inout(reg) pairs / SIDE => _,
            sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Sums of up to 16 rows.
///
/// # Safety
/// As for [`upper_and_lower`].
#[allow(unsafe_code)]
unsafe fn upper(pairs: usize, left: Place<u32>, right: *const u32, rows: usize, sums: &mut Sums) {
    let configuration = configuration(rows, 0);
    // SAFETY: as in `upper_and_lower`, with two of the four registers.
    unsafe {
        asm!(
            "ldtilecfg [{configuration}]",
            "2:",
            "tileloadd tmm4, [{upper} + {left_step}]",
            "tileloadd tmm6, [{right} + {step}]",
            "tileloadd tmm7, [{right} + {step} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {upper}, 64",
            "add {right}, 2048",
            "dec {rounds}",
            "jnz 2b",
            "tilestored [{sums} + {step}], tmm0",
            "tilestored [{sums} + {step} + 64], tmm1",
            "tilerelease",
            configuration = in(reg) &configuration,
            upper = inout(reg) left.start => _,
            left_step = in(reg) left.row_step * size_of::<u32>(),
            right = inout(reg) right => _,
            step = in(reg) Amx::COLUMNS * size_of::<u32>(),
            rounds = inout(reg) pairs / SIDE => _,
            sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// # Safety
/// The machine must have AVX-512; the places in `finish` must hold `rows` by `columns` numbers, its bias `columns`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn write(sums: &Sums, rows: usize, columns: usize, finish: Finish) {
    for (row, sums) in sums.0.iter().take(rows).enumerate() {
        for column in (0..columns).step_by(SIDE) {
            let mask = first_16(columns - column);
            // SAFETY: `sums` holds whole vectors; lanes in `mask` are columns below `columns`.
            unsafe {
                let sum = _mm512_loadu_ps(sums[column..].as_ptr());
                write_vector(sum, row, column, mask, finish);
            }
        }
    }
}
