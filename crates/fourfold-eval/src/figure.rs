//! A figure over samples: what of each adds up, and what is made of the sum.
//!
//! A mean is a sum divided by a count, corpus BLEU and METEOR are made of summed counts, F1 of four of them. So one
//! procedure gives each its total, its value over some of the samples, and its interval ([`crate::resample`]).

use std::sync::Arc;

/// What adds up over samples: so many terms of each, laid end to end.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    terms: usize,
    values: Vec<f64>,
}

impl Sums {
    /// The terms of each sample.
    pub fn new<const N: usize>(samples: impl Iterator<Item = [f64; N]>) -> Arc<Self> {
        Arc::new(Self {
            terms: N,
            values: samples.flatten().collect(),
        })
    }

    /// How many terms a sample has.
    pub fn terms(&self) -> usize {
        self.terms
    }

    /// Adds the terms of `sample` to `sums`.
    pub fn add(&self, sample: usize, sums: &mut [f64]) {
        let own = &self.values[sample * self.terms..(sample + 1) * self.terms];
        for (sum, value) in sums.iter_mut().zip(own) {
            *sum += value;
        }
    }
}

/// One figure of a list of samples.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its name in files, as `cider_d`.
    pub name: &'static str,
    /// What each sample scores by itself; nothing where the figure does not speak of it.
    pub samples: Vec<Option<f64>>,
    /// Figures made of the same sums share them.
    pub(crate) sums: Arc<Sums>,
    /// What is made of them.
    pub(crate) of: fn(&[f64]) -> f64,
}

impl Figure {
    /// The mean of `values`.
    pub fn mean(name: &'static str, values: Vec<f64>) -> Self {
        Self::mean_of_some(name, values.into_iter().map(Some).collect())
    }

    /// The mean of those samples that have a value.
    pub fn mean_of_some(name: &'static str, samples: Vec<Option<f64>>) -> Self {
        let terms = |value: &Option<f64>| value.map_or([0.0; 2], |value| [value, 1.0]);
        Self {
            name,
            sums: Sums::new(samples.iter().map(terms)),
            samples,
            of: |sums| quotient(sums[0], sums[1]),
        }
    }

    /// What `of` makes of `sums`.
    pub fn of_sums(
        name: &'static str,
        samples: Vec<Option<f64>>,
        sums: Arc<Sums>,
        of: fn(&[f64]) -> f64,
    ) -> Self {
        Self {
            name,
            samples,
            sums,
            of,
        }
    }

    /// The figure over all samples.
    pub fn total(&self) -> f64 {
        let mut sums = vec![0.0; self.sums.terms()];
        (0..self.samples.len()).for_each(|sample| self.sums.add(sample, &mut sums));
        (self.of)(&sums)
    }
}

/// A quotient, 0 of nothing.
pub(crate) fn quotient(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_leaves_out_what_has_no_value() {
        let figure = Figure::mean_of_some("m", vec![Some(1.0), None, Some(0.5)]);
        assert_eq!(figure.total(), 0.75);
        assert_eq!(Figure::mean("m", vec![]).total(), 0.0);
    }
}
