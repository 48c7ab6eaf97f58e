//! The order of draws from several sources: endless, decided by a seed, resumable at any point.

mod order;

use std::sync::Arc;

use rand::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::{DataError, SampleRng, Source};
use order::Order;

/// Sources with the share each has among the draws.
#[derive(Clone)]
pub struct Mixture {
    sources: Vec<(Arc<dyn Source>, f64)>,
}

impl Mixture {
    /// Sources with their weights. With no weight anywhere, each source weighs its length: then
    /// as many draws as there are samples see every sample exactly once.
    pub fn new(sources: Vec<(Arc<dyn Source>, Option<f64>)>) -> Result<Self, DataError> {
        let fail = |message: String| Err(DataError::config("mixture", message));
        if sources.is_empty() {
            return fail("expected at least one source".into());
        }
        let given = sources
            .iter()
            .filter(|(_, weight)| weight.is_some())
            .count();
        if given != 0 && given != sources.len() {
            return fail("give every source a weight, or none".into());
        }
        for (source, weight) in &sources {
            if source.is_empty() {
                return fail(format!("source {} is empty", source.name()));
            }
            if weight.is_some_and(|w| !w.is_finite() || w <= 0.0) {
                let name = source.name();
                return fail(format!(
                    "source {name}: expected a weight above 0, got {weight:?}"
                ));
            }
        }
        let weigh = |(source, weight): (Arc<dyn Source>, Option<f64>)| {
            let weight = weight.unwrap_or(source.len() as f64);
            (source, weight)
        };
        Ok(Self {
            sources: sources.into_iter().map(weigh).collect(),
        })
    }

    /// The sources with their weights.
    pub fn sources(&self) -> &[(Arc<dyn Source>, f64)] {
        &self.sources
    }

    /// The samples of all sources together.
    pub fn len(&self) -> usize {
        self.sources.iter().map(|(source, _)| source.len()).sum()
    }

    /// Never: a mixture has sources, and they have samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Which source of the mixture.
    pub source: usize,
    /// Which of its samples.
    pub row: usize,
    /// How often the source has been gone through before.
    pub epoch: u64,
    /// The number of the draw, from 0.
    pub ordinal: u64,
}

/// A position in the order of draws; enough to continue exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerState {
    /// The seed of the order.
    pub seed: u64,
    /// The sources' lengths.
    pub lengths: Vec<u64>,
    /// Draws so far from each source.
    pub drawn: Vec<u64>,
    /// Tokens of the documents made of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens: u64,
    /// Of the packs that are laid from the draws that follow, how many are used already.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub packs: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl SamplerState {
    /// Draws so far.
    pub fn total(&self) -> u64 {
        self.drawn.iter().sum()
    }
}

/// Draws from a mixture without end. Every source is gone through in an order shuffled anew each
/// epoch, as far as its [`Source::shuffle_bytes`] reach, and the next draw is from the source that is furthest behind its share.
pub struct Sampler {
    state: SamplerState,
    /// Shares, summing to 1.
    shares: Vec<f64>,
    sources: Vec<Arc<dyn Source>>,
    /// Each source's current order.
    orders: Vec<Option<Order>>,
}

impl Sampler {
    /// The order's beginning.
    pub fn new(mixture: &Mixture, seed: u64) -> Self {
        let total: f64 = mixture.sources.iter().map(|(_, weight)| weight).sum();
        let lengths: Vec<u64> = mixture
            .sources
            .iter()
            .map(|(s, _)| s.len() as u64)
            .collect();
        Self {
            shares: mixture
                .sources
                .iter()
                .map(|(_, weight)| weight / total)
                .collect(),
            sources: mixture
                .sources
                .iter()
                .map(|(source, _)| Arc::clone(source))
                .collect(),
            orders: vec![None; lengths.len()],
            state: SamplerState {
                seed,
                drawn: vec![0; lengths.len()],
                lengths,
                tokens: 0,
                packs: 0,
            },
        }
    }

    /// Continues where `state` was taken.
    pub fn resume(mixture: &Mixture, state: SamplerState) -> Result<Self, DataError> {
        let new = Self::new(mixture, state.seed);
        if state.lengths != new.state.lengths || state.drawn.len() != state.lengths.len() {
            return Err(DataError::Resume(format!(
                "the sources had {:?} samples and have {:?}",
                state.lengths, new.state.lengths
            )));
        }
        Ok(Self { state, ..new })
    }

    /// The position before the next draw.
    pub fn state(&self) -> &SamplerState {
        &self.state
    }

    /// Says that packs are laid from the draws that follow; gives how many of them a resumed run has used already.
    pub(crate) fn begin_window(&mut self) -> u64 {
        std::mem::take(&mut self.state.packs)
    }

    /// Accounts for the tokens of documents that draws have become.
    pub(crate) fn add_tokens(&mut self, tokens: u64) {
        self.state.tokens += tokens;
    }

    /// The next draw.
    pub fn draw(&mut self) -> Draw {
        let ordinal = self.state.total();
        let deficit = |source: usize| {
            self.shares[source] * (ordinal + 1) as f64 - self.state.drawn[source] as f64
        };
        let mut source = 0;
        for other in 1..self.shares.len() {
            if deficit(other) > deficit(source) {
                source = other;
            }
        }
        let (length, drawn) = (self.state.lengths[source], self.state.drawn[source]);
        let epoch = drawn / length;
        let seed = self.state.seed;
        let order = self.orders[source]
            .take()
            .filter(|order| order.epoch() == epoch);
        let mut order =
            order.unwrap_or_else(|| Order::new(&*self.sources[source], seed, source as u64, epoch));
        let row = order.sample(drawn % length);
        self.orders[source] = Some(order);
        self.state.drawn[source] += 1;
        Draw {
            source,
            row,
            epoch,
            ordinal,
        }
    }
}

/// The generator for everything random about the draw with this ordinal, whatever else was drawn.
pub fn sample_rng(seed: u64, ordinal: u64) -> SampleRng {
    keyed(seed, "sample", ordinal, 0)
}

/// A generator of its own for each purpose and pair of numbers.
pub(crate) fn keyed(seed: u64, purpose: &str, a: u64, b: u64) -> SampleRng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..8 + purpose.len()].copy_from_slice(purpose.as_bytes());
    key[16..24].copy_from_slice(&a.to_le_bytes());
    key[24..].copy_from_slice(&b.to_le_bytes());
    SampleRng::from_seed(key)
}

#[cfg(test)]
mod tests;
