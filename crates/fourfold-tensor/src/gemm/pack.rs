//! Operands of a 16-bit product brought into the order in which a micro-kernel reads them.
//!
//! A `u32` holds a *pair*: neighbours along the summed dimension. What is missing at a ragged end is zero, which adds
//! nothing to a sum. Numbers in f32 are rounded to 16 bits on the way.

mod block;

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;
use half::{bf16, f16};
use rayon::prelude::*;

use super::Matrix;
use super::cut::{Cut, Part};
use super::kernel_avx512bf16::Avx512Bf16;
use super::lanes::SIDE;
use crate::ops::formats::convert;
use crate::pool::Words;
use crate::tensor::View;
pub(super) use block::transpose_sums;
use block::{Number, Source};

/// Pairs along the summed dimension of length `k` in whole blocks; at least one, so that an empty sum is one of zeros.
pub(super) fn pairs_of(k: usize) -> usize {
    k.div_ceil(2).max(1).next_multiple_of(SIDE)
}

/// Packs `rows` of `matrix: [m, k]`, `pairs` pairs of each from `first_pair` on, both multiples of [`SIDE`], into
/// `out` as [`super::kernel::Left`] says; rows and pairs that do not exist become zero.
pub(super) fn left<'a>(
    proof: Avx512Bf16,
    matrix: Matrix<'_>,
    rows: Range<usize>,
    first_pair: usize,
    pairs: usize,
    out: &'a mut Numbers<u32>,
) -> &'a [u32] {
    let (m, k) = (matrix.rows, matrix.columns);
    let len = rows.len().next_multiple_of(SIDE) * pairs;
    let numbers = &mut out.numbers_mut()[..len];
    let depth_contiguous = !matrix.transposed;
    with_source(matrix.view, m, k, depth_contiguous, |source| {
        source.fill_left(proof, rows.start, first_pair, pairs, numbers);
    });
    numbers
}

/// Panels of the right operand that one task packs: it reads 512 bytes of a row at a time.
const PANELS_PER_TASK: usize = 8;

/// The right operand in panels of some columns, `[parts, panels, pairs of the part, columns]`.
#[derive(Debug)]
pub(super) struct Right {
    numbers: Numbers<u32>,
    cut: Cut,
    columns: usize,
    panels: usize,
}

impl Right {
    /// Packs `matrix: [k, n]`; columns that do not exist become zero.
    pub(super) fn new(
        proof: Avx512Bf16,
        matrix: Matrix<'_>,
        cut: Cut,
        columns: usize,
        parallel: bool,
    ) -> Self {
        let (k, n) = (matrix.rows, matrix.columns);
        let panels = n.div_ceil(columns);
        let mut right = Self {
            numbers: Numbers::new(panels * columns * cut.pairs),
            cut,
            columns,
            panels,
        };
        let mut tasks = Vec::new();
        let mut rest = right.numbers.numbers_mut();
        for index in 0..cut.parts() {
            let part = cut.part(index);
            for panel in (0..panels).step_by(PANELS_PER_TASK) {
                let count = PANELS_PER_TASK.min(panels - panel);
                let (here, after) = rest.split_at_mut(count * columns * part.pairs);
                tasks.push((part, panel * columns, here));
                rest = after;
            }
        }
        with_source(matrix.view, n, k, matrix.transposed, |source| {
            let pack = |(part, column, out): (Part, usize, &mut [u32])| {
                source.fill_panels(proof, column, part, out, columns);
            };
            if parallel {
                std::mem::take(&mut tasks).into_par_iter().for_each(pack);
            } else {
                std::mem::take(&mut tasks).into_iter().for_each(pack);
            }
        });
        right
    }

    /// Whether it is of `n` columns in panels of `columns`, its sum cut by `cut`.
    pub(super) fn is_of(&self, n: usize, cut: Cut, columns: usize) -> bool {
        (self.panels, self.cut, self.columns) == (n.div_ceil(columns), cut, columns)
    }

    /// Panel `panel` of part `index` of the sum.
    pub(super) fn panel(&self, index: usize, panel: usize) -> &[u32] {
        let part = self.cut.part(index);
        let before = part.first * self.panels * self.columns;
        let len = part.pairs * self.columns;
        &self.numbers.numbers()[before + panel * len..][..len]
    }
}

/// Packs the right operand `matrix: [k, n]` as [`Right`] does, its sum in one part, into the beginning of `out`.
pub(super) fn panels(
    proof: Avx512Bf16,
    matrix: Matrix<'_>,
    columns: usize,
    out: &mut Numbers<u32>,
) {
    let (k, n) = (matrix.rows, matrix.columns);
    let part = Cut::new(pairs_of(k), usize::MAX).part(0);
    let out = &mut out.numbers_mut()[..n.next_multiple_of(columns) * part.pairs];
    with_source(matrix.view, n, k, matrix.transposed, |source| {
        source.fill_panels(proof, 0, part, out, columns);
    });
}

/// Calls `work` with the stored numbers as a source of either format; those of a third are brought into f32 first.
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
        View::F16(values) => {
            let mut wide = Numbers::<f32>::new(values.len());
            convert::<(f16, f32)>(values, wide.numbers_mut());
            work(&Source::<f32> {
                values: wide.numbers(),
                lines,
                depth,
                depth_contiguous,
            });
        }
    }
}

/// Filling packed memory from an operand of either format.
trait Fill: Sync {
    /// Writes groups of rows from `first_row` on, `pairs` pairs of each from `first_pair` on.
    fn fill_left(
        &self,
        proof: Avx512Bf16,
        first_row: usize,
        first_pair: usize,
        pairs: usize,
        out: &mut [u32],
    );
    /// Writes panels from `first_column` on, the pairs of `part` of each.
    fn fill_panels(
        &self,
        proof: Avx512Bf16,
        first_column: usize,
        part: Part,
        out: &mut [u32],
        columns: usize,
    );
}

#[allow(unsafe_code)]
impl<T: Number> Fill for Source<'_, T> {
    fn fill_left(
        &self,
        _proof: Avx512Bf16,
        first_row: usize,
        first_pair: usize,
        pairs: usize,
        out: &mut [u32],
    ) {
        // SAFETY: the proof says that this machine has the instructions.
        unsafe { self.groups(first_row, first_pair, pairs, out) }
    }

    fn fill_panels(
        &self,
        _proof: Avx512Bf16,
        first_column: usize,
        part: Part,
        out: &mut [u32],
        columns: usize,
    ) {
        // SAFETY: as above.
        unsafe { self.panels(first_column, part, out, columns) }
    }
}

/// Numbers of the pool.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    words: Words,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Numbers<T> {
    pub(super) fn new(len: usize) -> Self {
        Self {
            words: Words::take(len * size_of::<T>()),
            len,
            of: PhantomData,
        }
    }

    pub(super) fn numbers(&self) -> &[T] {
        self.words.as_slice(self.len)
    }

    pub(super) fn numbers_mut(&mut self) -> &mut [T] {
        self.words.as_mut_slice(self.len)
    }
}
