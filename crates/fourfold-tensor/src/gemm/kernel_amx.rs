//! The micro-kernel of AMX: the processor multiplies tiles of 16 rows by 64 bytes as one instruction.
//!
//! Rust has no stable intrinsics for it, so the inner loop is assembly. Registers 0 to 3 hold sums, 4 and 5 rows of the
//! left operand, 6 and 7 pairs of the right one; all have 16 rows of 64 bytes.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::extent::Extent;
use super::kernel::{Destination, Finish, Left, MicroKernel, Panel, Place};
use super::kernel_avx512bf16::{activated, write_vector};
use super::lanes::{SIDE, first_16};
use crate::Isa;

/// Bytes of a row of a tile register.
const LINE: usize = 64;
/// Bytes of a row of a panel, and of the sums in memory.
const PANEL_STEP: usize = 2 * LINE;

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
    /// The rows of a tile take at most 36 KiB and stay in the first-level cache; the panels stream by from the second
    /// and are loaded with the hint that says so, without which a depth of more than 128 would be a third slower
    /// (measured), for they would drive the rows out. A greater depth saves passes over the sums in memory.
    const DEPTH: usize = 288;

    fn with_registers<T>(self, work: impl FnOnce() -> T) -> T {
        let _registers = Registers::configure(self);
        work()
    }

    #[inline]
    #[allow(unsafe_code)]
    unsafe fn tile(
        self,
        pairs: usize,
        left: Left,
        right: Panel,
        rows: usize,
        columns: usize,
        finish: Finish,
    ) {
        let groups = rows.div_ceil(SIDE);
        debug_assert!((1..=2).contains(&groups) && (1..=Self::COLUMNS).contains(&columns));
        debug_assert!(pairs > 0 && pairs.is_multiple_of(SIDE));
        debug_assert!(
            left.extent
                .holds((groups - 1) * left.tile_step + pairs * SIDE)
        );
        debug_assert!(right.extent.holds(pairs * Self::COLUMNS));
        debug_assert!(finish.holds(rows, columns));
        // SAFETY: `self` exists only where `Isa::current` found the instructions; the rest is the caller's promise.
        unsafe {
            if rows == Self::ROWS
                && columns == Self::COLUMNS
                && finish.bias.is_none()
                && let Destination::F32(out) = finish.out
            {
                match finish.earlier {
                    Some(earlier) => load(earlier),
                    None => clear(),
                }
                upper_and_lower(pairs, left, right);
                store(out);
                return;
            }
            clear();
            if rows > SIDE {
                upper_and_lower(pairs, left, right);
            } else {
                upper(pairs, left, right.start);
            }
            let mut sums = MaybeUninit::<Sums>::uninit();
            store(Place {
                start: sums.as_mut_ptr().cast(),
                row_step: Self::COLUMNS,
                extent: Extent::of(&[(); Self::ROWS * Self::COLUMNS]),
            });
            // `store` wrote all of it.
            write(sums.assume_init_ref(), rows, columns, finish);
        }
    }
}

/// What the tile registers held, `[rows, columns]`.
#[repr(align(64))]
struct Sums([[f32; Amx::COLUMNS]; Amx::ROWS]);

/// How many rows and bytes a row each tile register has; the layout is the processor's.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The tile registers of this thread, in use until dropped: others expect to find them released.
pub(crate) struct Registers(());

impl Registers {
    /// Makes all eight registers whole.
    #[allow(unsafe_code)]
    pub(crate) fn configure(_proof: Amx) -> Self {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        configuration.row_bytes[..8].fill(LINE as u16);
        configuration.rows[..8].fill(SIDE as u8);
        // SAFETY: the proof says that this machine has the instruction; the configuration is a valid one.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack));
        }
        Self(())
    }
}

impl Drop for Registers {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: a value exists only where the machine has the instruction.
        unsafe {
            asm!("tilerelease", options(nostack));
        }
    }
}

/// Sums of zero.
///
/// # Safety
/// The registers must be configured.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn clear() {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem),
        );
    }
}

/// Takes sums from memory.
///
/// # Safety
/// The registers must be configured and `from` hold a full tile.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn load(from: Place<f32>) {
    debug_assert!(from.holds(Amx::ROWS, Amx::COLUMNS));
    // SAFETY: the caller's promise: four quarters of a full tile.
    unsafe {
        asm!(
            "tileloadd tmm0, [{upper} + {step}]",
            "tileloadd tmm1, [{upper} + {step} + 64]",
            "tileloadd tmm2, [{lower} + {step}]",
            "tileloadd tmm3, [{lower} + {step} + 64]",
            upper = in(reg) from.start,
            lower = in(reg) from.at(SIDE, 0).start,
            step = in(reg) from.row_step * size_of::<f32>(),
            options(nostack, readonly),
        );
    }
}

/// Puts the sums into memory.
///
/// # Safety
/// The registers must be configured, and `to` must have room for a full tile that no other thread touches.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn store(to: Place<f32>) {
    debug_assert!(to.holds(Amx::ROWS, Amx::COLUMNS));
    // SAFETY: the caller's promise: four quarters of a full tile.
    unsafe {
        asm!(
            "tilestored [{upper} + {step}], tmm0",
            "tilestored [{upper} + {step} + 64], tmm1",
            "tilestored [{lower} + {step}], tmm2",
            "tilestored [{lower} + {step} + 64], tmm3",
            upper = in(reg) to.start,
            lower = in(reg) to.at(SIDE, 0).start,
            step = in(reg) to.row_step * size_of::<f32>(),
            options(nostack),
        );
    }
}

/// Adds the products of two groups of rows to the sums.
///
/// # Safety
/// The registers must be configured; otherwise the promise of [`MicroKernel::tile`] for `left` and `right`.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn upper_and_lower(pairs: usize, left: Left, right: Panel) {
    // SAFETY: each round reads one block of two groups of rows and 16 whole rows of the panel; `pairs` is a positive
    // multiple of 16, so the rounds end where the operands do. Asking for memory touches none.
    unsafe {
        asm!(
            "2:",
            "tileloaddt1 tmm6, [{right} + {panel_step}]",
            "tileloadd tmm4, [{upper} + {line}]",
            "prefetcht1 [{soon}]",
            "tileloaddt1 tmm7, [{right} + {panel_step} + 64]",
            "prefetcht1 [{soon} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{lower} + {line}]",
            "prefetcht1 [{soon} + 128]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "prefetcht1 [{soon} + 192]",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {soon}, 256",
            "add {upper}, 1024",
            "add {lower}, 1024",
            "add {right}, 2048",
            "dec {rounds}",
            "jnz 2b",
            upper = inout(reg) left.start => _,
            lower = inout(reg) left.start.wrapping_add(left.tile_step) => _,
            right = inout(reg) right.start => _,
            soon = inout(reg) right.soon => _,
            line = in(reg) LINE,
            panel_step = in(reg) PANEL_STEP,
            rounds = inout(reg) pairs / SIDE => _,
            options(nostack, readonly),
        );
    }
}

/// As [`upper_and_lower`] for one group of rows.
///
/// # Safety
/// The same.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn upper(pairs: usize, left: Left, right: *const u32) {
    // SAFETY: as in `upper_and_lower`, for one group.
    unsafe {
        asm!(
            "2:",
            "tileloaddt1 tmm6, [{right} + {panel_step}]",
            "tileloadd tmm4, [{upper} + {line}]",
            "tileloaddt1 tmm7, [{right} + {panel_step} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {upper}, 1024",
            "add {right}, 2048",
            "dec {rounds}",
            "jnz 2b",
            upper = inout(reg) left.start => _,
            right = inout(reg) right => _,
            line = in(reg) LINE,
            panel_step = in(reg) PANEL_STEP,
            rounds = inout(reg) pairs / SIDE => _,
            options(nostack, readonly),
        );
    }
}

/// # Safety
/// The machine must have AVX-512; the places in `finish` must hold `rows` by `columns` numbers, its bias `columns`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn write(sums: &Sums, rows: usize, columns: usize, finish: Finish) {
    let sums = &sums.0[..rows];
    // SAFETY: the caller's promise; lanes in a mask are columns below `columns`.
    unsafe {
        if columns == Amx::COLUMNS {
            write_whole(sums, finish);
            return;
        }
        for (row, sums) in sums.iter().enumerate() {
            let low = _mm512_load_ps(sums.as_ptr());
            write_vector(low, row, 0, first_16(columns), finish);
            if columns > SIDE {
                let high = _mm512_load_ps(sums[SIDE..].as_ptr());
                write_vector(high, row, SIDE, first_16(columns - SIDE), finish);
            }
        }
    }
}

/// [`write`] for all columns of a tile.
///
/// # Safety
/// The same.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn write_whole(sums: &[[f32; Amx::COLUMNS]], finish: Finish) {
    // SAFETY: the caller's promise: `finish` holds two whole vectors at each of these rows. 32 numbers of 16 bits are
    // plain bits.
    unsafe {
        let bias = match finish.bias {
            Some(bias) => [_mm512_loadu_ps(bias), _mm512_loadu_ps(bias.add(SIDE))],
            None => [_mm512_setzero_ps(); 2],
        };
        // A loop for each destination: this runs for every tile, and a loop with a call in it keeps nothing in registers.
        match finish.out {
            Destination::F32(out) => {
                for (row, sums) in sums.iter().enumerate() {
                    let [low, high] = finished(sums, row, bias, finish.earlier);
                    _mm512_storeu_ps(out.at(row, 0).start, low);
                    _mm512_storeu_ps(out.at(row, SIDE).start, high);
                }
            }
            Destination::Bf16(out) => {
                for (row, sums) in sums.iter().enumerate() {
                    let [low, high] = finished(sums, row, bias, finish.earlier);
                    let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                    _mm512_storeu_si512(out.at(row, 0).start.cast(), rounded);
                }
            }
            Destination::Gelu(out, _) => {
                for (row, sums) in sums.iter().enumerate() {
                    let [low, high] = finished(sums, row, bias, finish.earlier);
                    let (low, high) = (activated(low, finish), activated(high, finish));
                    let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                    _mm512_storeu_si512(out.at(row, 0).start.cast(), rounded);
                }
            }
        }
    }
}

/// The sums of a row with what is added to them.
///
/// # Safety
/// The machine must have AVX-512, and `earlier` hold all columns of `row`.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn finished(
    sums: &[f32; Amx::COLUMNS],
    row: usize,
    bias: [__m512; 2],
    earlier: Option<Place<f32>>,
) -> [__m512; 2] {
    // SAFETY: the caller's promise; `sums` holds two vectors.
    unsafe {
        let mut low = _mm512_loadu_ps(sums.as_ptr());
        let mut high = _mm512_loadu_ps(sums[SIDE..].as_ptr());
        if let Some(earlier) = earlier {
            low = _mm512_add_ps(low, _mm512_loadu_ps(earlier.at(row, 0).start));
            high = _mm512_add_ps(high, _mm512_loadu_ps(earlier.at(row, SIDE).start));
        }
        [_mm512_add_ps(low, bias[0]), _mm512_add_ps(high, bias[1])]
    }
}
