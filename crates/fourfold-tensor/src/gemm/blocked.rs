//! 16-bit products: operands are packed, the result is cut into blocks that tasks compute tile by tile.

use rayon::prelude::*;

use super::kernel::{Destination, Finish, MicroKernel, Place};
use super::kernel_avx512bf16::Avx512Bf16;
use super::{Matrix, Output, SMALL, pack};
use crate::pool::Words;

/// Pairs that a tile sums before it goes on to the next: 8 rows of `left` of this depth fit the first-level cache
/// beside a stream of `right` (32 rows, as AMX takes them, the second-level one), 4 panels of `right` the
/// second-level one. Longer sums are cut at fixed places, so that
/// a result does not depend on the number of threads.
const DEPTH: usize = 512;
/// Rows and panels of a task's block where the result is large.
const BLOCK_ROWS: usize = 128;
const BLOCK_PANELS: usize = 4;
/// Blocks wanted for each thread, so that none waits long for the last.
const BLOCKS_PER_THREAD: usize = 4;

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
    let pairs = pack::pairs_of(k).next_multiple_of(K::PAIRS);
    let left = pack::Left::new(packing, a, pairs, parallel);
    let right = pack::right(packing, b, [pairs, K::COLUMNS], parallel);
    let (left_pairs, left_step) = left.pairs();
    let (out, accumulate) = match output {
        Output::F32 { out, accumulate } => (Destination::F32(Place::of(out, n)), accumulate),
        Output::Bf16(out) => (Destination::Bf16(Place::of(out, n)), false),
    };
    let job = Job {
        kernel,
        rows: m,
        columns: n,
        pairs,
        left: Place::reading(left_pairs, left_step),
        right: right.numbers(),
        bias,
        out,
        accumulate,
    };
    let threads = if parallel {
        rayon::current_num_threads()
    } else {
        1
    };
    let (rows, columns) = job.block_size(threads);
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

/// A product with its operands packed.
struct Job<'a, K> {
    kernel: K,
    rows: usize,
    columns: usize,
    pairs: usize,
    left: Place<u32>,
    right: &'a [u32],
    bias: Option<&'a [f32]>,
    out: Destination,
    accumulate: bool,
}

/// The part of the result that one task computes.
struct Block {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

impl<K: MicroKernel> Job<'_, K> {
    /// Rows and columns of a block: halved from the largest until every thread gets some. Only the order of work
    /// follows from it, never the result.
    fn block_size(&self, threads: usize) -> (usize, usize) {
        let (mut rows, mut panels) = (BLOCK_ROWS.next_multiple_of(K::ROWS), BLOCK_PANELS);
        let blocks = |rows: usize, panels: usize| {
            self.rows.div_ceil(rows) * self.columns.div_ceil(panels * K::COLUMNS)
        };
        while threads > 1 && blocks(rows, panels) < threads * BLOCKS_PER_THREAD {
            if rows > 2 * K::ROWS && rows >= panels * K::COLUMNS / 2 {
                rows = (rows / 2).next_multiple_of(K::ROWS);
            } else if panels > 1 {
                panels /= 2;
            } else {
                break;
            }
        }
        (rows, panels * K::COLUMNS)
    }

    /// Computes one block, part after part of a long sum.
    fn block(&self, block: Block) {
        let part = self
            .pairs
            .div_ceil(self.pairs.div_ceil(DEPTH))
            .next_multiple_of(K::PAIRS);
        let parts = self.pairs.div_ceil(part);
        let out = self.out.at(block.row, block.column);
        // A 16-bit result cannot hold the sums between parts.
        let mut memory = None;
        let between = match out {
            Destination::F32(out) => out,
            Destination::Bf16(_) if parts == 1 => Place::of(&mut [], 0),
            Destination::Bf16(_) => {
                let len = block.rows * block.columns;
                let words = memory.insert(Words::take(len * size_of::<f32>()));
                Place::of(words.as_mut_slice(len), block.columns)
            }
        };
        for index in 0..parts {
            let last = index + 1 == parts;
            let finish = Finish {
                earlier: (index > 0 || self.accumulate).then_some(between),
                bias: self
                    .bias
                    .filter(|_| last)
                    .map(|bias| bias[block.column..].as_ptr()),
                out: if last { out } else { Destination::F32(between) },
            };
            let first = index * part;
            self.tiles(&block, first, part.min(self.pairs - first), finish);
        }
    }

    /// Computes all tiles of a block for one part of the sum. The rows of a tile stay in a cache while the panels
    /// pass by.
    #[allow(unsafe_code)]
    fn tiles(&self, block: &Block, first_pair: usize, pairs: usize, finish: Finish) {
        for row in (0..block.rows).step_by(K::ROWS) {
            for column in (0..block.columns).step_by(K::COLUMNS) {
                let panel = (block.column + column) / K::COLUMNS;
                let right = &self.right[(panel * self.pairs + first_pair) * K::COLUMNS..];
                // SAFETY: `pairs`, a part, is a multiple of `K::PAIRS` as the whole is; `left` holds `rows` rows of
                // `pairs` numbers and the tile's rows are among them; the panel holds `pairs` rows, from `first_pair`
                // at least `pairs` more; `super::product` checked that the result is [rows, columns] and the bias
                // [columns], and blocks, so tasks, do not overlap.
                unsafe {
                    self.kernel.tile(
                        pairs,
                        self.left.at(block.row + row, first_pair),
                        right.as_ptr(),
                        K::ROWS.min(block.rows - row),
                        K::COLUMNS.min(block.columns - column),
                        finish.at(row, column),
                    );
                }
            }
        }
    }
}
