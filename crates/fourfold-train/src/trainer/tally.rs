//! What a batch holds over all ranks.

use fourfold_data::{Batch, Skip};
use serde::{Deserialize, Serialize};

/// Counts of a rank's part of a batch, or of all parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub documents: usize,
    pub images: usize,
    pub tokens: usize,
    pub targets: usize,
    pub packs: usize,
    pub truncated: usize,
    pub dropped: usize,
    pub skipped: Vec<Skip>,
    /// Seconds that the rank which waited longest waited for it.
    pub waited: f64,
}

impl Tally {
    pub fn of(batch: &Batch, waited: f64) -> Self {
        Self {
            documents: batch.documents,
            images: batch.images,
            tokens: batch.tokens,
            targets: batch.targets,
            packs: batch.packs.len(),
            truncated: batch.truncated,
            dropped: batch.dropped,
            skipped: batch.skipped.clone(),
            waited,
        }
    }

    pub fn sum(all: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for part in all {
            sum.documents += part.documents;
            sum.images += part.images;
            sum.tokens += part.tokens;
            sum.targets += part.targets;
            sum.packs += part.packs;
            sum.truncated += part.truncated;
            sum.dropped += part.dropped;
            sum.skipped.extend(part.skipped);
            sum.waited = sum.waited.max(part.waited);
        }
        sum
    }
}
