//! Checkpoints: everything that a run needs to go on as if it had not stopped.
//!
//! A checkpoint is a folder `checkpoints/step-00000120` with `state.json` (where the run is) and
//! `tensors.safetensors` (weights of every part that some stage trains, and the optimizer's moments). It is
//! written beside its place and renamed when it is whole and on disk.

mod read;
mod write;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fourfold_data::SamplerState;
use serde::{Deserialize, Serialize};

use crate::loss_scale::LossScaleState;
use crate::recipe::Fingerprint;

pub use read::Checkpoint;
pub use write::{TensorRef, write};

const STATE: &str = "state.json";
const TENSORS: &str = "tensors.safetensors";
/// Raised when a checkpoint's layout changes.
pub const VERSION: u32 = 1;

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The layout of the checkpoint.
    pub version: u32,
    /// What decides the weights of the run.
    pub recipe: Fingerprint,
    /// SHA-256 of the data files, by path as the run's recipe writes it.
    pub data: BTreeMap<String, String>,
    /// The stage that goes on, from 0; the number of stages when all are done.
    pub stage: usize,
    /// Its updates that are done.
    pub update: usize,
    /// Updates of the run that are done.
    pub step: usize,
    /// Where its data is; none before its first update.
    pub sampler: Option<SamplerState>,
    /// Steps that the stage's optimizer has made.
    pub optimizer_steps: u64,
    /// Steps that each parameter took part in.
    pub parameter_steps: BTreeMap<String, u64>,
    /// Where the scaling of the loss is, in a stage in fp16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScaleState>,
    /// Checksums of the parameters that no stage trains: they are not stored.
    pub frozen: BTreeMap<String, u64>,
    /// Checksums of the stored tensors.
    pub tensors: BTreeMap<String, u64>,
}

/// The checkpoints in `folder`, oldest first, with their steps.
///
/// # Errors
/// Names the folder when it cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    let fail = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(fail)? {
        let entry = entry.with_context(fail)?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|name| name.strip_prefix("step-"));
        if let Some(step) = step.and_then(|step| step.parse().ok()) {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
