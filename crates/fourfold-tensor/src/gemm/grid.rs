//! How a result is cut into the blocks that tasks compute. Only the order of work follows from it, never the result.

use super::kernel::MicroKernel;
use super::lanes::SIDE;

/// Rows of a task's block where the result is large: packed, a stretch of them takes 576 KiB at most.
const BLOCK_ROWS: usize = 256;
/// Fewest columns of a task's block, so that packing its rows is worth it.
const FEWEST_COLUMNS: usize = 256;
/// Blocks wanted for each thread: more would balance better and pack more rows twice.
const BLOCKS_PER_THREAD: usize = 2;

/// Some rows and columns of the result.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// The first of each.
    pub row: usize,
    pub column: usize,
    /// How many of each.
    pub rows: usize,
    pub columns: usize,
}

/// The blocks of a result, numbered along its rows.
pub(super) struct Grid {
    rows: usize,
    columns: usize,
    /// Rows of a tile, and tiles in a column.
    tile: usize,
    tiles: usize,
    /// Blocks in a column, of as many tiles each, and in a row.
    down: usize,
    across: usize,
    /// Columns of a block but the last of a row.
    width: usize,
}

impl Grid {
    /// Halves blocks from the largest until every thread gets some, then takes more of fewer rows until all threads get
    /// as many.
    pub(super) fn new<K: MicroKernel>(rows: usize, columns: usize, threads: usize) -> Self {
        let tile = K::ROWS.max(SIDE);
        let (mut height, mut width) = (BLOCK_ROWS, columns);
        let blocks = |height: usize, width: usize| rows.div_ceil(height) * columns.div_ceil(width);
        while threads > 1 && blocks(height, width) < threads * BLOCKS_PER_THREAD {
            if width > 2 * FEWEST_COLUMNS || (height <= 2 * SIDE && width > K::COLUMNS) {
                width = width.div_ceil(2).next_multiple_of(K::COLUMNS);
            } else if height > 2 * SIDE {
                height /= 2;
            } else {
                break;
            }
        }
        let width = width.next_multiple_of(K::COLUMNS);
        let tiles = rows.div_ceil(tile);
        let across = columns.div_ceil(width);
        let mut down = rows.div_ceil(height);
        while down < tiles && !(down * across).is_multiple_of(threads) {
            down += 1;
        }
        Self {
            rows,
            columns,
            tile,
            tiles,
            down,
            across,
            width,
        }
    }

    pub(super) fn blocks(&self) -> usize {
        self.down * self.across
    }

    pub(super) fn block(&self, index: usize) -> Block {
        let (down, across) = (index / self.across, index % self.across);
        let row = down * self.tiles / self.down * self.tile;
        let end = (down + 1) * self.tiles / self.down * self.tile;
        let column = across * self.width;
        Block {
            row,
            column,
            rows: end.min(self.rows) - row,
            columns: self.width.min(self.columns - column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel_amx::Amx;
    use super::*;

    #[test]
    fn blocks_cover_the_result_once() {
        for threads in [1, 2, 3, 8, 17] {
            for rows in [1, 15, 33, 64, 200, 257, 1137] {
                for columns in [1, 31, 64, 513, 768, 3072] {
                    let grid = Grid::new::<Amx>(rows, columns, threads);
                    let mut covered = 0;
                    let mut heights = Vec::new();
                    for index in 0..grid.blocks() {
                        let block = grid.block(index);
                        assert!(block.rows > 0 && block.rows <= BLOCK_ROWS);
                        assert!(block.row.is_multiple_of(Amx::ROWS));
                        assert!(block.row + block.rows <= rows);
                        assert!(block.column + block.columns <= columns);
                        covered += block.rows * block.columns;
                        heights.push(block.rows);
                    }
                    assert_eq!(covered, rows * columns, "{rows} by {columns}");
                    heights.sort_unstable();
                    let (low, high) = (heights[0], heights[heights.len() - 1]);
                    // The last one may also lack some rows of a tile.
                    assert!(high - low < 2 * Amx::ROWS, "{low} and {high} rows");
                }
            }
        }
    }
}
