//! Positions of one grid of patches for another, as `transformers` interpolates them.

use crate::ImageSize;

/// The cubic filter's parameter without antialiasing, PyTorch's.
const SHARP: f64 = -0.75;
/// With antialiasing: that of Pillow and of PyTorch's antialiased filters.
const SOFT: f64 = -0.5;

/// `values: [from.height · from.width, width]` → `[to.height · to.width, width]`: bicubic, corners not aligned, values
/// outside being those of the edge; with `antialias` the filter widens where the grid shrinks, and stops at the edge.
pub(super) fn interpolate(
    values: &[f32],
    from: ImageSize,
    to: ImageSize,
    width: usize,
    antialias: bool,
) -> Vec<f32> {
    let down = Taps::all(from.height, to.height, antialias);
    let across = Taps::all(from.width, to.width, antialias);
    let mut out = Vec::with_capacity(to.area() * width);
    for row in &down {
        // Columns of the wanted row at the grid's own columns.
        let mut line = vec![0.0; from.width * width];
        for (y, weight) in &row.0 {
            let values = &values[y * from.width * width..][..from.width * width];
            for (sum, value) in line.iter_mut().zip(values) {
                *sum += weight * f64::from(*value);
            }
        }
        for column in &across {
            let mut cell = vec![0.0; width];
            for (x, weight) in &column.0 {
                for (sum, value) in cell.iter_mut().zip(&line[x * width..][..width]) {
                    *sum += weight * value;
                }
            }
            out.extend(cell.iter().map(|value| *value as f32));
        }
    }
    out
}

/// The cells that a wanted cell is made of, with their weights.
struct Taps(Vec<(usize, f64)>);

impl Taps {
    fn all(from: usize, to: usize, antialias: bool) -> Vec<Self> {
        let step = from as f64 / to as f64;
        let taps = |cell: usize| {
            let centre = (cell as f64 + 0.5) * step;
            match antialias {
                true => Self::soft(centre, step, from),
                false => Self::sharp(centre - 0.5, from),
            }
        };
        (0..to).map(taps).collect()
    }

    /// Four cells around `at`, those beyond the edge being the edge's.
    fn sharp(at: f64, from: usize) -> Self {
        let first = at.floor() as isize - 1;
        let tap = |cell: isize| {
            let place = cell.clamp(0, from as isize - 1) as usize;
            (place, cubic(at - cell as f64, SHARP))
        };
        Self((first..first + 4).map(tap).collect())
    }

    /// All cells within two steps of `centre`, as many as there are; their weights are brought to a sum of 1.
    fn soft(centre: f64, step: f64, from: usize) -> Self {
        let scale = step.max(1.0);
        let reach = 2.0 * scale;
        let first = ((centre - reach + 0.5).max(0.0)) as usize;
        let last = ((centre + reach + 0.5).min(from as f64)) as usize;
        let weight = |cell: usize| cubic((cell as f64 - centre + 0.5) / scale, SOFT);
        let taps: Vec<_> = (first..last).map(|cell| (cell, weight(cell))).collect();
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        Self(
            taps.into_iter()
                .map(|(cell, weight)| (cell, weight / sum))
                .collect(),
        )
    }
}

/// The cubic convolution kernel (Keys, 1981) at distance `x` with parameter `a`.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_grid_stays_and_a_constant_stays_constant() {
        let values: Vec<f32> = (0..24).map(|i| (i * i) as f32).collect();
        let from = ImageSize {
            height: 3,
            width: 4,
        };
        for antialias in [false, true] {
            let same = interpolate(&values, from, from, 2, antialias);
            assert!(same.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-4));
            for to in [(1, 1), (7, 2), (5, 9)] {
                let (height, width) = to;
                let to = ImageSize { height, width };
                let found = interpolate(&[2.5; 24], from, to, 2, antialias);
                assert_eq!(found.len(), 2 * to.area());
                assert!(found.iter().all(|value| (value - 2.5).abs() < 1e-6), "{to}");
            }
        }
    }
}
