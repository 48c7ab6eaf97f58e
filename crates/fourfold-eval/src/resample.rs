//! How sure a figure is: the percentile bootstrap (Efron 1979) over samples, and the paired one (Koehn 2004) for the
//! difference of two systems on the same samples. The same arguments give the same result on every machine.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::figure::{Figure, Sums};

/// Figures that differ by less are equal.
const EQUAL: f64 = 1e-9;

/// Draws that are usual.
pub const RESAMPLES: usize = 1000;

/// The ends of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How one system differs from another on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The second figure less the first.
    pub difference: f64,
    /// Of the difference, at 95 %.
    pub interval: Interval,
    /// The share of draws, twice, in which the sign is the other one or none: how likely so large a difference is by
    /// the choice of samples alone. At most 1.
    pub p: f64,
}

/// The intervals of `figures`, all of the same samples, that hold 95 % of `resamples` draws with replacement.
pub fn intervals(figures: &[Figure], resamples: usize, seed: u64) -> Vec<Interval> {
    let drawn = draws(figures, resamples, seed);
    (0..figures.len())
        .map(|figure| interval(drawn.iter().map(|values| values[figure]).collect()))
        .collect()
}

/// How each figure of `others` differs from the one of `figures` in its place; all are of the same samples.
pub fn paired(
    figures: &[Figure],
    others: &[Figure],
    resamples: usize,
    seed: u64,
) -> Vec<Difference> {
    let both: Vec<Figure> = figures.iter().chain(others).cloned().collect();
    let drawn = draws(&both, resamples, seed);
    figures
        .iter()
        .zip(others)
        .enumerate()
        .map(|(place, (figure, other))| {
            let differences: Vec<f64> = drawn
                .iter()
                .map(|values| values[figures.len() + place] - values[place])
                .collect();
            let difference = other.total() - figure.total();
            let against = differences.iter().filter(|d| **d * difference <= 0.0);
            // Less is rounding, as of BLEU where nothing matches.
            let share = match difference.abs() < EQUAL {
                true => 1.0,
                false => against.count() as f64 / differences.len().max(1) as f64,
            };
            Difference {
                difference,
                interval: interval(differences),
                p: (2.0 * share).min(1.0),
            }
        })
        .collect()
}

/// The value of each figure in each draw.
fn draws(figures: &[Figure], resamples: usize, seed: u64) -> Vec<Vec<f64>> {
    let count = figures.first().map_or(0, |figure| figure.samples.len());
    let mut tables: Vec<&Arc<Sums>> = Vec::new();
    for figure in figures {
        if !tables.iter().any(|known| Arc::ptr_eq(known, &figure.sums)) {
            tables.push(&figure.sums);
        }
    }
    let draw = |number: usize| {
        let mut random = SplitMix64(seed ^ (number as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93));
        let mut sums: Vec<Vec<f64>> = tables.iter().map(|t| vec![0.0; t.terms()]).collect();
        for _ in 0..count {
            let sample = random.below(count);
            for (table, sums) in tables.iter().zip(&mut sums) {
                table.add(sample, sums);
            }
        }
        let value = |figure: &Figure| {
            let table = tables.iter().position(|t| Arc::ptr_eq(t, &figure.sums));
            table.map_or(f64::NAN, |table| (figure.of)(&sums[table]))
        };
        figures.iter().map(value).collect()
    };
    (0..resamples).into_par_iter().map(draw).collect()
}

/// The middle 95 % of values.
fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    Interval {
        low: quantile(&values, 0.025),
        high: quantile(&values, 0.975),
    }
}

/// The quantile at `share` of sorted values, linear between neighbours; NaN of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// SplitMix64 (Steele, Lea and Flood 2014): a few lines that no dependency's new version changes.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..count`. The high half of a wide product; its bias is below `count / 2^64`.
    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: Vec<f64>) -> Figure {
        Figure::mean("m", values)
    }

    #[test]
    fn intervals_agree_with_the_normal_approximation() {
        // 400 answers, 300 right: standard error sqrt(0.75 * 0.25 / 400) = 0.02165.
        let right = mean((0..400).map(|i| f64::from(i % 4 != 0)).collect());
        let found = intervals(std::slice::from_ref(&right), 4000, 7);
        assert!((found[0].low - (0.75 - 1.96 * 0.02165)).abs() < 0.005);
        assert!((found[0].high - (0.75 + 1.96 * 0.02165)).abs() < 0.005);
        assert_eq!(found, intervals(std::slice::from_ref(&right), 4000, 7));
        // With few draws the seed shows.
        let rough = |seed| intervals(std::slice::from_ref(&right), 20, seed);
        assert!((1..9).any(|seed| rough(seed) != rough(0)));
    }

    #[test]
    fn one_value_has_no_spread_and_none_no_interval() {
        let found = intervals(&[mean(vec![0.3])], 10, 0);
        assert_eq!((found[0].low, found[0].high), (0.3, 0.3));
        assert!(intervals(&[], 10, 0).is_empty());
    }

    #[test]
    fn pairs_are_surer_than_their_sides() {
        // The second system is right where the first is, and on 12 of 400 samples more.
        let first: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let mut second = first.clone();
        (0..24).step_by(2).for_each(|i| second[i] = 1.0);
        let (first, second) = ([mean(first)], [mean(second)]);
        let found = paired(&first, &second, 2000, 3)[0];
        assert!((found.difference - 0.03).abs() < 1e-12);
        assert!(found.interval.low > 0.01 && found.interval.high < 0.05);
        assert!(found.p < 0.01);
        let reversed = paired(&second, &first, 2000, 3)[0];
        assert_eq!(reversed.difference, -found.difference);
        let same = paired(&first, &first, 200, 3)[0];
        assert_eq!((same.difference, same.p), (0.0, 1.0));
    }
}
