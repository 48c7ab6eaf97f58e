//! What the launches of the operations on a device have in common.

use std::sync::Arc;

use crate::device::{Gpu, GpuBuffer, Spread};
use crate::{Result, Tensor};

/// Numbers that one thread takes.
const PACK: usize = 8;
/// Threads of a block, unless a kernel says otherwise.
pub(super) const THREADS: u32 = 256;
/// Columns that one block sums.
const COLUMNS: usize = 32;

/// Rows of `width` numbers, eight of one row a thread.
pub(super) fn row_packs(rows: usize, width: usize) -> Spread {
    let packs = rows * width.div_ceil(PACK);
    Spread::row(packs.div_ceil(THREADS as usize), THREADS)
}

/// A block for each row of `width` numbers.
pub(super) fn rows(rows: usize, width: usize) -> Spread {
    const WARP: usize = 32;
    let threads = width.div_ceil(PACK).next_multiple_of(WARP);
    Spread::row(rows, threads.clamp(WARP, THREADS as usize) as u32)
}

/// How rows are cut whose columns are summed: at most 64 pieces, by the number of rows alone.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    pub count: usize,
    pub rows: usize,
}

impl Pieces {
    pub(super) fn of(rows: usize) -> Self {
        let each = 64.max(rows.div_ceil(64));
        Self {
            count: rows.div_ceil(each),
            rows: each,
        }
    }

    /// Blocks that each sum some columns of a piece.
    pub(super) fn spread(self, width: usize) -> Spread {
        Spread {
            grid: [width.div_ceil(COLUMNS) as u32, self.count as u32, 1],
            threads: THREADS,
            shared: 0,
        }
    }
}

/// A whole number as kernels take it. Extents of tensors that fit a device's memory fit it as well.
pub(super) fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A list of numbers of rows for kernels.
pub(super) fn upload(gpu: &Arc<Gpu>, numbers: &[u32]) -> Result<GpuBuffer> {
    GpuBuffer::of(gpu, numbers)
}

/// A tensor as long and in the same format.
pub(super) fn like(gpu: &Arc<Gpu>, tensor: &Tensor) -> Result<Tensor> {
    Tensor::on_gpu(gpu, tensor.shape(), tensor.precision())
}
