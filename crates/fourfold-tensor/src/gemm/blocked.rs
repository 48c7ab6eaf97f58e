//! 16-bit products: the right operand is packed whole, the result is cut into blocks, and a task packs its rows of the
//! left operand and computes its block tile by tile.

use rayon::prelude::*;

use super::cut::{Cut, Part};
use super::kernel::{Destination, Finish, Left, MicroKernel, Place};
use super::kernel_avx512bf16::Avx512Bf16;
use super::lanes::SIDE;
use super::pack::{self, Aligned, Right};
use super::{Matrix, Output, SMALL};

/// Rows of a task's block where the result is large: packed, a stretch of them takes 512 KiB.
const BLOCK_ROWS: usize = 256;
/// Columns whose sums wait at the same time for the next part, in a cache beside the packed rows: 256 KiB.
const COLUMNS_AT_ONCE: usize = 256;
/// Fewest columns of a task's block, so that packing its rows is worth it.
const FEWEST_COLUMNS: usize = 256;
/// Blocks wanted for each thread: more would balance better and pack more rows twice.
const BLOCKS_PER_THREAD: usize = 2;

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
    let (rows, columns) = job.block_size(n, threads);
    let across = n.div_ceil(columns);
    let blocks = m.div_ceil(rows) * across;
    let run = |block: usize| {
        let (row, column) = (block / across * rows, block % across * columns);
        job.block(Block {
            row,
            column,
            rows: rows.min(m - row),
            columns: columns.min(n - column),
        });
    };
    if parallel {
        (0..blocks).into_par_iter().with_max_len(1).for_each(run);
    } else {
        (0..blocks).for_each(run);
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

/// Some rows and columns of the result.
#[derive(Clone, Copy)]
struct Block {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

/// Sums of the tiles of a block between two parts, a tile after the other, each `[K::ROWS, K::COLUMNS]`.
struct Between {
    sums: Aligned<f32>,
    /// Tiles of a row.
    across: usize,
}

impl<K: MicroKernel> Job<'_, K> {
    /// Rows and columns of a task's block: halved from the largest until every thread gets some. Only the order of
    /// work follows from it, never the result.
    fn block_size(&self, n: usize, threads: usize) -> (usize, usize) {
        let (mut rows, mut columns) = (BLOCK_ROWS, n);
        let blocks =
            |rows: usize, columns: usize| self.left.rows.div_ceil(rows) * n.div_ceil(columns);
        while threads > 1 && blocks(rows, columns) < threads * BLOCKS_PER_THREAD {
            if columns > 2 * FEWEST_COLUMNS || (rows <= 2 * SIDE && columns > K::COLUMNS) {
                columns = columns.div_ceil(2).next_multiple_of(K::COLUMNS);
            } else if rows > 2 * SIDE {
                rows /= 2;
            } else {
                break;
            }
        }
        (rows, columns.next_multiple_of(K::COLUMNS))
    }

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
            sums: Aligned::new(tiles * K::ROWS * K::COLUMNS),
            across,
        };
        let packed = block.rows.next_multiple_of(SIDE) * self.cut.stretch_pairs();
        let mut packed = Aligned::new(packed);
        let at_once = COLUMNS_AT_ONCE / K::COLUMNS * K::COLUMNS;
        self.kernel.with_registers(|| {
            for stretch in 0..stretches {
                let parts =
                    stretch * per_stretch..self.cut.parts().min((stretch + 1) * per_stretch);
                let (first, last) = (self.cut.part(parts.start), self.cut.part(parts.end - 1));
                let pairs = last.first + last.pairs - first.first;
                let rows = block.row..block.row + block.rows;
                let left = pack::left(
                    self.packing,
                    self.left,
                    rows,
                    first.first,
                    pairs,
                    &mut packed,
                );
                for column in (0..block.columns).step_by(at_once) {
                    let some = Block {
                        column: block.column + column,
                        columns: at_once.min(block.columns - column),
                        ..block
                    };
                    let waits_from = if stretches > 1 {
                        column / K::COLUMNS
                    } else {
                        0
                    };
                    for index in parts.clone() {
                        let part = self.cut.part(index);
                        let left = Left {
                            start: left[(part.first - first.first) * SIDE..].as_ptr(),
                            tile_step: SIDE * pairs,
                        };
                        let next = if index + 1 < parts.end {
                            (index + 1, some.column)
                        } else {
                            (
                                parts.start,
                                (some.column + at_once).min(block.column + block.columns - 1),
                            )
                        };
                        let ahead = self.right.panel(next.0, next.1 / K::COLUMNS).as_ptr();
                        self.tiles(some, left, index, part, &mut between, waits_from, ahead);
                    }
                }
            }
        });
    }

    /// Computes all tiles of a block for one part of the sum. The rows of
    /// a tile stay in the nearest cache while the panels pass by, and the result is written along its rows.
    #[allow(unsafe_code)]
    fn tiles(
        &self,
        block: Block,
        left: Left,
        index: usize,
        part: Part,
        between: &mut Between,
        waits_from: usize,
        ahead: *const u32,
    ) {
        let across = block.columns.div_ceil(K::COLUMNS);
        let last = index + 1 == self.cut.parts();
        for row in (0..block.rows).step_by(K::ROWS) {
            for (number, column) in (0..block.columns).step_by(K::COLUMNS).enumerate() {
                let right = self
                    .right
                    .panel(index, (block.column + column) / K::COLUMNS);
                let out = self.out.at(block.row + row, block.column + column);
                let waiting = if self.cut.parts() > 1 {
                    let tile = (row / K::ROWS) * between.across + waits_from + number;
                    let size = K::ROWS * K::COLUMNS;
                    let sums = &mut between.sums.numbers_mut()[tile * size..][..size];
                    Place::of(sums, K::COLUMNS)
                } else {
                    Place::of(&mut [], 0)
                };
                let finish = Finish {
                    earlier: if index > 0 {
                        Some(waiting)
                    } else {
                        let at =
                            |addend: Place<f32>| addend.at(block.row + row, block.column + column);
                        self.addend.map(at)
                    },
                    bias: self
                        .bias
                        .filter(|_| last)
                        .map(|bias| bias[block.column + column..].as_ptr()),
                    out: if last { out } else { Destination::F32(waiting) },
                };
                // SAFETY: `left` holds all rows of the block, filled up to whole groups, and `right` a panel, both of
                // `part.pairs` pairs, a multiple of `SIDE`; `super::product` checked that the result is
                // [rows, columns] and the bias [columns], and blocks, so tasks, do not overlap; `waiting` is a whole
                // tile that the part before wrote if this one reads it; all of it runs within `with_registers`.
                unsafe {
                    self.kernel.tile(
                        part.pairs,
                        left.at(row),
                        right.as_ptr(),
                        ahead.wrapping_add((row / K::ROWS * across + number) * part.pairs * 4),
                        K::ROWS.min(block.rows - row),
                        K::COLUMNS.min(block.columns - column),
                        finish,
                    );
                }
            }
        }
    }
}
