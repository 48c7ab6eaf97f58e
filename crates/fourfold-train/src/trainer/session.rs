//! The stages of a run, update by update, on one rank.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_data::{SamplerState, Shard};
use fourfold_model::Model;
use fourfold_tensor::{Device, Parameters};

use super::alike::demand_same_weights;
use super::desk::Desk;
use super::tally::Tally;
use super::{Outcome, TrainOptions};
use crate::assemble::Reading;
use crate::checkpoint::{self, Checkpoint, State};
use crate::checks::{FrozenGuard, demand_finite_weights, trainable};
use crate::feature_cache::{FeatureCache, Origins};
use crate::feature_store::FeatureStore;
use crate::feed::Feed;
use crate::loss_scale::LossScaler;
use crate::metrics::{StepRecord, device_peak_mib, memory_mib};
use crate::parallel::Team;
use crate::progress::{Progress, StageInfo};
use crate::recipe::{Fingerprint, Recipe};
use crate::run_folder::RunFolder;
use crate::stage::StagePlan;
use crate::update::Updater;

/// A run in the memory of one rank.
pub(super) struct Session<'a> {
    pub recipe: Recipe,
    pub options: &'a TrainOptions,
    pub team: Team,
    pub progress: &'a mut (dyn Progress + Send),
    pub run: RunFolder,
    /// On rank 0.
    pub desk: Option<Desk>,
    pub model: Model,
    pub reading: Reading,
    pub plans: Vec<StagePlan>,
    pub fingerprint: Fingerprint,
    pub data: BTreeMap<String, String>,
    /// Checksums of the parameters that no stage trains.
    pub never_trained: BTreeMap<String, u64>,
    pub step: usize,
    pub resume: Option<Checkpoint>,
    pub features: Option<FeatureCache>,
    /// Where the features of the stage came from so far.
    pub looked: Origins,
}

impl Session<'_> {
    /// Runs what is left of the stages.
    ///
    /// # Errors
    /// Names the stage and update, and what to do.
    pub fn run(mut self) -> Result<Outcome> {
        let plans = std::mem::take(&mut self.plans);
        let first = self
            .resume
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.state.stage);
        let listed = self.desk.as_ref().map_or(0, Desk::skipped);
        if listed > 0 {
            self.progress.skipped(&[], listed);
        }
        for plan in plans.iter().skip(first) {
            let resume = self.resume.take();
            if let Some(checkpoint) = self.stage(plan, resume)? {
                self.desk.as_ref().map_or(Ok(()), Desk::report)?;
                self.end_together()?;
                return Ok(Outcome::Stopped {
                    run: self.run,
                    checkpoint,
                });
            }
        }
        // Where all stages were done before this start, none of them has told the model.
        if let Some(last) = plans.last() {
            self.model.set_visibility(last.visibility);
        }
        if let Some(desk) = &self.desk {
            desk.finish(&self.recipe, &self.model, &self.reading)?;
        }
        self.end_together()?;
        Ok(Outcome::Finished { run: self.run })
    }

    /// Waits until rank 0 has written everything: nobody ends well where that failed.
    fn end_together(&self) -> Result<()> {
        self.team.any(false).map(drop)
    }

    /// Runs one stage; gives the checkpoint if it was stopped.
    fn stage(&mut self, plan: &StagePlan, resume: Option<Checkpoint>) -> Result<Option<PathBuf>> {
        let (index, stage) = (plan.index, &plan.stage);
        plan.prepare(&mut self.model);
        let frozen = FrozenGuard::new(&self.model.parameters.on_host()?)?;
        let done = resume
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.state.update);
        let sampler = resume
            .as_ref()
            .and_then(|checkpoint| checkpoint.state.sampler.clone());
        // What reached the parameters before a stop is not known: a resumed stage must not fail where it would
        // have passed in one go.
        let watched = if done == 0 { plan.updates } else { 0 };
        let (team, sharded) = (self.team.clone(), self.recipe.training.shard_optimizer);
        let mut updater = Updater::with_team(plan, &self.model, watched, team, sharded)?;
        if let Some(checkpoint) = resume.filter(|_| done > 0) {
            updater.restore(&self.model, &checkpoint)?;
        }
        let info = StageInfo {
            name: stage.name.clone(),
            index,
            stages: self.recipe.stage.len(),
            updates: plan.updates,
            done,
            batch: stage.batch,
            trainable: trainable(&self.model),
        };
        self.progress.stage_begins(&info);
        if plan.tf32 && *self.model.parameters.device() == Device::Cpu {
            self.progress.note(&format!(
                "{}: precision = \"tf32\" is for NVIDIA GPUs; on this processor it is f32",
                stage.name
            ));
        }
        self.features = self.features_for(plan)?;
        self.looked = Origins::default();
        let features = self.features.as_ref();
        let shard = Shard {
            rank: self.team.rank(),
            ranks: self.team.ranks(),
        };
        let loader = plan.load(self.options.strict, sampler, features, shard)?;
        let device = self.model.parameters.device().clone();
        let mut feed = Feed::new(loader, device, features.is_none());
        for update in done.. {
            let (state, last) = self.update(plan, &mut updater, &mut feed, update)?;
            // All ranks end after the same update, whichever was told to.
            let stop = self.team.any(self.options.stop.load(Ordering::Relaxed))?;
            let every = self.recipe.training.checkpoint_every;
            let mut checkpoint = None;
            if last || stop || self.step.is_multiple_of(every) {
                // Damage must not get into a checkpoint, nor into an export.
                let parameters = &self.model.parameters.on_host()?;
                let after = || format!("after update {} of stage '{}'", update + 1, stage.name);
                frozen.check(parameters).with_context(after)?;
                demand_finite_weights(parameters).with_context(after)?;
                demand_same_weights(&self.team, parameters).with_context(after)?;
                if let (true, Some(desk)) = (last, &self.desk) {
                    let place = (index, stage);
                    let bases = desk.parts(&self.recipe, place, &self.model, &self.reading)?;
                    bases.iter().for_each(|base| self.progress.note(base));
                }
                let position = if last {
                    (index + 1, 0, None)
                } else {
                    (index, update + 1, Some(state))
                };
                checkpoint =
                    Some(self.checkpoint(position, parameters, (!last).then_some(&updater))?);
            }
            // After the checkpoint: captions that cannot be made cost none of the training.
            if last || self.step.is_multiple_of(self.recipe.training.sample_every) {
                self.sample()?;
            }
            let everything = last && index + 1 == self.recipe.stage.len();
            if stop && !everything {
                return Ok(checkpoint);
            }
            if last {
                break;
            }
        }
        self.progress.stage_ends(&info);
        let skipped = updater.scaler().map_or(0, LossScaler::skipped);
        if skipped >= plan.updates as u64 {
            self.progress.note(&format!(
                "{}: every update overflowed in fp16 and was skipped, so that nothing was learnt; lower \
                 `loss_scale.initial` of the stage, or give it more samples",
                stage.name
            ));
        }
        if self.features.is_some() {
            self.progress
                .note(&format!("{}: {}", stage.name, self.looked));
        }
        Ok(None)
    }

    /// The features that the stage of `plan` keeps, if it does; the model must have its parameters for it.
    fn features_for(&mut self, plan: &StagePlan) -> Result<Option<FeatureCache>> {
        let (stage, training) = (&plan.stage, &self.recipe.training);
        let limit = training.feature_cache_mib;
        let before = self.features.take();
        let cache = FeatureCache::for_stage(before, stage, plan.precision, limit);
        let (mut cache, root) = match (cache, &training.feature_cache) {
            (Some(cache), Some(root)) => (cache, root),
            (cache, _) => return Ok(cache),
        };
        let (transform, augment) = (&plan.encoder.config().transform, stage.augment.as_ref());
        let limit = training.feature_cache_disk_mib;
        let open = || FeatureStore::open(root, limit, &self.model, transform, augment);
        let within = || format!("in stage '{}' (training.feature_cache)", stage.name);
        match cache.stored_in(open).with_context(within) {
            // Nothing is trained yet: a mistake is to show.
            Err(error) if self.step == 0 => return Err(error),
            Err(error) => self.progress.note(&format!(
                "{error:#}: the stage goes on without features on disk"
            )),
            Ok(()) => {}
        }
        Ok(Some(cache))
    }

    fn update(
        &mut self,
        plan: &StagePlan,
        updater: &mut Updater<'_>,
        feed: &mut Feed,
        update: usize,
    ) -> Result<(SamplerState, bool)> {
        let begin = Instant::now();
        let mut ready = feed
            .next_batch()
            .with_context(|| format!("in stage '{}'", plan.stage.name))?;
        let all = Tally::sum(self.team.hear(Tally::of(&ready.batch, ready.waited))?);
        if let Some(desk) = &mut self.desk {
            let skips = desk.skip(self.step + 1, &all.skipped, plan.mixture())?;
            if !skips.new.is_empty() {
                self.progress.skipped(&skips.new, desk.skipped());
            }
            skips
                .few
                .with_context(|| format!("in stage '{}'", plan.stage.name))?;
        }
        let features = self.features.as_mut();
        let model = &mut self.model;
        let mut updated = updater.update(model, features, &mut ready, all.targets, update, feed)?;
        let batch = ready.batch;
        if let Some(features) = &mut updated.features {
            let parts = self.team.hear(std::mem::take(features))?;
            parts.into_iter().for_each(|part| features.add(part));
            self.looked.add(*features);
        }
        if let Some(note) = updated.note(&plan.stage, update) {
            self.progress.note(&note);
        }
        for note in self.features.iter_mut().flat_map(FeatureCache::take_notes) {
            self.progress.note(&note);
        }
        self.step += 1;
        let seconds = begin.elapsed().as_secs_f64();
        let record = StepRecord {
            stage: plan.stage.name.clone(),
            step: self.step,
            update: update + 1,
            samples: all.documents,
            images: all.images,
            tokens: all.tokens,
            targets: all.targets,
            packs: all.packs,
            truncated: all.truncated,
            skipped: all.skipped.len(),
            dropped: all.dropped,
            loss: updated.loss,
            lr: plan.rates(plan.place(update, batch.progress)),
            grad_norm: updated.grad_norm,
            seconds,
            data_wait_seconds: all.waited,
            tokens_per_second: all.tokens as f64 / seconds.max(1e-9),
            features: updated.features,
            loss_scale: updated.scaled.map(|scaled| scaled.scale),
            skipped_updates: updated.scaled.map(|scaled| scaled.skipped),
            memory_mib: memory_mib(),
            device_memory_mib: device_peak_mib(self.model.parameters.device()),
            rank_wait_seconds: updated.waited,
        };
        if let Some(desk) = &mut self.desk {
            desk.record(&record)?;
        }
        self.progress.updated(&record);
        Ok((batch.state_after, batch.last))
    }

    fn sample(&mut self) -> Result<()> {
        let sample = |desk: &Desk| desk.sample(&self.model, &self.reading, self.step);
        if let Some(samples) = self.desk.as_ref().map_or(Ok(None), sample)? {
            self.progress.sampled(self.step, &samples);
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        (stage, update, sampler): (usize, usize, Option<SamplerState>),
        on_host: &Parameters,
        updater: Option<&Updater<'_>>,
    ) -> Result<PathBuf> {
        let optimizer = updater.map(|updater| &updater.optimizer);
        let state = State {
            version: checkpoint::VERSION,
            recipe: self.fingerprint.clone(),
            data: self.data.clone(),
            stage,
            update,
            step: self.step,
            sampler,
            optimizer_steps: optimizer.map_or(0, |optimizer| optimizer.steps()),
            parameter_steps: optimizer
                .map_or_else(BTreeMap::new, |o| o.parameter_steps(&self.model)),
            loss_scale: updater
                .and_then(Updater::scaler)
                .map(|scaler| scaler.state()),
            frozen: self.never_trained.clone(),
            tensors: BTreeMap::new(),
        };
        let moments = updater.map(Updater::moments).transpose()?;
        let Some(desk) = &self.desk else {
            return Ok(checkpoint::place(&self.run.checkpoints(), self.step));
        };
        let updater = updater.zip(moments.as_ref());
        let keep = self.recipe.training.keep_checkpoints;
        let folder = desk.checkpoint(state, &self.model, on_host, updater, keep)?;
        self.progress.checkpointed(&folder);
        Ok(folder)
    }
}
