//! What a run tells while it goes; the command line shows it, this crate prints nothing.

use std::path::Path;

use fourfold_data::Skip;

use crate::hub::HubId;
use crate::metrics::StepRecord;
use crate::samples::SampleRecord;

/// A stage that begins or goes on.
#[derive(Clone, Debug)]
pub struct StageInfo {
    /// Its name.
    pub name: String,
    /// Its place among the stages, from 0.
    pub index: usize,
    /// How many stages there are.
    pub stages: usize,
    /// Its updates.
    pub updates: usize,
    /// Updates that were done before, when a run is resumed.
    pub done: usize,
    /// Documents an update.
    pub batch: usize,
    /// How many numbers train.
    pub trainable: usize,
}

/// Files of a model that are on their way from the hub.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The model.
    pub id: &'a HubId,
    /// The file at hand.
    pub file: &'a str,
    /// Bytes that are here, of all files that are fetched together.
    pub received: u64,
    /// Bytes of them all.
    pub total: u64,
}

/// Hears what happens. Every method may be left out.
pub trait Progress {
    /// Something worth a line.
    fn note(&mut self, _text: &str) {}

    /// Bytes of a model have arrived.
    fn arriving(&mut self, _arrival: &Arrival<'_>) {}

    /// A stage begins or goes on.
    fn stage_begins(&mut self, _stage: &StageInfo) {}

    /// An update was made.
    fn updated(&mut self, _record: &StepRecord) {}

    /// Broken samples were passed over in an update, or before a resume; `listed` are in skipped.jsonl now.
    fn skipped(&mut self, _skipped: &[Skip], _listed: usize) {}

    /// Held-out images were captioned.
    fn sampled(&mut self, _step: usize, _samples: &[SampleRecord]) {}

    /// A checkpoint was written.
    fn checkpointed(&mut self, _folder: &Path) {}

    /// A stage is over.
    fn stage_ends(&mut self, _stage: &StageInfo) {}
}

/// Hears nothing.
pub struct Silent;

impl Progress for Silent {}
