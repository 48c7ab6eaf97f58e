//! What rank 0 writes as training goes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fourfold_data::{Mixture, Skip};
use fourfold_model::Model;
use fourfold_tensor::Parameters;

use crate::assemble::Reading;
use crate::checkpoint::{self, State, TensorRef};
use crate::metrics::{Metrics, StepRecord};
use crate::optimizer::Moments;
use crate::recipe::{Recipe, Stage};
use crate::run_folder::{RunFolder, RunLock};
use crate::samples::{HeldOut, SampleRecord};
use crate::skipped::Skipped;
use crate::update::Updater;
use crate::{report, save};

/// The run folder with its open files.
pub(super) struct Desk {
    pub run: RunFolder,
    /// Held until the end.
    _lock: RunLock,
    held_out: Option<HeldOut>,
    metrics: Metrics,
    skipped: Skipped,
}

impl Desk {
    /// Opens the files of `run`, whose first `step` updates are done.
    pub fn open(
        run: RunFolder,
        lock: RunLock,
        recipe: &Recipe,
        held_out: Option<HeldOut>,
        step: usize,
    ) -> Result<Self> {
        if let Some(held_out) = &held_out {
            held_out.write_images(&run.samples())?;
        }
        Ok(Self {
            metrics: Metrics::open(&run.metrics(), step)?,
            skipped: Skipped::open(&run.skipped(), step, recipe.training.max_skipped)?,
            _lock: lock,
            held_out,
            run,
        })
    }

    /// Samples that are listed as broken so far.
    pub fn skipped(&self) -> usize {
        self.skipped.listed()
    }

    /// Lists those of `skips` that are new, which it gives.
    ///
    /// # Errors
    /// When there are too many of a source.
    pub fn skip(&mut self, step: usize, skips: &[Skip], mixture: &Mixture) -> Result<Skips> {
        let new = self.skipped.add(step, skips)?;
        let few = self.skipped.demand_few(&new, mixture);
        Ok(Skips { new, few })
    }

    pub fn record(&mut self, record: &StepRecord) -> Result<()> {
        self.metrics.write(record)
    }

    /// Captions the held-out samples, if there are any.
    pub fn sample(
        &self,
        model: &Model,
        reading: &Reading,
        step: usize,
    ) -> Result<Option<Vec<SampleRecord>>> {
        let folder = self.run.samples();
        let sample = |held_out: &HeldOut| held_out.sample(model, reading, &folder, step);
        let samples = self.held_out.as_ref().map(sample).transpose();
        samples.context("cannot caption the held-out samples (training.samples)")
    }

    /// Writes a checkpoint: the weights that some stage trains, of which `on_host` are the numbers, and amid a stage what its
    /// updates go on from.
    pub fn checkpoint(
        &self,
        state: State,
        model: &Model,
        on_host: &Parameters,
        updater: Option<(&Updater<'_>, &Moments)>,
        keep: usize,
    ) -> Result<PathBuf> {
        let mut tensors = Vec::new();
        for (_, parameter) in on_host.iter() {
            if !state.frozen.contains_key(parameter.name()) {
                tensors.push(TensorRef {
                    name: format!("weight.{}", parameter.name()),
                    shape: parameter.master().shape(),
                    values: parameter.master().f32()?,
                });
            }
        }
        if let Some((updater, moments)) = updater {
            tensors.extend(updater.optimizer.tensors(model, moments)?);
        }
        checkpoint::write(&self.run.checkpoints(), state, &tensors, keep)
    }

    /// Writes the parts that `stage` exports; gives what is to be told of them.
    pub fn parts(
        &self,
        recipe: &Recipe,
        (index, stage): (usize, &Stage),
        model: &Model,
        reading: &Reading,
    ) -> Result<Vec<String>> {
        save::parts(&self.run, recipe, stage, model, reading)?;
        Ok(save::bases_of_adapters(&self.run, recipe, index))
    }

    /// Writes the finished model and the page about the run.
    pub fn finish(&self, recipe: &Recipe, model: &Model, reading: &Reading) -> Result<()> {
        save::model(&self.run, recipe, model, reading)?;
        self.report()
    }

    pub fn report(&self) -> Result<()> {
        report::write(&self.run)
    }
}

/// Samples that are newly known to be broken, and whether they are few enough.
pub(super) struct Skips {
    pub new: Vec<Skip>,
    pub few: Result<()>,
}
