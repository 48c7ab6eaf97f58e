//! Operands of a 16-bit product brought into the order in which a micro-kernel reads them.
//!
//! A `u32` holds a *pair*: neighbours along the summed dimension. What is missing at a ragged end is zero, which adds
//! nothing to a sum. Numbers in f32 are rounded to 16 bits on the way.

mod block;

use half::bf16;
use rayon::prelude::*;

use super::Matrix;
use super::kernel_avx512bf16::Avx512Bf16;
use crate::pool::Words;
use crate::tensor::View;
pub(super) use block::first_16;
use block::{Number, SIDE, Source};

/// Bytes of a cache line: packed numbers begin on one, so that no vector straddles two.
const LINE: usize = 64;
/// Rows of this many pairs lie 4 KiB apart and would share one set of the first-level cache.
const PAIRS_OF_ONE_SET: usize = 1024;
/// Rows of the left operand that one task packs.
const ROWS_PER_TASK: usize = 4 * SIDE;

/// Pairs along the summed dimension of length `k`; at least one, so that an empty sum is a pair of zeros.
pub(super) fn pairs_of(k: usize) -> usize {
    k.div_ceil(2).max(1)
}

/// The left operand as row-major pairs, `[m, row_step]`.
pub(super) enum Left<'a> {
    /// As it is stored: 16-bit rows of an even length need no packing.
    Stored { pairs: &'a [u32], row_step: usize },
    /// Rounded, transposed or padded into memory of its own.
    Packed { pairs: Aligned, row_step: usize },
}

impl<'a> Left<'a> {
    /// Packs `matrix: [m, k]` where it must be, for rows of `pairs` pairs.
    pub(super) fn new(proof: Avx512Bf16, matrix: Matrix<'a>, pairs: usize, parallel: bool) -> Self {
        let (rows, k) = (matrix.rows, matrix.columns);
        if let (false, View::Bf16(values)) = (matrix.transposed, matrix.view)
            && k == 2 * pairs
            && !pairs.is_multiple_of(PAIRS_OF_ONE_SET)
            && let Ok(stored) = bytemuck::try_cast_slice(values)
        {
            return Self::Stored {
                pairs: stored,
                row_step: pairs,
            };
        }
        let mut row_step = pairs.next_multiple_of(SIDE);
        if row_step.is_multiple_of(PAIRS_OF_ONE_SET) {
            row_step += SIDE;
        }
        let mut pairs = Aligned::new(rows * row_step);
        let depth_contiguous = !matrix.transposed;
        with_source(matrix.view, rows, k, depth_contiguous, |source| {
            for_pieces(
                pairs.numbers_mut(),
                ROWS_PER_TASK * row_step,
                parallel,
                |piece, out| source.fill_rows(proof, piece * ROWS_PER_TASK, out, row_step),
            );
        });
        Self::Packed { pairs, row_step }
    }

    /// The pairs and how far rows lie apart.
    pub(super) fn pairs(&self) -> (&[u32], usize) {
        match self {
            Self::Stored { pairs, row_step } => (pairs, *row_step),
            Self::Packed { pairs, row_step } => (pairs.numbers(), *row_step),
        }
    }
}

/// The right operand `matrix: [k, n]` as panels of `columns` columns, `[panels, pairs, columns]`.
pub(super) fn right(
    proof: Avx512Bf16,
    matrix: Matrix<'_>,
    [pairs, columns]: [usize; 2],
    parallel: bool,
) -> Aligned {
    let (k, n) = (matrix.rows, matrix.columns);
    let panel = pairs * columns;
    let mut panels = Aligned::new(n.div_ceil(columns) * panel);
    with_source(matrix.view, n, k, matrix.transposed, |source| {
        for_pieces(panels.numbers_mut(), panel, parallel, |index, out| {
            source.fill_panel(proof, index * columns, out, columns);
        });
    });
    panels
}

/// Calls `work` with the stored numbers as a source of either format.
fn with_source(
    view: View<'_>,
    lines: usize,
    depth: usize,
    depth_contiguous: bool,
    mut work: impl FnMut(&dyn Fill),
) {
    match view {
        View::F32(values) => work(&Source::<f32> {
            values,
            lines,
            depth,
            depth_contiguous,
        }),
        View::Bf16(values) => work(&Source::<bf16> {
            values,
            lines,
            depth,
            depth_contiguous,
        }),
    }
}

/// Filling packed memory from an operand of either format.
trait Fill: Sync {
    /// Writes rows of pairs from `first_row` on.
    fn fill_rows(&self, proof: Avx512Bf16, first_row: usize, out: &mut [u32], row_step: usize);
    /// Writes one panel that begins at `first_column`.
    fn fill_panel(&self, proof: Avx512Bf16, first_column: usize, out: &mut [u32], columns: usize);
}

#[allow(unsafe_code)]
impl<T: Number> Fill for Source<'_, T> {
    fn fill_rows(&self, _proof: Avx512Bf16, first_row: usize, out: &mut [u32], row_step: usize) {
        // SAFETY: the proof says that this machine has the instructions.
        unsafe { self.rows(first_row, out, row_step) }
    }

    fn fill_panel(&self, _proof: Avx512Bf16, first_column: usize, out: &mut [u32], columns: usize) {
        // SAFETY: as above.
        unsafe { self.panel(first_column, out, columns) }
    }
}

/// Calls `work(index, piece)` for pieces of `len` numbers.
fn for_pieces(
    out: &mut [u32],
    len: usize,
    parallel: bool,
    work: impl Fn(usize, &mut [u32]) + Sync,
) {
    if parallel {
        let pieces = out.par_chunks_mut(len).enumerate();
        pieces.for_each(|(index, piece)| work(index, piece));
    } else {
        let pieces = out.chunks_mut(len).enumerate();
        pieces.for_each(|(index, piece)| work(index, piece));
    }
}

/// Memory from the pool that begins on a cache line.
pub(super) struct Aligned {
    words: Words,
    first: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let words = Words::take(len * size_of::<u32>() + LINE);
        let start = words.as_slice::<u32>(len).as_ptr() as usize;
        Self {
            words,
            first: (start.next_multiple_of(LINE) - start) / size_of::<u32>(),
            len,
        }
    }

    pub(super) fn numbers(&self) -> &[u32] {
        &self.words.as_slice(self.first + self.len)[self.first..]
    }

    fn numbers_mut(&mut self) -> &mut [u32] {
        &mut self.words.as_mut_slice(self.first + self.len)[self.first..]
    }
}
