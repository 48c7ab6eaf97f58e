//! The softmax of a tile of scores, and its gradient.

use std::ops::Range;

use super::tile::{LANES, Lanes, TILE};
use crate::exp::exp_fused;
use crate::isa::multiversion;

/// Which lanes of a tile each row of a block sees.
pub(super) struct Sight<'a> {
    /// First visible key of each row of the block.
    pub start: &'a [u32],
    /// One past the last.
    pub end: &'a [u32],
    /// The first key of the tile.
    pub first_key: usize,
    /// Lanes that some row of the block sees, from a whole vector on.
    pub lanes: Range<usize>,
}

impl<'a> Sight<'a> {
    /// What rows with the intervals `start` to `end` see of `keys`: nothing, or a span of lanes.
    pub(super) fn new(start: &'a [u32], end: &'a [u32], keys: Range<usize>) -> Option<Self> {
        let first = start.iter().min().map_or(0, |first| *first as usize);
        let last = end.iter().max().map_or(0, |last| *last as usize);
        let (first, last) = (first.max(keys.start), last.min(keys.end));
        (first < last).then(|| Self {
            start,
            end,
            first_key: keys.start,
            lanes: (first - keys.start) / LANES * LANES..last - keys.start,
        })
    }

    /// The span rounded up to whole vectors.
    pub(super) fn vectors(&self) -> Range<usize> {
        self.lanes.start..self.lanes.end.next_multiple_of(LANES)
    }

    /// Zeroes the lanes of `[rows, TILE]` numbers that no row of the block sees.
    pub(super) fn clear_unseen(&self, numbers: &mut [f32]) {
        let span = self.vectors();
        for row in numbers.chunks_exact_mut(TILE) {
            row[..span.start].fill(0.0);
            row[span.end..].fill(0.0);
        }
    }

    /// The lanes that `row` of the block sees: the first and how many.
    #[inline(always)]
    fn row(&self, row: usize) -> (i32, u32) {
        let last = (self.first_key + self.lanes.end) as u32;
        let count = self.end[row].min(last).saturating_sub(self.start[row]);
        (self.start[row] as i32 - self.first_key as i32, count)
    }
}

/// Whether `lane` is among the `count` lanes from `first`; one comparison, so that it becomes a vector mask.
#[inline(always)]
fn visible(lane: usize, first: i32, count: u32) -> bool {
    ((lane as i32 - first) as u32) < count
}

multiversion! {
    /// Turns scores `[rows, TILE]` into `e^(score - max)`, zero where the row does not look, with `max` the
    /// largest score of the row so far; `sum` is carried along and `correction` is what earlier sums and weighted
    /// values must be multiplied with.
    pub(super) fn online(
        scores: &mut [f32],
        sight: &Sight<'_>,
        max: &mut [f32],
        sum: &mut [f32],
        correction: &mut [f32],
    ) {
        let span = sight.vectors();
        // Three loops over the rows, so that the one exponential a row needs is a vector operation too.
        let rows = scores.chunks_exact_mut(TILE).zip(&*max).zip(&mut *correction);
        for (row, ((scores, max), new_max)) in rows.enumerate() {
            let (first, count) = sight.row(row);
            let scores = &mut scores[span.clone()];
            if !(visible(span.start, first, count) && visible(span.end - 1, first, count)) {
                for (lane, score) in scores.iter_mut().enumerate() {
                    let seen = visible(span.start + lane, first, count);
                    *score = if seen { *score } else { f32::NEG_INFINITY };
                }
            }
            let larger = |a: f32, b: f32| if a > b { a } else { b };
            let mut largest = [*max; LANES];
            for scores in scores.chunks_exact(LANES) {
                for l in 0..LANES {
                    largest[l] = larger(scores[l], largest[l]);
                }
            }
            *new_max = reduce(largest, larger);
        }
        for (max, correction) in max.iter_mut().zip(&mut *correction) {
            let new_max = *correction;
            *correction = exp_fused::<FMA>(*max - base(new_max));
            *max = new_max;
        }
        let rows = scores.chunks_exact_mut(TILE).zip(&*max).zip(&*correction).zip(sum);
        for (((scores, max), correction), sum) in rows {
            let base = base(*max);
            let mut total = [0.0; LANES];
            for scores in scores[span.clone()].chunks_exact_mut(LANES) {
                for l in 0..LANES {
                    let weight = exp_fused::<FMA>(scores[l] - base);
                    scores[l] = weight;
                    total[l] += weight;
                }
            }
            *sum = *sum * correction + reduce(total, |a, b| a + b);
        }
    }
}

multiversion! {
    /// Turns scores into probabilities `e^(score - log_sum)` and the gradients of probabilities into those of
    /// scores, `probability · (gradient - delta)`, both `[rows, TILE]` and zero where the row does not look.
    pub(super) fn gradient(
        scores: &mut [f32],
        gradients: &mut [f32],
        sight: &Sight<'_>,
        log_sum: &[f32],
        delta: &[f32],
    ) {
        let span = sight.vectors();
        let rows = scores.chunks_exact_mut(TILE).zip(gradients.chunks_exact_mut(TILE));
        for (row, ((scores, gradients), (log_sum, delta))) in
            rows.zip(log_sum.iter().zip(delta)).enumerate()
        {
            let (first, count) = sight.row(row);
            // Arrays, not slices, and numbers, not places: without either the compiler makes vector code of the loop in
            // one build and not in the next.
            let (log_sum, delta) = (*log_sum, *delta);
            let (scores, _) = scores[span.clone()].as_chunks_mut::<LANES>();
            let (gradients, _) = gradients[span.clone()].as_chunks_mut::<LANES>();
            for (vector, (scores, gradients)) in scores.iter_mut().zip(gradients).enumerate() {
                for l in 0..LANES {
                    let seen = visible(span.start + vector * LANES + l, first, count);
                    let probability = exp_fused::<FMA>(scores[l] - log_sum);
                    let gradient = probability * (gradients[l] - delta);
                    scores[l] = if seen { probability } else { 0.0 };
                    gradients[l] = if seen { gradient } else { 0.0 };
                }
            }
        }
    }
}

multiversion! {
    /// Multiplies each row of `values`, `stride` numbers long, by its factor; rows whose factor is 1 are left alone.
    pub(super) fn scale_rows(values: &mut [f32], stride: usize, factors: &[f32]) {
        for (row, factor) in values.chunks_exact_mut(stride).zip(factors) {
            if *factor != 1.0 {
                row.iter_mut().for_each(|value| *value *= factor);
            }
        }
    }
}

multiversion! {
    /// `delta[row] = Σ a[row] · b[row]` for rows of `stride` numbers, a multiple of [`LANES`].
    pub(super) fn row_products(a: &[f32], b: &[f32], stride: usize, delta: &mut [f32]) {
        let rows = a.chunks_exact(stride).zip(b.chunks_exact(stride));
        for ((a, b), delta) in rows.zip(delta) {
            let mut total = [0.0; LANES];
            for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
                for l in 0..LANES {
                    total[l] += a[l] * b[l];
                }
            }
            *delta = reduce(total, |a, b| a + b);
        }
    }
}

/// What to subtract from scores whose maximum is `max`: a row that has seen nothing yet has none.
#[inline(always)]
fn base(max: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// Combines the lanes pairwise.
#[inline(always)]
fn reduce(mut lanes: Lanes, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] = combine(lanes[l], lanes[l + half]);
        }
        half /= 2;
    }
    lanes[0]
}
