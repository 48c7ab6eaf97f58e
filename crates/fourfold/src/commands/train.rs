//! `fourfold train`: runs the stages of a recipe.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::Args;
use fourfold_train::parallel::Ranks;
use fourfold_train::recipe::Recipe;
use fourfold_train::run_folder::RunFolder;
use fourfold_train::trainer::Start;

use crate::machine::Machine;
use crate::output::{note, shown};
use crate::ranks::{follows, ranks};
use crate::run::Run;

/// Runs the stages of a recipe, then its evaluations
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold train recipes/quickstart.toml
  fourfold train recipes/quickstart.toml --run runs/slow --set stage.align.lr=5e-4 --set seed=2
  fourfold train --resume --run runs/slow

The run folder gets the recipe as resolved, metrics, samples, checkpoints, the model and its scores. Ctrl-C stops after \
the update at hand and writes a checkpoint; resumed, the run ends with the same weights as one that never stopped.

Processes that mpirun, srun or torchrun start with this command train together, on one machine or many: docs/scale.md.")]
pub struct Train {
    /// The recipe, a TOML file; may be left out with --resume
    #[arg(required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    /// Go on from the last checkpoint of --run, of the recipe's run, or of the latest run in runs/
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// The run folder; runs/NAME when absent, NAME from the recipe
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Set a value of the recipe, such as stage.align.lr=1e-3; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Replace an existing run
    #[arg(long)]
    force: bool,
    /// Stop at a broken sample instead of skipping and counting it
    #[arg(long)]
    strict: bool,
    /// Ranks within this process that share each batch and the worker threads; the result is that of one, but for rounding
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    ranks: Option<u16>,
    /// Leave out the recipe's evaluations
    #[arg(long)]
    no_eval: bool,
    #[command(flatten)]
    machine: Machine,
}

impl Train {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with recipe, data or run folder, or what stopped the training.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        // First of all: what goes wrong from here on is told to ranks in other processes.
        let (ranks, devices) = ranks(self.ranks, &self.machine)?;
        let found = self.recipe_and_folder(&ranks);
        let (mut recipe, folder) = found.inspect_err(|error| ranks.cannot_begin(error))?;
        if let Some(threads) = self.machine.threads {
            recipe.threads = Some(threads.into());
        }
        let start = if self.resume {
            Start::Resume
        } else {
            Start::New { force: self.force }
        };
        let (strict, evaluate) = (self.strict, !self.no_eval);
        Run {
            recipe,
            folder,
            start,
            strict,
            evaluate,
            ranks,
            devices,
            device: self.machine.device,
        }
        .make()?;
        Ok(())
    }

    fn recipe_and_folder(&self, ranks: &Ranks) -> Result<(Recipe, PathBuf)> {
        if let Some(file) = &self.recipe {
            let recipe = Recipe::load(file, &self.set)?;
            let folder = self
                .run
                .clone()
                .unwrap_or_else(|| Path::new("runs").join(&recipe.name));
            return Ok((recipe, folder));
        }
        let folder = match &self.run {
            Some(folder) => folder.clone(),
            None => {
                let latest = latest(Path::new("runs")).context(
                    "there is no unfinished run in runs/ to resume; name it with --run, or give a recipe",
                )?;
                note(format_args!("resuming {}", shown(&latest)));
                latest
            }
        };
        let run = RunFolder::open(&folder).map_err(|error| match follows(ranks) {
            true => error.context(
                "a rank other than 0 takes the recipe from the run folder; where it does not see that, give it the recipe \
                 again, beside --resume",
            ),
            false => error,
        })?;
        Ok((Recipe::load(&run.recipe(), &self.set)?, folder))
    }
}

/// The run folder without a model that was last written to.
fn latest(runs: &Path) -> Option<PathBuf> {
    let written = |run: &RunFolder| -> Option<SystemTime> {
        fs::metadata(run.metrics())
            .or_else(|_| fs::metadata(run.recipe()))
            .ok()?
            .modified()
            .ok()
    };
    fs::read_dir(runs)
        .ok()?
        .filter_map(|entry| RunFolder::open(&entry.ok()?.path()).ok())
        .filter(|run| !run.model().exists())
        .max_by_key(written)
        .map(|run| run.path().to_owned())
}
