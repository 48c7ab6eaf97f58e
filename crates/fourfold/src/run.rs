//! Training a run to its end: what `train` and `quickstart` share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use fourfold_tensor::{Device, DeviceChoice};
use fourfold_train::evaluation::{Layout, Scores, evaluate_recipe, table};
use fourfold_train::parallel::Ranks;
use fourfold_train::progress::Silent;
use fourfold_train::recipe::Recipe;
use fourfold_train::run_folder::RunFolder;
use fourfold_train::trainer::{Outcome, Start, TrainOptions, train};

use crate::failure::Interrupted;
use crate::hub::hub;
use crate::output::{note, program, quoted, say, shown};
use crate::progress::Bars;
use crate::ranks::follows;
use crate::watch::Bar;
use crate::{interrupt, model_folder};

/// A run to make.
pub struct Run {
    /// What it is made from.
    pub recipe: Recipe,
    /// Where it is made.
    pub folder: PathBuf,
    /// New or resumed.
    pub start: Start,
    /// Whether a broken sample is an error.
    pub strict: bool,
    /// Whether the recipe's evaluations are measured at the end.
    pub evaluate: bool,
    /// Who trains.
    pub ranks: Ranks,
    /// What the ranks of this process compute on.
    pub devices: Vec<Device>,
    /// How the user named it.
    pub device: DeviceChoice,
}

impl Run {
    /// Trains, then measures and prints the scores; gives the finished run.
    ///
    /// # Errors
    /// What stopped it; [`Interrupted`] after Ctrl-C, with everything told.
    pub fn make(self) -> Result<RunFolder> {
        let stop = interrupt::flag()?;
        let options = TrainOptions {
            folder: self.folder.clone(),
            start: self.start,
            strict: self.strict,
            hub: hub(),
            ranks: self.ranks.clone(),
            devices: self.devices.clone(),
            stop: Arc::clone(&stop),
        };
        if follows(&self.ranks) {
            return match train(self.recipe.clone(), &options, &mut Silent)? {
                Outcome::Stopped { .. } => Err(Interrupted.into()),
                Outcome::Finished { run } => Ok(run),
            };
        }
        let mut bars = Bars::new();
        match train(self.recipe.clone(), &options, &mut bars)? {
            Outcome::Stopped { run, checkpoint } => {
                note(format_args!(
                    "stopped; everything is in {}",
                    shown(&checkpoint)
                ));
                note(format_args!("go on with: {}", self.go_on(&run)));
                Err(Interrupted.into())
            }
            Outcome::Finished { run } => {
                if !bars.trained() {
                    note(format_args!(
                        "all stages are done already; nothing is left to train"
                    ));
                }
                note(format_args!("the model is in {}", shown(&run.model())));
                if self.evaluate && !self.recipe.evaluation.is_empty() {
                    let device = self.devices.first().cloned().unwrap_or_default();
                    let scores = measure(&self.recipe, &run, &device, stop)?;
                    say("")?;
                    say(table(&scores, Layout::Text).trim_end())?;
                }
                Ok(run)
            }
        }
    }

    /// The command that goes on with `run` as it was begun. Its recipe is in its folder; what is no part of the
    /// recipe has to be said again.
    fn go_on(&self, run: &RunFolder) -> String {
        let folder = quoted(&shown(run.path()));
        let mut command = format!("{} train --resume --run {folder}", program());
        if self.strict {
            command += " --strict";
        }
        if !self.evaluate {
            command += " --no-eval";
        }
        if let Ranks::Threads(ranks @ 2..) = self.ranks {
            command += &format!(" --ranks {ranks}");
        }
        if self.device != DeviceChoice::Auto {
            command += &format!(" --device {}", self.device);
        }
        if let Some(threads) = self.recipe.threads {
            command += &format!(" --threads {threads}");
        }
        command
    }
}

fn measure(
    recipe: &Recipe,
    run: &RunFolder,
    device: &Device,
    stop: Arc<AtomicBool>,
) -> Result<Scores> {
    let precision = recipe.precision.resolve_on(device);
    let (model, reading) = model_folder::load(&run.model(), precision, device)?;
    let scores = evaluate_recipe(recipe, &model, &reading, run, &mut Bar::new(Some(stop)));
    match scores {
        Err(error) if error.is::<Interrupted>() || error.root_cause().is::<Interrupted>() => {
            let folder = quoted(&shown(run.path()));
            note(format_args!(
                "the model is finished; measure it with: {} eval --model {folder}",
                program()
            ));
            Err(Interrupted.into())
        }
        scores => scores.context("the model is finished, but it cannot be measured"),
    }
}
