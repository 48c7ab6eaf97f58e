//! How often which number occurs.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Bars of a histogram at most.
const BARS: usize = 12;
/// Characters of the longest bar.
const WIDTH: usize = 40;

/// A distribution of whole numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

/// A bar of a histogram: how many numbers lie in `from..=to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Bin {
    /// The smallest number.
    pub from: u64,
    /// The largest number.
    pub to: u64,
    /// How many there are.
    pub count: u64,
}

impl Counts {
    /// Notes one more number.
    pub fn add(&mut self, number: u64) {
        *self.counts.entry(number).or_default() += 1;
        self.total += 1;
    }

    /// How many numbers there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The sum of all.
    pub fn sum(&self) -> u64 {
        self.counts
            .iter()
            .map(|(number, count)| number * count)
            .sum()
    }

    /// The smallest; 0 of none.
    pub fn smallest(&self) -> u64 {
        self.counts.keys().next().copied().unwrap_or(0)
    }

    /// The largest; 0 of none.
    pub fn largest(&self) -> u64 {
        self.counts.keys().next_back().copied().unwrap_or(0)
    }

    /// The mean; 0 of none.
    pub fn mean(&self) -> f64 {
        self.sum() as f64 / self.total.max(1) as f64
    }

    /// The smallest number that at least the part `part` of all do not exceed; 0 of none.
    pub fn quantile(&self, part: f64) -> u64 {
        let wanted = (part * self.total as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        for (number, count) in &self.counts {
            passed += count;
            if passed >= wanted {
                return *number;
            }
        }
        0
    }

    /// Equally wide bins; numbers far above the rest share the last one.
    pub fn bins(&self) -> Vec<Bin> {
        let (low, high) = (self.smallest(), self.largest());
        // One of a million that is very long must not push all others into one bar.
        let usual = self.quantile(0.99);
        let high_shown = if high - low > 4 * (usual - low).max(1) {
            usual
        } else {
            high
        };
        let width = nice((high_shown - low + 1).div_ceil(BARS as u64));
        let first = low / width * width;
        let last = (high_shown - first) / width;
        let mut bins: Vec<Bin> = (0..=last)
            .map(|bin| Bin {
                from: first + bin * width,
                to: first + bin * width + width - 1,
                count: 0,
            })
            .collect();
        for (number, count) in &self.counts {
            bins[((number - first) / width).min(last) as usize].count += count;
        }
        if let Some(bin) = bins.last_mut() {
            bin.to = bin.to.max(high);
        }
        if self.total == 0 {
            bins.clear();
        }
        bins
    }

    /// The bins as lines of bars.
    pub fn histogram(&self) -> String {
        let bins = self.bins();
        let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1);
        let name = |bin: &Bin| match bin.from == bin.to {
            true => bin.from.to_string(),
            false => format!("{}–{}", bin.from, bin.to),
        };
        let wide = bins.iter().map(|bin| name(bin).chars().count()).max();
        let wide = wide.unwrap_or(0);
        let line = |bin: &Bin| {
            let length = (bin.count as f64 / most as f64 * WIDTH as f64).round() as usize;
            let length = length.max(usize::from(bin.count > 0));
            let bar = "█".repeat(length);
            format!("  {:>wide$} {bar:<WIDTH$} {}", name(bin), bin.count)
        };
        bins.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The distribution in a line.
    pub fn summary(&self) -> String {
        if self.total > 0 && self.smallest() == self.largest() {
            return format!("all {}", self.largest());
        }
        format!(
            "{} to {}, mean {:.1}, median {}, 90 % at most {}, 99 % at most {}",
            self.smallest(),
            self.largest(),
            self.mean(),
            self.quantile(0.5),
            self.quantile(0.9),
            self.quantile(0.99)
        )
    }
}

/// The next of 1, 2, 5, 10, 20, …
fn nice(width: u64) -> u64 {
    let mut scale = 1;
    loop {
        for step in [1, 2, 5] {
            if step * scale >= width {
                return step * scale;
            }
        }
        scale *= 10;
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Counts", 8)?;
        record.serialize_field("count", &self.total)?;
        record.serialize_field("min", &self.smallest())?;
        record.serialize_field("max", &self.largest())?;
        record.serialize_field("mean", &self.mean())?;
        record.serialize_field("median", &self.quantile(0.5))?;
        record.serialize_field("p90", &self.quantile(0.9))?;
        record.serialize_field("p99", &self.quantile(0.99))?;
        record.serialize_field("histogram", &self.bins())?;
        record.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: impl IntoIterator<Item = u64>) -> Counts {
        let mut counts = Counts::default();
        numbers.into_iter().for_each(|number| counts.add(number));
        counts
    }

    #[test]
    fn quantiles_and_mean() {
        let counts = counts(1..=100);
        assert_eq!(
            (
                counts.quantile(0.5),
                counts.quantile(0.99),
                counts.quantile(1.0)
            ),
            (50, 99, 100)
        );
        assert_eq!(
            (counts.mean(), counts.sum(), counts.total()),
            (50.5, 5050, 100)
        );
        assert_eq!(Counts::default().quantile(0.5), 0);
    }

    #[test]
    fn bins_hold_all_and_an_outlier_does_not_flatten_them() {
        let all = counts((0..1000).map(|n| n % 30).chain([100_000]));
        let bins = all.bins();
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 1001);
        assert!(bins.len() > 5 && bins.len() <= BARS + 1, "{bins:?}");
        assert_eq!(bins.last().unwrap().to, 100_000);
        assert_eq!(
            counts([7, 7]).bins(),
            [Bin {
                from: 7,
                to: 7,
                count: 2
            }]
        );
        assert_eq!(counts([7, 7]).summary(), "all 7");
        assert!(Counts::default().bins().is_empty());
        assert!(counts([1, 1, 2]).histogram().lines().count() == 2);
    }
}
