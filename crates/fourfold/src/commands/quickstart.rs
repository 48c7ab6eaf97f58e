//! `fourfold quickstart`: the whole way on the data that ship with Fourfold.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use fourfold_train::estimate::{Estimate, estimate};
use fourfold_train::hub::Need;
use fourfold_train::parallel::Ranks;
use fourfold_train::recipe::Recipe;
use fourfold_train::run_folder::RunFolder;
use fourfold_train::samples;
use fourfold_train::trainer::Start;

use crate::hub::local;
use crate::machine::Machine;
use crate::output::{duration, note, program, quoted, say, shown};
use crate::page;
use crate::ranks::demand_alone;
use crate::run::Run;

/// Where the recipe lies in Fourfold's folder.
const RECIPE: &str = "recipes/quickstart.toml";
/// The recipe that goes on from its model, beside it.
const ADAPT: &str = "adapt-easy-vqa.toml";
/// Where that recipe looks for the model, as seen from its folder.
const MODEL: &str = "../runs/quickstart/model";
/// Seconds that each stage is measured for.
const MEASURED: f64 = 2.0;

/// Trains four stages on the embedded data, scores the model and shows what it says
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold quickstart
  fourfold quickstart --minutes 3 --run runs/short --force

The recipe is recipes/quickstart.toml. Ctrl-C stops after the update at hand; `fourfold train --resume` goes on.")]
pub struct Quickstart {
    /// Scale the stages so that training and scores take about this long; the recipe's own length when absent
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    minutes: Option<f64>,
    /// The run folder; runs/quickstart when absent
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Set a value of the recipe, such as stage.align.lr=1e-3; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Replace an existing run
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    machine: Machine,
}

impl Quickstart {
    /// Runs the command.
    ///
    /// # Errors
    /// When Fourfold's files are not here, the run exists already, or training stops.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let instead = format!("train on them with `{} train {RECIPE}`", program());
        demand_alone("quickstart", &instead)?;
        let file = find()?;
        let mut recipe = Recipe::load(&file, &self.set)?;
        if let Some(threads) = self.machine.threads {
            recipe.threads = Some(threads.into());
        }
        let folder = self
            .run
            .unwrap_or_else(|| Path::new("runs").join(&recipe.name));
        RunFolder::demand_free(&folder, self.force)?;
        let devices = self.machine.all_devices()?;
        note(format_args!("measuring this machine …"));
        let first = devices.first().cloned().unwrap_or_default();
        let mut estimate = estimate(&local(&recipe, Need::Weights)?, MEASURED, &first)?;
        if let Some(minutes) = self.minutes {
            estimate.fit(&mut recipe, 60.0 * minutes);
        }
        announce(&estimate, self.minutes);
        let run = Run {
            recipe,
            folder,
            start: Start::New { force: self.force },
            strict: false,
            evaluate: true,
            ranks: Ranks::Threads(devices.len()),
            devices,
            device: self.machine.device,
        }
        .make()?;
        page::show(&run)?;
        farewell(&run, &file)
    }
}

fn announce(estimate: &Estimate, minutes: Option<f64>) {
    for stage in &estimate.stages {
        note(format_args!(
            "  {:<12} {:>6} samples  about {}",
            stage.name,
            stage.updates * stage.batch,
            duration(stage.seconds())
        ));
    }
    note(format_args!(
        "  {:<12} {:>6} answers  about {}",
        "scores",
        estimate.answers(),
        duration(estimate.answer_seconds())
    ));
    let asked = minutes.map(|minutes| 60.0 * minutes);
    if let Some(asked) = asked.filter(|asked| estimate.answer_seconds() >= *asked) {
        note(format_args!(
            "the scores alone take longer than the {} asked for with --minutes, so each stage makes a single \
             update; score fewer samples with --set evaluation.NAME.limit=N, or give more minutes",
            duration(asked)
        ));
    }
    note(format_args!(
        "all of it takes about {}\n",
        duration(estimate.seconds())
    ));
}

fn farewell(run: &RunFolder, recipe: &Path) -> Result<()> {
    let folder = quoted(&shown(run.path()));
    say(format_args!(
        "\neverything is in {folder}; its report.html opens in a browser. Next:"
    ))?;
    if let Some(image) = first_image(run)? {
        say(format_args!(
            "  {} ask --model {folder} {} \"What is the main color?\"",
            program(),
            quoted(&shown(&image))
        ))?;
    }
    let adapt = recipe.with_file_name(ADAPT);
    let mut command = format!("{} train {}", program(), quoted(&shown(&adapt)));
    if let Some(from) = elsewhere(run, recipe) {
        command += &format!(" --set {}", quoted(&format!("model.from={from}")));
    }
    say(format_args!("  {command}"))
}

/// The first held-out image that the run kept.
fn first_image(run: &RunFolder) -> Result<Option<PathBuf>> {
    let records = samples::read(&run.samples())?.pop();
    let images = records.into_iter().flat_map(|(_, records)| records);
    Ok(images
        .filter_map(|record| Some(run.samples().join(record.image?)))
        .find(|image| image.is_file()))
}

/// Where the model is, if not where the next recipe looks for it: absolute, since that recipe's paths are relative
/// to its own folder.
fn elsewhere(run: &RunFolder, recipe: &Path) -> Option<String> {
    let model = fs::canonicalize(run.model()).ok()?;
    let expected = recipe.with_file_name(MODEL);
    let expected = fs::canonicalize(expected).ok();
    (expected.as_ref() != Some(&model)).then(|| model.display().to_string())
}

/// The recipe in this folder or one above it.
fn find() -> Result<PathBuf> {
    let here = std::env::current_dir().context("the current folder is gone")?;
    let mut folders = here.ancestors().map(|folder| folder.join(RECIPE));
    let found = folders.find(|file| file.is_file());
    let found = found.with_context(|| {
        format!(
            "there is no {RECIPE} in {} or above it: run the quickstart in Fourfold's own folder, where \
             its data and small backbones are",
            here.display()
        )
    })?;
    let relative = found.strip_prefix(&here).map(Path::to_owned);
    Ok(relative.unwrap_or(found))
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= 1e6 => Ok(minutes),
        _ => Err("expected a number of minutes above 0 and at most 1000000".into()),
    }
}
