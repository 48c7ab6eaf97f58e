//! The sums. All of it is inlined into one function for each instruction set, where the compiler makes vectors of it.

use super::weights::{PRECISION, Taps};

/// What a sum begins with to be rounded.
pub(super) const HALF: i32 = 1 << (PRECISION - 1);

#[inline(always)]
fn round(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The samples of finished sums.
#[inline(always)]
pub(super) fn round_all(to: &mut [u8], sums: &[i32]) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = round(*sum);
    }
}

/// Adds a weighted line of samples to `sums`.
#[inline(always)]
pub(super) fn add(sums: &mut [i32], samples: &[u8], weight: i32) {
    for (sum, sample) in sums.iter_mut().zip(samples) {
        *sum += weight * i32::from(*sample);
    }
}

/// Lines that are resampled across at once: as many as a vector has lanes of 32 bits.
pub(super) const LINES: usize = 8;
/// Samples of one pixel of each of them.
const SAMPLES: usize = 3 * LINES;

/// Lines of pixels from at most [`LINES`] others that are equally long and begin with pixel `start`; those made follow
/// each other in `to`. Lines are turned into columns and back, because then what is added lies side by side.
#[inline(always)]
pub(super) fn across(to: &mut [u8], lines: &[&[u8]], taps: &Taps, start: usize) {
    // What is missing of a block is the last line again.
    let line = |row: usize| lines[row.min(lines.len() - 1)];
    let rows: [&[u8]; LINES] = std::array::from_fn(line);
    let mut columns = vec![0; rows[0].len() * LINES];
    for (at, column) in columns.as_chunks_mut::<LINES>().0.iter_mut().enumerate() {
        for (sample, row) in column.iter_mut().zip(rows) {
            *sample = row[at];
        }
    }
    let pixels = columns.as_chunks::<SAMPLES>().0;
    let mut made = vec![0; taps.len() * SAMPLES];
    for (tap, made) in taps.iter().zip(made.as_chunks_mut::<SAMPLES>().0) {
        let mut sums = [HALF; SAMPLES];
        for (pixel, weight) in pixels[tap.first - start..].iter().zip(tap.weights) {
            for (sum, sample) in sums.iter_mut().zip(pixel) {
                *sum += weight * i32::from(*sample);
            }
        }
        *made = sums.map(round);
    }
    let made = made.as_chunks::<LINES>().0;
    for (row, to) in to
        .chunks_exact_mut(made.len())
        .take(lines.len())
        .enumerate()
    {
        for (sample, column) in to.iter_mut().zip(made) {
            *sample = column[row];
        }
    }
}
