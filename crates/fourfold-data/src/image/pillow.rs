//! Resampling with Pillow's results to the bit: one axis after the other, rounded to 8 bits in between, with weights of
//! 22 fractional bits. Other libraries take the axes in another order, or round weights to 16 bits, and differ by a few
//! levels where contrasts are strong.

mod kernel;
mod weights;

use std::ops::Range;

use ::image::RgbImage;
use pulp::{Simd, WithSimd};

use super::Filter;
use kernel::{HALF, LINES, across, add, round_all};
use weights::{Taps, taps};

/// What happens along one axis: `from` samples become `to`, of which `len` from `start` on are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// An image on a larger area of one colour, which is never laid out in memory.
pub(super) struct Canvas<'a> {
    pub(super) image: &'a RgbImage,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Where the image's first column and row are.
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) color: [u8; 3],
}

impl<'a> Canvas<'a> {
    /// The image alone.
    pub(super) fn of(image: &'a RgbImage) -> Self {
        Self {
            image,
            width: image.width() as usize,
            height: image.height() as usize,
            left: 0,
            top: 0,
            color: [0; 3],
        }
    }

    /// The image in the middle of a square of its longer side; the odd pixel goes to the right or below.
    pub(super) fn square(image: &'a RgbImage, color: [u8; 3]) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let side = width.max(height);
        Self {
            image,
            width: side,
            height: side,
            left: (side - width) / 2,
            top: (side - height) / 2,
            color,
        }
    }

    /// Row `y`, `3 · width` bytes, from the image or made in `buffer`.
    fn row<'r>(&'r self, y: usize, buffer: &'r mut Vec<u8>) -> &'r [u8] {
        let (width, height) = (self.image.width() as usize, self.image.height() as usize);
        let from = y.checked_sub(self.top).filter(|y| *y < height);
        let from = from.map(|y| &self.image.as_raw()[3 * y * width..3 * (y + 1) * width]);
        if let Some(from) = from
            && width == self.width
        {
            return from;
        }
        buffer.resize(3 * self.width, 0);
        buffer.as_chunks_mut::<3>().0.fill(self.color);
        if let Some(from) = from {
            buffer[3 * self.left..3 * (self.left + width)].copy_from_slice(from);
        }
        buffer
    }

    /// The wanted part of the resized canvas, `[down.len, across.len, 3]`. Neither `len` is 0.
    pub(super) fn resample(&self, across: Axis, down: Axis, filter: Filter) -> Vec<u8> {
        let (columns, rows) = (taps(across, filter), taps(down, filter));
        let resample = Resample {
            canvas: self,
            down_first: down_first(across, down),
            columns: &columns,
            rows: &rows,
        };
        pulp::Arch::new().dispatch(resample)
    }
}

/// A canvas to be resampled with the instructions of this machine.
struct Resample<'a> {
    canvas: &'a Canvas<'a>,
    down_first: bool,
    columns: &'a Taps,
    rows: &'a Taps,
}

impl WithSimd for Resample<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<u8> {
        match self.down_first {
            true => self.down_then_across(),
            false => self.across_then_down(),
        }
    }
}

impl Resample<'_> {
    #[inline(always)]
    fn down_then_across(&self) -> Vec<u8> {
        let (canvas, columns, rows) = (self.canvas, self.columns, self.rows);
        let used = columns.span();
        let mut low = vec![0; 3 * used.len() * rows.len()];
        let mut sums = vec![0; 3 * used.len()];
        let mut buffer = Vec::new();
        for (to, tap) in low.chunks_exact_mut(3 * used.len()).zip(rows.iter()) {
            sums.fill(HALF);
            for (y, weight) in (tap.first..).zip(tap.weights) {
                let row = canvas.row(y, &mut buffer);
                add(&mut sums, &row[3 * used.start..3 * used.end], *weight);
            }
            round_all(to, &sums);
        }
        let mut result = vec![0; 3 * columns.len() * rows.len()];
        let lines: Vec<&[u8]> = low.chunks_exact(3 * used.len()).collect();
        let blocks = result.chunks_mut(3 * columns.len() * LINES);
        for (to, lines) in blocks.zip(lines.chunks(LINES)) {
            across(to, lines, columns, used.start);
        }
        result
    }

    #[inline(always)]
    fn across_then_down(&self) -> Vec<u8> {
        let (rows, width) = (self.rows, 3 * self.columns.len());
        let used = rows.span();
        let narrow = self.narrow(used.clone());
        let mut result = vec![0; width * rows.len()];
        let mut sums = vec![0; width];
        for (to, tap) in result.chunks_exact_mut(width).zip(rows.iter()) {
            sums.fill(HALF);
            let first = (tap.first - used.start) * width;
            for (row, weight) in narrow[first..].chunks_exact(width).zip(tap.weights) {
                add(&mut sums, row, *weight);
            }
            round_all(to, &sums);
        }
        result
    }

    /// The rows `used` of the canvas, resampled across.
    #[inline(always)]
    fn narrow(&self, used: Range<usize>) -> Vec<u8> {
        let (canvas, columns) = (self.canvas, self.columns);
        let width = 3 * columns.len();
        let mut narrow = vec![0; width * used.len()];
        let end = (canvas.top + canvas.image.height() as usize).min(used.end);
        let shown = canvas.top.clamp(used.start, end.max(used.start))..end;
        let mut buffers: [Vec<u8>; LINES] = std::array::from_fn(|_| Vec::new());
        for first in shown.clone().step_by(LINES) {
            let lines: Vec<&[u8]> = (first..shown.end)
                .zip(&mut buffers)
                .map(|(y, buffer)| canvas.row(y, buffer))
                .collect();
            across(
                &mut narrow[(first - used.start) * width..],
                &lines,
                columns,
                0,
            );
        }
        // One row of the background is like another.
        let mut blank = Vec::new();
        for y in used.clone().filter(|y| !shown.contains(y)) {
            if blank.is_empty() {
                blank.resize(width, 0);
                across(&mut blank, &[canvas.row(y, &mut buffers[0])], columns, 0);
            }
            narrow[(y - used.start) * width..][..width].copy_from_slice(&blank);
        }
        narrow
    }
}

/// Which axis Pillow takes first: across, unless the height shrinks by more than twice as many samples as the width.
/// (Since version 13; before, always across.)
fn down_first(across: Axis, down: Axis) -> bool {
    let less = |axis: Axis| axis.from as i64 - axis.to as i64;
    less(down) > 0 && less(down) > 2 * less(across)
}
