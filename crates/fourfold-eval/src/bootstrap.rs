//! How sure a mean over samples is: the percentile bootstrap (Efron 1979), seeded.

use serde::Serialize;

use crate::EvalError;

/// A mean with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Mean of the values.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Share of such intervals that hold the true mean, such as 0.95.
    pub level: f64,
}

/// Confidence interval of the mean of `values` from `resamples` draws with replacement.
///
/// The same arguments give the same interval on every machine. To compare two models, give the
/// differences of their scores on the same samples: the better one is better beyond chance where the
/// interval leaves out 0. For corpus BLEU, which is no mean over samples, this says nothing.
///
/// # Errors
/// No values, a value that is not finite, a level outside 0..1, or no resamples.
pub fn bootstrap_mean(
    values: &[f64],
    level: f64,
    resamples: usize,
    seed: u64,
) -> Result<Interval, EvalError> {
    if values.is_empty() {
        return Err(EvalError::Empty);
    }
    if let Some(index) = values.iter().position(|v| !v.is_finite()) {
        return Err(EvalError::NotFinite {
            position: index + 1,
            value: values[index],
        });
    }
    if !(level > 0.0 && level < 1.0) {
        return Err(EvalError::Level(level));
    }
    if resamples == 0 {
        return Err(EvalError::NoResamples);
    }
    let count = values.len();
    let mut random = SplitMix64(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| (0..count).map(|_| values[random.below(count)]).sum::<f64>() / count as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Ok(Interval {
        mean: values.iter().sum::<f64>() / count as f64,
        low: quantile(&means, tail),
        high: quantile(&means, 1.0 - tail),
        level,
    })
}

/// The quantile at `share` of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
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

    #[test]
    fn interval_agrees_with_the_normal_approximation() {
        // 400 answers, 300 right: standard error sqrt(0.75 * 0.25 / 400) = 0.02165.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 4 != 0)).collect();
        let interval = bootstrap_mean(&values, 0.95, 4000, 7).unwrap();
        assert!((interval.mean - 0.75).abs() < 1e-12);
        assert!(
            (interval.low - (0.75 - 1.96 * 0.02165)).abs() < 0.005,
            "{interval:?}"
        );
        assert!(
            (interval.high - (0.75 + 1.96 * 0.02165)).abs() < 0.005,
            "{interval:?}"
        );
        assert_eq!(interval, bootstrap_mean(&values, 0.95, 4000, 7).unwrap());
        // With few resamples the seed shows.
        let rough = |seed| bootstrap_mean(&values, 0.95, 20, seed).unwrap();
        assert!((1..9).any(|seed| rough(seed) != rough(0)));
        let narrow = bootstrap_mean(&values, 0.5, 4000, 7).unwrap();
        assert!(narrow.high - narrow.low < interval.high - interval.low);
    }

    #[test]
    fn one_value_has_no_spread() {
        let interval = bootstrap_mean(&[0.3], 0.9, 10, 0).unwrap();
        assert_eq!(
            (interval.low, interval.mean, interval.high),
            (0.3, 0.3, 0.3)
        );
    }

    #[test]
    fn bad_arguments_are_refused() {
        assert_eq!(bootstrap_mean(&[], 0.9, 10, 0), Err(EvalError::Empty));
        assert!(matches!(
            bootstrap_mean(&[1.0, f64::NAN], 0.9, 10, 0),
            Err(EvalError::NotFinite { position: 2, .. })
        ));
        for level in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(matches!(
                bootstrap_mean(&[1.0], level, 10, 0),
                Err(EvalError::Level(_))
            ));
        }
        assert_eq!(
            bootstrap_mean(&[1.0], 0.9, 0, 0),
            Err(EvalError::NoResamples)
        );
    }
}
