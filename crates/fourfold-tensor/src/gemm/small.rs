//! Small products of f32 matrices in 16 bits, whose packed operands the caller keeps: what attention is made of.

use super::Matrix;
use super::kernel::{Destination, Finish, Left, MicroKernel, Panel, Place};
use super::kernel_amx::Amx;
use super::kernel_avx512bf16::Avx512Bf16;
use super::lanes::SIDE;
use super::pack::{self, Numbers};
use crate::Precision;

const COLUMNS: usize = <Amx as MicroKernel>::COLUMNS;
const ROWS: usize = <Amx as MicroKernel>::ROWS;

/// Proof that this machine multiplies small matrices faster in 16 bits than in 32.
#[derive(Clone, Copy)]
pub(crate) struct SmallProducts {
    amx: Amx,
    packing: Avx512Bf16,
}

/// An operand, packed; made anew with each packing, in the same memory where that suffices.
#[derive(Default)]
pub(crate) struct Packed {
    numbers: Option<Numbers<u32>>,
    /// Pairs of the summed dimension, in whole blocks.
    pairs: usize,
    /// Rows of a left operand, columns of a right one.
    lines: usize,
}

impl Packed {
    /// Memory for `lines`, in whole tiles, of a sum of length `depth`.
    fn prepare(&mut self, lines: usize, depth: usize) -> &mut Numbers<u32> {
        self.pairs = pack::pairs_of(depth);
        self.lines = lines;
        let len = lines.next_multiple_of(ROWS) * self.pairs;
        let kept = self
            .numbers
            .take()
            .filter(|numbers| numbers.numbers().len() >= len);
        self.numbers
            .insert(kept.unwrap_or_else(|| Numbers::new(len)))
    }

    fn numbers(&self) -> &[u32] {
        self.numbers.as_ref().map_or(&[], Numbers::numbers)
    }
}

impl SmallProducts {
    /// The products, where `precision` allows them and this machine has them.
    pub(crate) fn find(precision: Precision) -> Option<Self> {
        if precision != Precision::Bf16 {
            return None;
        }
        Some(Self {
            amx: Amx::find()?,
            packing: Avx512Bf16::find()?,
        })
    }

    /// Calls `work`, with the registers that products need made ready.
    pub(crate) fn session<T>(self, work: impl FnOnce(Session) -> T) -> T {
        self.amx.with_registers(|| work(Session(self)))
    }
}

/// The registers are ready.
#[derive(Clone, Copy)]
pub(crate) struct Session(SmallProducts);

impl Session {
    /// Packs a left operand `[rows, depth]`.
    pub(crate) fn left(self, matrix: Matrix<'_>, out: &mut Packed) {
        let memory = out.prepare(matrix.rows, matrix.columns);
        let pairs = pack::pairs_of(matrix.columns);
        pack::left(self.0.packing, matrix, 0..matrix.rows, 0, pairs, memory);
    }

    /// Packs a right operand `[depth, columns]`.
    pub(crate) fn right(self, matrix: Matrix<'_>, out: &mut Packed) {
        let memory = out.prepare(matrix.columns, matrix.rows);
        pack::panels(self.0.packing, matrix, COLUMNS, memory);
    }

    /// `out (+)= left · right` for `rows` rows of `left` from `first` on, a multiple of 16; rows of `out` are `stride`
    /// numbers apart.
    ///
    /// # Panics
    /// When the operands were packed for sums of different lengths, or the result does not fit `out`.
    #[allow(unsafe_code)]
    pub(crate) fn multiply(
        self,
        (left, first, rows): (&Packed, usize, usize),
        right: &Packed,
        out: &mut [f32],
        stride: usize,
        add: bool,
    ) {
        if rows == 0 || right.lines == 0 {
            return;
        }
        assert!(
            left.pairs == right.pairs
                && first + rows <= left.lines
                && right.lines <= stride
                && (rows - 1) * stride + right.lines <= out.len()
        );
        let pairs = left.pairs;
        let from = Left::of(left.numbers(), SIDE * pairs);
        let place = Place::of(out, stride);
        for column in (0..right.lines).step_by(COLUMNS) {
            let panel = &right.numbers()[column * pairs..];
            let panel = Panel::of(panel, panel.as_ptr());
            for row in (0..rows).step_by(ROWS) {
                let place = place.at(row, column);
                let finish = Finish {
                    earlier: add.then_some(place),
                    bias: None,
                    out: Destination::F32(place),
                };
                // SAFETY: a session exists only within `with_registers`; `prepare` made room for whole tiles of
                // `pairs` pairs, a multiple of `SIDE`, and the packing filled them; the assertion above keeps the
                // result within `out`, which is borrowed mutably.
                unsafe {
                    self.0.amx.tile(
                        pairs,
                        from.at(first + row),
                        panel,
                        ROWS.min(rows - row),
                        COLUMNS.min(right.lines - column),
                        finish,
                    );
                }
            }
        }
    }
}
