//! Running the stages of a recipe from first to last, or from a checkpoint on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_data::SamplerState;
use fourfold_model::{Model, Part};
use fourfold_tensor::Precision;

use crate::assemble::{Reading, assemble, text};
use crate::checkpoint::{self, Checkpoint, State, TensorRef};
use crate::checks::{FrozenGuard, checksums, demand_finite_weights, trainable};
use crate::environment::{Environment, commits, hash_files};
use crate::evaluation::check_evaluations;
use crate::feature_cache::{FeatureCache, Origins};
use crate::feature_store::{self, FeatureStore};
use crate::hub::{Hub, Need, Pins};
use crate::loss_scale;
use crate::metrics::{Metrics, StepRecord, memory_mib};
use crate::progress::{Progress, StageInfo};
use crate::recipe::{Fingerprint, Recipe};
use crate::run_folder::{RunFolder, RunLock};
use crate::samples::HeldOut;
use crate::skipped::Skipped;
use crate::sources::Sources;
use crate::stage::StagePlan;
use crate::threads::in_pool;
use crate::update::Updater;
use crate::{files, report, save};

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
    /// The run's folder.
    pub folder: PathBuf,
    /// New or resumed.
    pub start: Start,
    /// Whether a broken sample is an error rather than skipped.
    pub strict: bool,
    /// Where models of the hub come from.
    pub hub: Hub,
    /// When set, the update at hand is finished, a checkpoint written, and training ends.
    pub stop: Arc<AtomicBool>,
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

/// Trains `recipe`.
///
/// # Errors
/// Names the stage, update, file, key or parameter, and what to do.
pub fn train(
    recipe: Recipe,
    options: &TrainOptions,
    progress: &mut (dyn Progress + Send),
) -> Result<Outcome> {
    in_pool(recipe.threads, || {
        Session::begin(recipe, options, progress)?.run()
    })
}

struct Session<'a> {
    recipe: Recipe,
    options: &'a TrainOptions,
    progress: &'a mut (dyn Progress + Send),
    run: RunFolder,
    /// Held until the end.
    _lock: RunLock,
    model: Model,
    reading: Reading,
    plans: Vec<StagePlan>,
    held_out: Option<HeldOut>,
    metrics: Metrics,
    skipped: Skipped,
    fingerprint: Fingerprint,
    data: BTreeMap<String, String>,
    /// Checksums of the parameters that no stage trains.
    never_trained: BTreeMap<String, u64>,
    step: usize,
    resume: Option<Checkpoint>,
    features: Option<FeatureCache>,
    /// Where the features of the stage came from so far.
    looked: Origins,
}

impl<'a> Session<'a> {
    /// What can be wrong with recipe, data and checkpoint is found here, in every stage and evaluation, before the
    /// run folder is made or an earlier one replaced: no mistake costs a run or the hours before it shows.
    fn begin(
        mut recipe: Recipe,
        options: &'a TrainOptions,
        progress: &'a mut (dyn Progress + Send),
    ) -> Result<Self> {
        let sources = Sources::new(&recipe);
        let folder = &options.folder;
        let (resume, kept, pins, lock) = match options.start {
            Start::New { force } => {
                RunFolder::demand_free(folder, force)?;
                recipe.demand_outside(folder)?;
                (None, None, Pins::new(), None)
            }
            Start::Resume => {
                let run = RunFolder::open(folder)?;
                let lock = run.lock()?;
                let checkpoint = Checkpoint::newest(&run.checkpoints())?;
                if checkpoint.is_none() {
                    progress.note("no checkpoint was written yet: the run begins at its beginning");
                }
                let kept = checkpoint.is_some().then(|| run.tokenizer());
                let kept = kept.filter(|path| path.exists());
                (checkpoint, kept, commits(&run.environment())?, Some(lock))
            }
        };
        recipe.settle_precision();
        let precision = recipe.precision.resolve();
        // Every file once: those of the data are among all.
        let files = recipe.data_files(folder)?;
        let all = hash_files(&recipe.all_files(folder)?)?;
        let data: BTreeMap<String, String> = all
            .iter()
            .filter(|(name, _)| files.contains_key(*name))
            .map(|(name, hash)| (name.clone(), hash.clone()))
            .collect();
        let (local, hub) =
            recipe.fetched(&options.hub, Need::Weights, &pins, progress, &options.stop)?;
        if let Some(names) = recipe.pretrained() {
            progress.note(&format!("loading {names}"));
        }
        let text = text(&local, &sources, kept.as_deref())?;
        recipe.set_vocabulary(text.tokenizer.vocabulary());
        let fingerprint = recipe.fingerprint(folder)?;
        if let Some(checkpoint) = &resume {
            checkpoint.demand_same_run(&fingerprint, &data)?;
        }
        let assembled = assemble(&local, text, precision)?;
        let (mut model, reading) = (assembled.model, assembled.reading);
        let plans = StagePlan::all(&recipe, &sources, model.config(), &reading)?;
        if let Some(checkpoint) = &resume {
            let most = |plan: &StagePlan| match plan.counts_updates() {
                true => plan.updates,
                false => usize::MAX,
            };
            checkpoint.demand_position(|stage| plans.get(stage).map(most))?;
        }
        check_evaluations(&recipe, &sources)?;
        if plans.iter().any(|plan| plan.precision == Precision::F16) {
            progress.note(loss_scale::SIMULATED);
        }
        if let Some(folder) = &recipe.training.feature_cache {
            feature_store::prepare(folder)?;
        }
        let ever = |part: Part| recipe.stage.iter().any(|stage| stage.trains(part));
        let never_trained = checksums(&model.parameters, |name, _| {
            !Part::of(name).is_some_and(ever)
        })?;
        let step = match &resume {
            Some(checkpoint) => restore(checkpoint, &mut model, &never_trained)?,
            None => 0,
        };
        let held_out = match &recipe.training.samples {
            Some(selection) => {
                let source = sources.get(&selection.data)?;
                Some(HeldOut::pick(&*source, selection).context("in training.samples")?)
            }
            None => None,
        };
        let text = recipe.to_toml(folder)?;
        let (run, lock) = match (lock, options.start) {
            (Some(lock), _) => {
                let run = RunFolder::open(folder)?;
                files::write_atomic(&run.recipe(), text.as_bytes())?;
                (run, lock)
            }
            (None, start) => RunFolder::create(folder, start == Start::New { force: true }, &text)?,
        };
        let trained = recipe.tokenizer.as_ref().and_then(|t| t.train.as_ref());
        if trained.is_some() && kept.is_none() {
            reading.tokenizer.save(&run.tokenizer())?;
        }
        if let Some(held_out) = &held_out {
            held_out.write_images(&run.samples())?;
        }
        let place = recipe.folder.as_deref().unwrap_or(Path::new("."));
        files::write_json(
            &run.environment(),
            &Environment::observe(precision, all, hub, place),
        )?;
        Ok(Self {
            metrics: Metrics::open(&run.metrics(), step)?,
            skipped: Skipped::open(&run.skipped(), step, recipe.training.max_skipped)?,
            recipe,
            options,
            progress,
            run,
            _lock: lock,
            model,
            reading,
            plans,
            held_out,
            fingerprint,
            data,
            never_trained,
            step,
            resume,
            features: None,
            looked: Origins::default(),
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let plans = std::mem::take(&mut self.plans);
        let first = self
            .resume
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.state.stage);
        if self.skipped.listed() > 0 {
            self.progress.skipped(&[], self.skipped.listed());
        }
        for plan in plans.iter().skip(first) {
            let resume = self.resume.take();
            if let Some(checkpoint) = self.stage(plan, resume)? {
                report::write(&self.run)?;
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
        save::model(&self.run, &self.recipe, &self.model, &self.reading)?;
        report::write(&self.run)?;
        Ok(Outcome::Finished { run: self.run })
    }

    /// Runs one stage; gives the checkpoint if it was stopped.
    fn stage(&mut self, plan: &StagePlan, resume: Option<Checkpoint>) -> Result<Option<PathBuf>> {
        let (index, stage) = (plan.index, &plan.stage);
        plan.prepare(&mut self.model);
        let frozen = FrozenGuard::new(&self.model.parameters)?;
        let done = resume
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.state.update);
        let sampler = resume
            .as_ref()
            .and_then(|checkpoint| checkpoint.state.sampler.clone());
        // What reached the parameters before a stop is not known: a resumed stage must not fail where it would
        // have passed in one go.
        let watched = if done == 0 { plan.updates } else { 0 };
        let mut updater = Updater::new(plan, &self.model, watched)?;
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
        self.features = self.features_for(plan)?;
        self.looked = Origins::default();
        let features = self.features.as_ref();
        let mut loader = plan.load(self.options.strict, sampler, features)?;
        for update in done.. {
            let (state, last) = self.update(plan, &mut updater, &mut loader, update)?;
            let stop = self.options.stop.load(Ordering::Relaxed);
            let every = self.recipe.training.checkpoint_every;
            let mut checkpoint = None;
            if last || stop || self.step.is_multiple_of(every) {
                // Damage must not get into a checkpoint, nor into an export.
                let parameters = &self.model.parameters;
                let after = || format!("after update {} of stage '{}'", update + 1, stage.name);
                frozen.check(parameters).with_context(after)?;
                demand_finite_weights(parameters).with_context(after)?;
                if last {
                    save::parts(&self.run, &self.recipe, stage, &self.model, &self.reading)?;
                    let bases = save::bases_of_adapters(&self.run, &self.recipe, index);
                    bases.iter().for_each(|base| self.progress.note(base));
                }
                let position = if last {
                    (index + 1, 0, None)
                } else {
                    (index, update + 1, Some(state))
                };
                checkpoint = Some(self.checkpoint(position, (!last).then_some(&updater))?);
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
        updater: &mut Updater,
        loader: &mut fourfold_data::Loader,
        update: usize,
    ) -> Result<(SamplerState, bool)> {
        let begin = Instant::now();
        let batch = loader
            .next_batch()
            .with_context(|| format!("in stage '{}'", plan.stage.name))?;
        let data_wait_seconds = begin.elapsed().as_secs_f64();
        let skipped = self.skipped.add(self.step + 1, &batch.skipped)?;
        if !skipped.is_empty() {
            self.progress.skipped(&skipped, self.skipped.listed());
        }
        self.skipped
            .demand_few(&skipped, plan.mixture())
            .with_context(|| format!("in stage '{}'", plan.stage.name))?;
        let features = self.features.as_mut();
        let updated = updater.update(plan, &mut self.model, features, &batch, update)?;
        self.looked.add(updated.features.unwrap_or_default());
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
            samples: batch.documents,
            images: batch.images,
            tokens: batch.tokens,
            targets: batch.targets,
            packs: batch.packs.len(),
            truncated: batch.truncated,
            skipped: batch.skipped.len(),
            dropped: batch.dropped,
            loss: updated.loss,
            lr: plan.rates(plan.place(update, batch.progress)),
            grad_norm: updated.grad_norm,
            seconds,
            data_wait_seconds,
            tokens_per_second: batch.tokens as f64 / seconds.max(1e-9),
            features: updated.features,
            loss_scale: updated.scaled.map(|scaled| scaled.scale),
            skipped_updates: updated.scaled.map(|scaled| scaled.skipped),
            memory_mib: memory_mib(),
        };
        self.metrics.write(&record)?;
        self.progress.updated(&record);
        Ok((batch.state_after, batch.last))
    }

    fn sample(&mut self) -> Result<()> {
        let Some(held_out) = &self.held_out else {
            return Ok(());
        };
        let folder = self.run.samples();
        let samples = held_out
            .sample(&self.model, &self.reading, &folder, self.step)
            .context("cannot caption the held-out samples (training.samples)")?;
        self.progress.sampled(self.step, &samples);
        Ok(())
    }

    fn checkpoint(
        &mut self,
        (stage, update, sampler): (usize, usize, Option<SamplerState>),
        updater: Option<&Updater>,
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
        let mut tensors = Vec::new();
        for (_, parameter) in self.model.parameters.iter() {
            if !self.never_trained.contains_key(parameter.name()) {
                tensors.push(TensorRef {
                    name: format!("weight.{}", parameter.name()),
                    shape: parameter.master().shape(),
                    values: parameter.master().f32()?,
                });
            }
        }
        if let Some(optimizer) = optimizer {
            tensors.extend(optimizer.tensors(&self.model));
        }
        let keep = self.recipe.training.keep_checkpoints;
        let folder = checkpoint::write(&self.run.checkpoints(), state, &tensors, keep)?;
        self.progress.checkpointed(&folder);
        Ok(folder)
    }
}

/// Puts the weights of a checkpoint into `model`; gives the step it was taken at.
fn restore(
    checkpoint: &Checkpoint,
    model: &mut Model,
    never_trained: &BTreeMap<String, u64>,
) -> Result<usize> {
    for (name, sum) in &checkpoint.state.frozen {
        anyhow::ensure!(
            never_trained.get(name) == Some(sum),
            "the pretrained weights of '{name}' are not those that the run began with; restore the folder that \
             [model] names, or start anew with --force"
        );
    }
    let ids: Vec<_> = model.parameters.ids().collect();
    for id in ids {
        let parameter = model.parameters.get(id);
        if !never_trained.contains_key(parameter.name()) {
            let name = format!("weight.{}", parameter.name());
            let values = checkpoint.tensor(&name, parameter.master().len())?;
            model
                .parameters
                .update(id, |master| master.copy_from_slice(values))?;
        }
    }
    Ok(checkpoint.state.step)
}
