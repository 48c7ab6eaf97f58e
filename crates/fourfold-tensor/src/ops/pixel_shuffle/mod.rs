//! Neighbouring patches side by side: fewer, wider visual tokens.

mod gpu;
#[cfg(test)]
mod reference;

use super::formats::with_numbers;
use crate::device::common;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Result, Tape, Tensor, TensorError};

/// `x: [images · grid_h · grid_w, width]` → `[images · (grid_h/factor) · (grid_w/factor), width · factor²]` in the
/// precision of `x`.
///
/// A row of the result holds the rows of a block of `factor × factor` patches, row by row within the block (the
/// space-to-depth that SmolVLM calls pixel shuffle, Marafioti et al., arXiv 2504.05299). `grid` is `(grid_h, grid_w)`.
///
/// # Errors
/// When the rows are not whole grids or the grid's sides are not multiples of `factor`.
pub fn pixel_shuffle(
    tape: &Tape<'_>,
    x: &Tensor,
    grid: (usize, usize),
    factor: usize,
) -> Result<Tensor> {
    let (down, across) = grid;
    let fits = factor > 0
        && down * across > 0
        && down.is_multiple_of(factor)
        && across.is_multiple_of(factor)
        && x.rows().is_multiple_of(down * across);
    if !fits {
        return Err(TensorError::shape(
            "pixel_shuffle",
            format!(
                "x {:?} on a grid of {down} x {across}; expected rows for whole grids and sides that are multiples \
                 of {factor}",
                x.shape()
            ),
        ));
    }
    let blocks = Blocks {
        down,
        across,
        factor,
        width: x.width(),
    };
    let square = factor * factor;
    let shape = [x.rows() / square, x.width() * square];
    if let Some(gpu) = common("pixel_shuffle", [x])? {
        return gpu::pixel_shuffle(gpu, tape, x, blocks, &shape);
    }
    let y = with_numbers!(x, |x| blocks.gather(x, &shape));
    let (node, shape) = (x.node, x.shape().to_vec());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dx = with_numbers!(dy, |dy| blocks.scatter(dy, &shape));
        flow.add(node, dx)
    }))
}

#[derive(Clone, Copy)]
struct Blocks {
    down: usize,
    across: usize,
    factor: usize,
    width: usize,
}

impl Blocks {
    /// Where patch `row` goes: its place, counted in patches, in the result.
    fn place(self, row: usize) -> usize {
        let Self {
            down,
            across,
            factor,
            ..
        } = self;
        let (image, y, x) = (row / (down * across), row / across % down, row % across);
        let block = (image * (down / factor) + y / factor) * (across / factor) + x / factor;
        (block * factor + y % factor) * factor + x % factor
    }

    /// The inverse of [`Blocks::place`].
    fn source(self, place: usize) -> usize {
        let Self {
            down,
            across,
            factor,
            ..
        } = self;
        let (block, y, x) = (
            place / (factor * factor),
            place / factor % factor,
            place % factor,
        );
        let line = block / (across / factor) * factor + y;
        let (image, line) = (line / down, line % down);
        (image * down + line) * across + block % (across / factor) * factor + x
    }

    fn gather<T: Storable>(self, x: &[T], shape: &[usize]) -> Tensor {
        self.copy(x, shape, Self::source)
    }

    fn scatter<T: Storable>(self, dy: &[T], shape: &[usize]) -> Tensor {
        self.copy(dy, shape, Self::place)
    }

    /// Patch *i* of the result is patch `from(i)` of `x`.
    fn copy<T: Storable>(
        self,
        x: &[T],
        shape: &[usize],
        from: impl Fn(Self, usize) -> usize + Sync,
    ) -> Tensor {
        let width = self.width;
        Tensor::build::<T>(shape, |out| {
            for_rows(out, width, |first, out| {
                for (row, out) in out.chunks_exact_mut(width).enumerate() {
                    out.copy_from_slice(&x[from(self, first + row) * width..][..width]);
                }
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for (images, grid, factor, width) in [
            (1, (1, 1), 1, 1),
            (2, (4, 2), 2, 5),
            (3, (6, 9), 3, 16),
            (2, (14, 14), 2, 33),
            (1, (7, 14), 7, 31),
            (0, (4, 2), 2, 5),
        ] {
            testing::check_operation(
                &Case::new(&[&[images * grid.0 * grid.1, width]]),
                |tape, inputs| pixel_shuffle(tape, &inputs[0], grid, factor),
                &reference::PixelShuffle {
                    images,
                    grid,
                    factor,
                    width,
                },
            );
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let error = |rows, grid, factor| {
            pixel_shuffle(&tape, &Tensor::zeros(&[rows, 3]), grid, factor)
                .expect_err("refused")
                .to_string()
        };
        assert!(error(12, (3, 4), 2).contains("3 x 4"));
        assert!(error(13, (4, 4), 2).contains("[13, 3]"));
        assert!(error(0, (0, 4), 2).contains("0 x 4"));
        assert!(error(16, (4, 4), 0).contains("multiples of 0"));
    }
}
