//! 16-bit products: the right operand is packed whole, the result is cut into blocks, and a task packs its rows of the
//! left operand and computes its block tile by tile.

use std::ops::Range;

use rayon::prelude::*;

use super::cut::{Cut, Part};
use super::grid::{Block, Grid};
use super::kernel::{Destination, Finish, Left, MicroKernel, Panel, Place};
use super::kernel_avx512bf16::Avx512Bf16;
use super::lanes::SIDE;
use super::pack::{self, Numbers, Right};
use super::{Matrix, Output, SMALL};

/// Columns whose sums wait at the same time for the next part, in a cache beside the packed rows: 256 KiB.
const COLUMNS_AT_ONCE: usize = 256;

/// Numbers of the next turn's right operand that a tile asks for with each of its pairs: with them, the 8 by 8 tiles of a
/// turn have asked for all of it.
const SOON_PER_PAIR: usize = 4;

/// `out (+)= a · b + bias`; see [`super::product`].
pub(super) fn product<K: MicroKernel>(
    kernel: K,
    packing: Avx512Bf16,
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
    output: Output<'_>,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    if m == 0 || n == 0 {
        return;
    }
    let parallel = m * n * k >= SMALL && rayon::current_num_threads() > 1;
    let cut = Cut::new(pack::pairs_of(k), K::DEPTH);
    let pack = || Right::new(packing, b, cut, K::COLUMNS, parallel);
    let kept = b.packed.filter(|_| b.transposed).map(|kept| &kept.right);
    if let Some(kept) = kept.filter(|kept| kept.get().is_none()) {
        // Not within `get_or_init`: packing shares its work, and who waits for the others' share may begin another
        // product with this weight. If that one was first, both have packed the same.
        let _ = kept.set(pack());
    }
    let fresh;
    let right = match kept.and_then(|kept| kept.get()) {
        Some(right) if right.is_of(n, cut, K::COLUMNS) => right,
        _ => {
            fresh = pack();
            &fresh
        }
    };
    let (out, addend) = Destination::of(output, n);
    let job = Job {
        kernel,
        packing,
        left: a,
        right,
        cut,
        bias,
        out,
        addend,
    };
    let threads = if parallel {
        rayon::current_num_threads()
    } else {
        1
    };
    let grid = Grid::new::<K>(m, n, threads);
    let run = |index: usize| job.block(grid.block(index));
    if parallel {
        (0..grid.blocks())
            .into_par_iter()
            .with_max_len(1)
            .for_each(run);
    } else {
        (0..grid.blocks()).for_each(run);
    }
}

/// A product with its right operand packed.
struct Job<'a, K> {
    kernel: K,
    packing: Avx512Bf16,
    left: Matrix<'a>,
    right: &'a Right,
    cut: Cut,
    bias: Option<&'a [f32]>,
    out: Destination,
    /// What is added to the product.
    addend: Option<Place<f32>>,
}

/// Sums of the tiles of a block between two parts, a tile after the other, each `[K::ROWS, K::COLUMNS]`.
struct Between {
    sums: Numbers<f32>,
    /// Tiles of a row.
    across: usize,
}

/// One part of the sums of some columns of a block.
struct Turn {
    block: Block,
    left: Left,
    /// Which part, and its pairs.
    index: usize,
    part: Part,
    /// The place of the first column's tiles in [`Between`].
    waits_from: usize,
    /// What of the right operand the next turn reads first.
    soon: *const u32,
}

impl<K: MicroKernel> Job<'_, K> {
    /// Computes one block, a stretch of its sums after the other.
    fn block(&self, block: Block) {
        let per_stretch = self.cut.parts_per_stretch();
        let stretches = self.cut.parts().div_ceil(per_stretch);
        // Sums that wait for the next stretch need places of their own, those within one only while it lasts.
        let waiting = match (self.cut.parts(), stretches) {
            (1, _) => 0,
            (_, 1) => COLUMNS_AT_ONCE.min(block.columns),
            _ => block.columns,
        };
        let across = waiting.div_ceil(K::COLUMNS);
        let tiles = across * block.rows.div_ceil(K::ROWS);
        let mut between = Between {
            sums: Numbers::new(tiles * K::ROWS * K::COLUMNS),
            across,
        };
        let packed = block.rows.next_multiple_of(SIDE) * self.cut.stretch_pairs();
        let mut packed = Numbers::new(packed);
        self.kernel.with_registers(|| {
            for stretch in 0..stretches {
                let end = self.cut.parts().min((stretch + 1) * per_stretch);
                let parts = stretch * per_stretch..end;
                self.stretch(block, parts, stretches > 1, &mut packed, &mut between);
            }
        });
    }

    /// Packs the rows of a block for some parts of the sums and computes these parts, some columns after the other.
    fn stretch(
        &self,
        block: Block,
        parts: Range<usize>,
        sums_wait: bool,
        packed: &mut Numbers<u32>,
        between: &mut Between,
    ) {
        let (first, last) = (self.cut.part(parts.start), self.cut.part(parts.end - 1));
        let pairs = last.first + last.pairs - first.first;
        let rows = block.row..block.row + block.rows;
        let left = pack::left(self.packing, self.left, rows, first.first, pairs, packed);
        let at_once = COLUMNS_AT_ONCE / K::COLUMNS * K::COLUMNS;
        let end = block.column + block.columns;
        for column in (block.column..end).step_by(at_once) {
            let some = Block {
                column,
                columns: at_once.min(end - column),
                ..block
            };
            let tiles_before = (column - block.column) / K::COLUMNS;
            for index in parts.clone() {
                let part = self.cut.part(index);
                let (next_part, next_column) = if index + 1 < parts.end {
                    (index + 1, column)
                } else {
                    (parts.start, (column + at_once).min(end - 1))
                };
                let turn = Turn {
                    block: some,
                    left: Left::of(&left[(part.first - first.first) * SIDE..], SIDE * pairs),
                    index,
                    part,
                    waits_from: if sums_wait { tiles_before } else { 0 },
                    soon: self
                        .right
                        .panel(next_part, next_column / K::COLUMNS)
                        .as_ptr(),
                };
                self.turn(&turn, between);
            }
        }
    }

    /// Computes all tiles of a turn. The rows of a tile stay in the nearest cache while the panels pass by, and the
    /// result is written along its rows.
    #[allow(unsafe_code)]
    fn turn(&self, turn: &Turn, between: &mut Between) {
        let Turn { block, part, .. } = turn;
        let (first, last) = (turn.index == 0, turn.index + 1 == self.cut.parts());
        let mut soon = turn.soon;
        for row in (0..block.rows).step_by(K::ROWS) {
            for column in (0..block.columns).step_by(K::COLUMNS) {
                let (down, across) = (block.row + row, block.column + column);
                let right = self.right.panel(turn.index, across / K::COLUMNS);
                let waiting = if first && last {
                    Place::of(&mut [], 0)
                } else {
                    let tile = row / K::ROWS * between.across + turn.waits_from;
                    between.tile::<K>(tile + column / K::COLUMNS)
                };
                let finish = Finish {
                    earlier: if first {
                        self.addend.map(|addend| addend.at(down, across))
                    } else {
                        Some(waiting)
                    },
                    bias: self
                        .bias
                        .filter(|_| last)
                        .map(|bias| bias[across..].as_ptr()),
                    out: if last {
                        self.out.at(down, across)
                    } else {
                        Destination::F32(waiting)
                    },
                };
                debug_assert!(self.bias.is_none_or(|bias| across
                    + K::COLUMNS.min(block.columns - column)
                    <= bias.len()));
                // SAFETY: `left` holds all rows of the block, filled up to whole groups, and `right` a panel, both of
                // `part.pairs` pairs, a multiple of `SIDE`; `super::product` checked that the result is
                // [rows, columns] and the bias [columns], and blocks, so tasks, do not overlap; `waiting` is a whole
                // tile that the part before wrote if this one reads it; all of it runs within `with_registers`.
                unsafe {
                    self.kernel.tile(
                        part.pairs,
                        turn.left.at(row),
                        Panel::of(right, soon),
                        K::ROWS.min(block.rows - row),
                        K::COLUMNS.min(block.columns - column),
                        finish,
                    );
                }
                soon = soon.wrapping_add(part.pairs * SOON_PER_PAIR);
            }
        }
    }
}

impl Between {
    /// The place of one tile's sums.
    fn tile<K: MicroKernel>(&mut self, index: usize) -> Place<f32> {
        let size = K::ROWS * K::COLUMNS;
        let sums = &mut self.sums.numbers_mut()[index * size..][..size];
        Place::of(sums, K::COLUMNS)
    }
}
