//! Small dense pieces of f32 numbers: loading, transposing, multiplying and storing them.
//!
//! A tile holds up to [`TILE`] keys. Rows of a tile are padded to whole groups of [`LANES`] numbers, so that
//! every inner loop runs over full vectors and no kernel has a scalar tail.

use crate::Element;
use crate::isa::{Isa, fma, multiversion};

/// Numbers that loops handle at a time: one 512-bit vector.
pub(super) const LANES: usize = 16;

/// Keys per tile.
pub(super) const TILE: usize = 64;

/// One vector.
pub(super) type Lanes = [f32; LANES];

/// `count` rounded up to whole vectors.
pub(super) fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// The first `len` numbers of a scratch buffer that grows as needed and keeps what was in it.
pub(super) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// A matrix to be read with any strides.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub values: &'a [f32],
    /// Distance between rows.
    pub row: usize,
    /// Distance between numbers of a row.
    pub column: usize,
}

/// A matrix with contiguous rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub values: &'a [f32],
    /// Distance between rows.
    pub stride: usize,
}

multiversion! {
    /// `c[row][lane] (+)= Σ_i a[row, i] · b[i][lane]` for `rows` rows and `lanes` (a multiple of [`LANES`])
    /// numbers in each, over `inner` terms in order.
    pub(super) fn product(
        a: Strided<'_>,
        b: Rows<'_>,
        c: &mut [f32],
        c_stride: usize,
        rows: usize,
        inner: usize,
        lanes: usize,
        add: bool,
    ) {
        // Sums live in registers: 4 rows by 4 vectors of the 32 of AVX-512, by one vector elsewhere.
        let widest = if Isa::current() >= Isa::Avx512 { 4 } else { 1 };
        let mut lane = 0;
        while lane < lanes {
            let vectors = ((lanes - lane) / LANES).min(widest);
            let b = Rows { values: &b.values[lane..], stride: b.stride };
            let c = &mut c[lane..];
            match vectors {
                4 => {
                    columns::<FMA, 4>(a, b, c, c_stride, rows, inner, add);
                    lane += 4 * LANES;
                }
                2 | 3 => {
                    columns::<FMA, 2>(a, b, c, c_stride, rows, inner, add);
                    lane += 2 * LANES;
                }
                _ => {
                    columns::<FMA, 1>(a, b, c, c_stride, rows, inner, add);
                    lane += LANES;
                }
            }
        }
    }
}

/// All rows of a product, `V` vectors wide.
#[inline(always)]
fn columns<const FMA: bool, const V: usize>(
    a: Strided<'_>,
    b: Rows<'_>,
    c: &mut [f32],
    c_stride: usize,
    rows: usize,
    inner: usize,
    add: bool,
) {
    let mut row = 0;
    while row < rows {
        let a = Strided {
            values: &a.values[row * a.row..],
            ..a
        };
        let c = &mut c[row * c_stride..];
        match rows - row {
            1 => {
                block::<FMA, 1, V>(a, b, c, c_stride, inner, add);
                row += 1;
            }
            2 | 3 => {
                block::<FMA, 2, V>(a, b, c, c_stride, inner, add);
                row += 2;
            }
            _ => {
                block::<FMA, 4, V>(a, b, c, c_stride, inner, add);
                row += 4;
            }
        }
    }
}

/// `R` rows of a product, `V` vectors wide.
#[inline(always)]
fn block<const FMA: bool, const R: usize, const V: usize>(
    a: Strided<'_>,
    b: Rows<'_>,
    c: &mut [f32],
    c_stride: usize,
    inner: usize,
    add: bool,
) {
    let mut sums = [[[0.0f32; LANES]; V]; R];
    for i in 0..inner {
        let b_row: [Lanes; V] = vectors(&b.values[i * b.stride..]);
        for (r, sums) in sums.iter_mut().enumerate() {
            let factor = a.values[r * a.row + i * a.column];
            for v in 0..V {
                for l in 0..LANES {
                    sums[v][l] = fma::<FMA>(factor, b_row[v][l], sums[v][l]);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let row = &mut c[r * c_stride..][..V * LANES];
        for (out, sums) in row.chunks_exact_mut(LANES).zip(sums) {
            for l in 0..LANES {
                out[l] = if add { out[l] + sums[l] } else { sums[l] };
            }
        }
    }
}

/// The first `V` vectors of `values`.
#[inline(always)]
fn vectors<const V: usize>(values: &[f32]) -> [Lanes; V] {
    let values = &values[..V * LANES];
    let mut out = [[0.0; LANES]; V];
    for v in 0..V {
        out[v].copy_from_slice(&values[v * LANES..(v + 1) * LANES]);
    }
    out
}

multiversion! {
    /// Copies `rows` rows of `width` numbers, the first at `values[0]` and `stride` apart, times `scale` to `out`,
    /// each padded with zeros to whole vectors.
    pub(super) fn load_rows<T: Element>(
        values: &[T],
        stride: usize,
        rows: usize,
        width: usize,
        scale: f32,
        out: &mut [f32],
    ) {
        let padded = width.next_multiple_of(LANES);
        for (row, out) in out.chunks_exact_mut(padded).take(rows).enumerate() {
            let values = &values[row * stride..][..width];
            for (out, value) in out.iter_mut().zip(values) {
                *out = value.load() * scale;
            }
            out[width..].fill(0.0);
        }
    }
}

multiversion! {
    /// Rounds `values` times `scale` to the format of `out`.
    pub(super) fn store_row<T: Element>(values: &[f32], scale: f32, out: &mut [T]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = T::store(value * scale);
        }
    }
}

multiversion! {
    /// `out[column][row] = rows[row][column]` for the first `count` rows of a tile, `width` columns of each; rows of
    /// `out` are [`TILE`] apart. Lanes past the last row up to a whole vector become zero.
    pub(super) fn transpose(rows: &[f32], count: usize, width: usize, out: &mut [f32]) {
        let padded = width.next_multiple_of(LANES);
        for first_row in (0..count).step_by(LANES) {
            for first in (0..padded).step_by(LANES) {
                let mut square = [[0.0; LANES]; LANES];
                for (r, line) in square.iter_mut().enumerate().take(count - first_row) {
                    line.copy_from_slice(&rows[(first_row + r) * padded + first..][..LANES]);
                }
                for c in 0..LANES {
                    let line = &mut out[(first + c) * TILE + first_row..][..LANES];
                    for r in 0..LANES {
                        line[r] = square[r][c];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn multiplies_any_shape() {
        let mut random = Random(3);
        let mut numbers = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|_| (random.next() * 8.0).round() as f32)
                .collect()
        };
        for (rows, inner, lanes) in [
            (1, 1, 16),
            (2, 3, 32),
            (7, 5, 48),
            (16, 50, 64),
            (5, 9, 128),
        ] {
            let (a, b) = (numbers(rows * inner), numbers(inner * lanes));
            let before = numbers(rows * lanes);
            for (transposed, add) in [(false, false), (false, true), (true, false), (true, true)] {
                let (row, column) = if transposed { (1, rows) } else { (inner, 1) };
                let mut c = before.clone();
                let a = Strided {
                    values: &a,
                    row,
                    column,
                };
                let b = Rows {
                    values: &b,
                    stride: lanes,
                };
                product(a, b, &mut c, lanes, rows, inner, lanes, add);
                for r in 0..rows {
                    for l in 0..lanes {
                        let mut wanted = if add { before[r * lanes + l] } else { 0.0 };
                        for i in 0..inner {
                            wanted += a.values[r * row + i * column] * b.values[i * lanes + l];
                        }
                        assert_eq!(c[r * lanes + l], wanted);
                    }
                }
            }
        }
    }

    #[test]
    fn loads_and_transposes() {
        for (count, width, stride) in [(1, 1, 1), (50, 8, 11), (64, 64, 64), (17, 72, 100)] {
            let source: Vec<f32> = (0..count * stride).map(|i| i as f32).collect();
            let lanes = padded(width);
            let mut rows = vec![-1.0; count * lanes];
            load_rows(&source, stride, count, width, 2.0, &mut rows);
            let mut turned = vec![-1.0; lanes * TILE];
            transpose(&rows, count, width, &mut turned);
            for row in 0..padded(count) {
                for column in 0..lanes {
                    let inside = row < count && column < width;
                    let wanted = if inside {
                        source[row * stride + column] * 2.0
                    } else {
                        0.0
                    };
                    assert_eq!(turned[column * TILE + row], wanted);
                    if row < count {
                        assert_eq!(rows[row * lanes + column], wanted);
                    }
                }
            }
        }
    }
}
