//! Running the stages of a recipe from first to last, or from a checkpoint on.

mod alike;
mod begin;
mod desk;
mod session;
mod tally;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use fourfold_tensor::Device;

use crate::hub::Hub;
use crate::parallel::{Ranks, Team, on_every_rank};
use crate::progress::{Progress, Silent};
use crate::recipe::Recipe;
use crate::run_folder::RunFolder;
use session::Session;

/// How a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a new folder; with `force` an earlier run there is replaced.
    New {
        /// Whether to replace.
        force: bool,
    },
    /// From the newest checkpoint in the folder.
    Resume,
}

/// What a run needs to know beside its recipe.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The run's folder; rank 0 alone reads and writes it.
    pub folder: PathBuf,
    /// New or resumed.
    pub start: Start,
    /// Whether a broken sample is an error rather than skipped.
    pub strict: bool,
    /// Where models of the hub come from.
    pub hub: Hub,
    /// Who trains. The recipe's batches are those of all ranks together: on any number of them the run is the same but
    /// for rounding.
    pub ranks: Ranks,
    /// What the ranks of this process compute on, in turn; this processor where there is none.
    pub devices: Vec<Device>,
    /// When set, the update at hand is finished, a checkpoint written, and training ends.
    pub stop: Arc<AtomicBool>,
}

impl TrainOptions {
    /// What a rank of this process computes on.
    fn device_of(&self, team: &Team) -> Device {
        let place = match self.ranks {
            Ranks::Threads(_) => team.rank(),
            Ranks::Processes { .. } => 0,
        };
        let mut devices = self.devices.iter().cycle();
        devices.nth(place).cloned().unwrap_or_default()
    }
}

/// How training ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All stages are done; the model is saved.
    Finished {
        /// The run's folder.
        run: RunFolder,
    },
    /// It was told to stop; a checkpoint is written.
    Stopped {
        /// The run's folder.
        run: RunFolder,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// Trains `recipe`; `progress` hears of it on rank 0.
///
/// # Errors
/// Names the stage, update, file, key or parameter, and what to do; where another rank failed, which one and why.
pub fn train(
    recipe: Recipe,
    options: &TrainOptions,
    progress: &mut (dyn Progress + Send),
) -> Result<Outcome> {
    let threads = recipe.threads;
    let elsewhere = recipe.clone();
    on_every_rank(
        &options.ranks,
        threads,
        move |team| {
            let mut silent = Silent;
            let progress = match team.leads() {
                true => progress,
                false => &mut silent,
            };
            Session::begin(recipe, options, team, progress)?.run()
        },
        |team| {
            let mut silent = Silent;
            let session = Session::begin(elsewhere.clone(), options, team, &mut silent)?;
            session.run().map(|_| ())
        },
    )
}
