//! Some rows against a weight stored as `[out, in]` that has no packed form, where there is AMX: the weight's rows are
//! multiplied as they lie in memory, and read once. What there is to compute is little beside that, so nothing of the
//! weight is packed.

use std::arch::asm;

use half::bf16;
use rayon::prelude::*;

use super::cut::Cut;
use super::kernel::{Destination, Finish, MicroKernel, Place};
use super::kernel_amx::{Amx, clear};
use super::kernel_avx512bf16::{Avx512Bf16, write_vector};
use super::lanes::{SIDE, first_16};
use super::pack::{Numbers, Right, transpose_sums};
use super::{Matrix, Output};
use crate::Precision;
use crate::tensor::View;

/// One row is left to dot products: it uses a sixteenth of a tile.
const FEWEST_ROWS: usize = 2;
/// Panels of [`SIDE`] rows that are multiplied at once: their sums fill four of eight tile registers.
const PANELS: usize = 4;
const MOST_ROWS: usize = PANELS * SIDE;
/// Bytes of the weight that one task reads.
const BYTES_PER_TASK: usize = 128 * 1024;
/// Numbers of a row that a tile register holds.
const DEPTH: usize = 2 * SIDE;

/// The weight, where the product is of this kind.
pub(super) fn weight<'a>(a: Matrix<'_>, b: Matrix<'a>, precision: Precision) -> Option<&'a [bf16]> {
    let rows = (FEWEST_ROWS..=MOST_ROWS).contains(&a.rows);
    let depth = a.columns > 0 && a.columns.is_multiple_of(DEPTH);
    match b.view {
        View::Bf16(weight) if b.transposed && rows && depth && precision == Precision::Bf16 => {
            Some(weight)
        }
        _ => None,
    }
}

/// `out (+)= a · weightᵀ + bias` with `a: [m, k]` and `weight: [n, k]` for which [`weight`] said that it is of this kind.
pub(super) fn product(
    amx: Amx,
    packing: Avx512Bf16,
    a: Matrix<'_>,
    weight: &[bf16],
    bias: Option<&[f32]>,
    output: Output<'_>,
) {
    let (m, k) = (a.rows, a.columns);
    let n = weight.len() / k;
    let (out, addend) = Destination::of(output, n);
    let pairs = k / 2;
    let job = Job {
        rows: Right::new(packing, a.t(), Cut::new(pairs, pairs), SIDE, false),
        m,
        k,
        bias,
        out,
        addend,
    };
    let per_task = (BYTES_PER_TASK / size_of::<bf16>() / k)
        .max(1)
        .next_multiple_of(SIDE);
    weight
        .par_chunks(per_task * k)
        .enumerate()
        .for_each(|(task, weight)| {
            amx.with_registers(|| job.columns(weight, task * per_task));
        });
}

struct Job<'a> {
    /// Panels of [`SIDE`] rows of `a`.
    rows: Right,
    m: usize,
    k: usize,
    bias: Option<&'a [f32]>,
    out: Destination,
    addend: Option<Place<f32>>,
}

/// Sums of 16 columns of the result and 64 rows: `[panels, columns, rows of the panel]`.
#[repr(align(64))]
struct Sums([[[f32; SIDE]; SIDE]; PANELS]);

impl Job<'_> {
    /// Computes the columns of the result that belong to some rows of the weight, from `first` on.
    #[allow(unsafe_code)]
    fn columns(&self, weight: &[bf16], first: usize) {
        let mut sums = Sums([[[0.0; SIDE]; SIDE]; PANELS]);
        let mut filled: Option<Numbers<bf16>> = None;
        for (group, some) in weight.chunks(SIDE * self.k).enumerate() {
            let count = some.len() / self.k;
            // The processor reads 16 rows: what the weight lacks of them are zeros.
            let rows = if count < SIDE {
                let filled = filled.insert(Numbers::new(SIDE * self.k)).numbers_mut();
                filled[..some.len()].copy_from_slice(some);
                filled[some.len()..].fill(bf16::ZERO);
                &*filled
            } else {
                some
            };
            // What is missing of four panels is the last one again: multiplying it takes less time than reading does.
            let count_of_panels = self.m.div_ceil(SIDE);
            let panel = |index: usize| self.rows.panel(0, index.min(count_of_panels - 1));
            // SAFETY: `rows` are 16 of `k` numbers, the panels have the same depth, a multiple of 32; `columns` runs
            // within `with_registers`.
            unsafe { multiply(rows, self.k, std::array::from_fn(panel), &mut sums) };
            let column = first + group * SIDE;
            for (panel, sums) in sums.0.iter().take(count_of_panels).enumerate() {
                let finish = Finish {
                    earlier: self.addend.map(|addend| addend.at(panel * SIDE, column)),
                    bias: self.bias.map(|bias| bias[column..].as_ptr()),
                    out: self.out.at(panel * SIDE, column),
                };
                let rows = SIDE.min(self.m - panel * SIDE);
                debug_assert!(self.bias.is_none_or(|bias| column + count <= bias.len()));
                // SAFETY: AMX comes with AVX-512; the result is [m, n], whose columns from `column` on, `count` of
                // them, are this task's alone.
                unsafe { write(sums, rows, count, finish) };
            }
        }
    }
}

/// Writes `rows · panelᵀ` for four panels.
///
/// # Safety
/// The tile registers must be configured; `rows` must hold 16 rows of `k` numbers, a positive multiple of 32, and each
/// panel `k / 2` pairs of 16 rows.
#[allow(unsafe_code)]
unsafe fn multiply(rows: &[bf16], k: usize, panels: [&[u32]; PANELS], sums: &mut Sums) {
    debug_assert!(k > 0 && k.is_multiple_of(DEPTH) && rows.len() >= SIDE * k);
    debug_assert!(panels.iter().all(|panel| panel.len() >= k / 2 * SIDE));
    // SAFETY: each of `k / 32` rounds reads 64 bytes of 16 rows and a block of 16 pairs of each panel; asking for the
    // memory that follows, for these rows pass by only once, touches none of it. The sums of a panel are 1 KiB.
    unsafe {
        clear();
        asm!(
            "2:",
            "tileloadd tmm4, [{rows} + {step}]",
            ".set line, 0",
            ".rept 16",
            "prefetcht0 [{ahead} + line]",
            ".set line, line + 64",
            ".endr",
            "tileloadd tmm5, [{first} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{second} + {line}]",
            "tdpbf16ps tmm1, tmm4, tmm6",
            "tileloadd tmm7, [{third} + {line}]",
            "tdpbf16ps tmm2, tmm4, tmm7",
            "tileloadd tmm5, [{fourth} + {line}]",
            "tdpbf16ps tmm3, tmm4, tmm5",
            "add {rows}, 64",
            "add {ahead}, 1024",
            "add {first}, 1024",
            "add {second}, 1024",
            "add {third}, 1024",
            "add {fourth}, 1024",
            "dec {rounds}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            "tilestored [{sums} + {line} + 2048], tmm2",
            "tilestored [{sums} + {line} + 3072], tmm3",
            rows = inout(reg) rows.as_ptr() => _,
            ahead = inout(reg) rows.as_ptr().wrapping_add(SIDE * k) => _,
            step = in(reg) k * size_of::<bf16>(),
            first = inout(reg) panels[0].as_ptr() => _,
            second = inout(reg) panels[1].as_ptr() => _,
            third = inout(reg) panels[2].as_ptr() => _,
            fourth = inout(reg) panels[3].as_ptr() => _,
            line = in(reg) SIDE * size_of::<f32>(),
            rounds = inout(reg) k / DEPTH => _,
            sums = in(reg) sums,
            options(nostack),
        );
    }
}

/// Finishes and writes sums that lie as `[columns, rows]`.
///
/// # Safety
/// The machine must have AVX-512; the places in `finish` must hold `rows` by `columns` numbers, its bias `columns`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn write(sums: &[[f32; SIDE]; SIDE], rows: usize, columns: usize, finish: Finish) {
    let turned = transpose_sums(sums);
    for (row, sums) in turned.into_iter().take(rows).enumerate() {
        // SAFETY: the caller's promise; the mask leaves out columns that do not exist.
        unsafe { write_vector(sums, row, 0, first_16(columns), finish) };
    }
}
