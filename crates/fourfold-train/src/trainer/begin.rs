//! The beginning of a run: what can be wrong is found here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fourfold_model::{Model, Part};
use fourfold_tensor::{Device, Precision};
use serde::{Deserialize, Serialize};

use super::alike::{Beginning, share_checkpoint};
use super::desk::Desk;
use super::session::Session;
use super::{Start, TrainOptions};
use crate::assemble::{Reading, assemble, text};
use crate::checkpoint::Checkpoint;
use crate::checks::checksums;
use crate::environment::{Environment, commits, hash_files};
use crate::evaluation::check_evaluations;
use crate::feature_cache::Origins;
use crate::feature_store;
use crate::files;
use crate::hub::{Need, Pins};
use crate::loss_scale;
use crate::parallel::{Sums, Team};
use crate::progress::Progress;
use crate::recipe::{Recipe, Stage};
use crate::run_folder::{RunFolder, RunLock};
use crate::samples::HeldOut;
use crate::sources::Sources;
use crate::stage::StagePlan;

impl<'a> Session<'a> {
    /// What can be wrong with recipe, data and checkpoint is found here, in every stage and evaluation, before the
    /// run folder is made or an earlier one replaced: no mistake costs a run or the hours before it shows.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn begin(
        mut recipe: Recipe,
        options: &'a TrainOptions,
        team: Team,
        progress: &'a mut (dyn Progress + Send),
    ) -> Result<Self> {
        let sources = Sources::new(&recipe);
        let folder = &options.folder;
        let found = match team.leads() {
            true => Some(Found::at(folder, options.start, &recipe, progress)?),
            false => None,
        };
        let (checkpoint, lock, known) = match found {
            Some(found) => (found.checkpoint, found.lock, Some(found.known)),
            None => (None, None, None),
        };
        let Known { kept, pins } = team.from_leader(known)?;
        let resume = share_checkpoint(&team, checkpoint)?;
        let device = options.device_of(&team);
        recipe.settle_precision(&device);
        let precision = recipe.precision.resolve();
        // Every file once: those of the data are among all.
        let files = recipe.data_files(folder)?;
        let all = hash_files(&recipe.all_files(folder)?)?;
        let data: BTreeMap<String, String> = all
            .iter()
            .filter(|(name, _)| files.contains_key(*name))
            .map(|(name, hash)| (name.clone(), hash.clone()))
            .collect();
        // Rank 0 first: the others of its machine find what it has fetched.
        if !team.leads() {
            team.hear(())?;
        }
        let fetched =
            recipe.fetched(&options.hub, Need::Weights, &pins, progress, &options.stop)?;
        if team.leads() {
            team.hear(())?;
        }
        let (local, hub) = fetched;
        if let Some(names) = recipe.pretrained() {
            progress.note(&format!("loading {names}"));
        }
        // On another machine it may not be there; it is then trained again, to the same.
        let kept = kept.filter(|path| path.exists());
        let text = text(&local, &sources, kept.as_deref())?;
        recipe.set_vocabulary(text.tokenizer.vocabulary());
        let fingerprint = recipe.fingerprint(folder)?;
        // The others may have their files elsewhere; they are held to rank 0 below.
        if let Some(checkpoint) = resume.as_ref().filter(|_| team.leads()) {
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
        let simulated = |plan: &StagePlan| plan.precision == Precision::F16;
        if device == Device::Cpu && plans.iter().any(simulated) {
            progress.note(loss_scale::SIMULATED);
        }
        if let Some(folder) = &recipe.training.feature_cache {
            feature_store::prepare(folder)?;
        }
        let ever = |part: Part| recipe.stage.iter().any(|stage| stage.trains(part));
        let never = |name: &str| !Part::of(name).is_some_and(ever);
        // Ranks compare those of all weights; a run keeps those of the ones that it never trains.
        let compares = !team.is_alone();
        let mut sums = checksums(&model.parameters, |name, _| compares || never(name))?;
        if compares {
            progress.note(&ranks_note(&team, &recipe, &device));
            let beginning = Beginning {
                recipe: recipe.fingerprint_of_rank()?,
                data: recipe.data_by_key(folder, &data)?,
                made: made(&model, &reading)?,
                tokenizer: reading.tokenizer.hash().to_owned(),
                weights: sums.clone(),
            };
            beginning.demand_alike(&team)?;
        }
        sums.retain(|name, _| never(name));
        let never_trained = sums;
        let step = match &resume {
            Some(checkpoint) => restore(checkpoint, &mut model, &never_trained)?,
            None => 0,
        };
        if step > 0 {
            progress.note(&format!("going on after update {step} of the run"));
        }
        // Last, so that all that is compared before lies in the host's memory.
        model.parameters.to_device(&device)?;
        let (team, sums) = Sums::agree(team, &device)?;
        if let Some(note) = sums.note() {
            progress.note(&note);
        }
        let desk = match team.leads() {
            false => None,
            true => {
                let held_out = match &recipe.training.samples {
                    Some(selection) => {
                        let source = sources.get(&selection.data)?;
                        Some(HeldOut::pick(&*source, selection).context("in training.samples")?)
                    }
                    None => None,
                };
                let text = recipe.to_toml(folder)?;
                let (run, lock) = match lock {
                    Some(lock) => {
                        let run = RunFolder::open(folder)?;
                        files::write_atomic(&run.recipe(), text.as_bytes())?;
                        (run, lock)
                    }
                    None => {
                        let force = options.start == Start::New { force: true };
                        RunFolder::create(folder, force, &text)?
                    }
                };
                let trained = recipe.tokenizer.as_ref().and_then(|t| t.train.as_ref());
                if trained.is_some() && kept.is_none() {
                    reading.tokenizer.save(&run.tokenizer())?;
                }
                let place = recipe.folder.as_deref().unwrap_or(Path::new("."));
                files::write_json(
                    &run.environment(),
                    &Environment::observe(precision, &device, team.ranks(), all, hub, place),
                )?;
                Some(Desk::open(run, lock, &recipe, held_out, step)?)
            }
        };
        Ok(Self {
            run: RunFolder::elsewhere(folder),
            desk,
            team,
            recipe,
            options,
            progress,
            model,
            reading,
            plans,
            fingerprint,
            data,
            never_trained,
            step,
            resume,
            features: None,
            looked: Origins::default(),
        })
    }
}

/// How many train, on what, and whether there is work for all.
fn ranks_note(team: &Team, recipe: &Recipe, device: &Device) -> String {
    let ranks = team.ranks();
    let small = |stage: &&Stage| stage.packs.unwrap_or(stage.batch) < ranks;
    let idle = match recipe.stage.iter().find(small) {
        None => String::new(),
        Some(stage) => format!(
            "; a batch of stage '{}' has less than {ranks} documents or packs, so that some ranks have nothing to do",
            stage.name
        ),
    };
    format!("{ranks} ranks train together, rank 0 on {device}{idle}")
}

/// What the folders of pretrained parts say of model and data beside weights and tokenizer, as JSON.
fn made(model: &Model, reading: &Reading) -> Result<BTreeMap<String, String>> {
    let json = [
        ("configuration", serde_json::to_string(model.config())),
        (
            "way to make images into pixels",
            serde_json::to_string(&reading.transform),
        ),
        (
            "layout of documents",
            serde_json::to_string(&reading.format),
        ),
    ];
    let named = json
        .into_iter()
        .map(|(what, json)| Ok((what.to_owned(), json?)));
    named.collect()
}

/// What rank 0 finds in the run folder.
struct Found {
    checkpoint: Option<Checkpoint>,
    lock: Option<RunLock>,
    known: Known,
}

/// What of it the others have to know.
#[derive(Serialize, Deserialize)]
struct Known {
    /// The tokenizer that the run has trained.
    kept: Option<PathBuf>,
    pins: Pins,
}

impl Found {
    fn at(
        folder: &Path,
        start: Start,
        recipe: &Recipe,
        progress: &mut (dyn Progress + Send),
    ) -> Result<Self> {
        if let Start::New { force } = start {
            RunFolder::demand_free(folder, force)?;
            recipe.demand_outside(folder)?;
            return Ok(Self {
                checkpoint: None,
                lock: None,
                known: Known {
                    kept: None,
                    pins: Pins::new(),
                },
            });
        }
        let run = RunFolder::open(folder)?;
        let lock = run.lock()?;
        let checkpoint = Checkpoint::newest(&run.checkpoints())?;
        if checkpoint.is_none() {
            progress.note("no checkpoint was written yet: the run begins at its beginning");
        }
        let kept = checkpoint.is_some().then(|| run.tokenizer());
        Ok(Self {
            checkpoint,
            lock: Some(lock),
            known: Known {
                kept: kept.filter(|path| path.exists()),
                pins: commits(&run.environment())?,
            },
        })
    }
}

/// Puts the weights of a checkpoint into `model`; gives the step it was taken at.
fn restore(
    checkpoint: &Checkpoint,
    model: &mut Model,
    never_trained: &BTreeMap<String, u64>,
) -> Result<usize> {
    for (name, sum) in &checkpoint.state.frozen {
        ensure!(
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
