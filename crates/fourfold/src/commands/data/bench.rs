//! `fourfold data bench`: how many samples a second the loader makes of a recipe's data, without a model.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use fourfold_data::{
    BatchSize, Encoder, End, Loader, LoaderConfig, Mixture, PackBudget, Shard, Source, TooLong,
};
use fourfold_train::metrics::peak_memory_mib;
use serde::Serialize;

use super::{Prepared, Target};
use crate::machine::Machine;
use crate::output::say;

/// Times the loader alone: samples read, decoded, resized, tokenized and packed in a second
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data bench recipes/quickstart.toml
  fourfold data bench my.toml --data captions --threads 2 --samples 4096 --json")]
pub struct Bench {
    /// The recipe (.toml) whose data is loaded
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Only this [data.NAME] or [evaluation.NAME] of it
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Samples to load of each data name, rounded up to whole batches
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Samples of a batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Load the one data name once for each line of the standard input, to take turns with other programs
    #[arg(long)]
    turns: bool,
    /// Print one JSON object a data name
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

/// What loading took.
#[derive(Debug, Serialize)]
struct Times {
    data: String,
    threads: usize,
    samples: usize,
    tokens: usize,
    images: usize,
    /// Broken samples passed over.
    skipped: usize,
    seconds: f64,
    samples_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_mib: Option<f64>,
}

impl Bench {
    /// Runs the command.
    ///
    /// # Errors
    /// When the recipe or its data cannot be read.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let target = Target::of(&self.recipe, self.data.as_deref());
        let Some(recipe) = target.recipe()? else {
            bail!("a data file alone has no tokenizer and no image size; give a recipe (.toml)");
        };
        let prepared = Prepared::new(&recipe)?;
        let names = target.names(&recipe)?;
        ensure!(
            !self.turns || names.len() == 1,
            "--turns takes one data name; choose one of {} with --data",
            names.join(", ")
        );
        for name in names {
            let (source, encoder, budget) = prepared.get(&recipe, &name)?;
            let encoder = Arc::new(encoder);
            let load = || self.load(&name, &source, &encoder, budget);
            if self.turns {
                for line in io::stdin().lock().lines() {
                    line.context("cannot read the standard input")?;
                    say(serde_json::to_string(&load()?)?)?;
                }
                continue;
            }
            let times = load()?;
            match self.json {
                true => say(serde_json::to_string(&times)?)?,
                false => say(format_args!(
                    "{name}: {:.0} samples/s ({} samples, {} images, {} tokens in {:.2} s with {} threads; {} skipped)",
                    times.samples_per_second,
                    times.samples,
                    times.images,
                    times.tokens,
                    times.seconds,
                    times.threads,
                    times.skipped
                ))?,
            }
        }
        Ok(())
    }

    /// Starts a loader and takes its batches as fast as it makes them.
    fn load(
        &self,
        name: &str,
        source: &Arc<dyn Source>,
        encoder: &Arc<Encoder>,
        budget: PackBudget,
    ) -> Result<Times> {
        let begin = Instant::now();
        let mixture = Mixture::new(vec![(Arc::clone(source), None)])?;
        let threads = rayon::current_num_threads();
        let config = LoaderConfig {
            batch: BatchSize::Documents(self.batch as usize),
            end: End::Never,
            too_long: TooLong::Cut,
            shard: Shard::WHOLE,
            budget,
            seed: 1,
            prefetch: 2,
            threads,
            strict: false,
        };
        let mut loader = Loader::start(mixture, Arc::clone(encoder), config, None)?;
        let mut times = Times {
            data: name.to_owned(),
            threads,
            samples: 0,
            tokens: 0,
            images: 0,
            skipped: 0,
            seconds: 0.0,
            samples_per_second: 0.0,
            peak_mib: None,
        };
        while times.samples < self.samples as usize {
            let batch = loader.next_batch()?;
            times.samples += batch.documents;
            times.tokens += batch.tokens;
            times.images += batch.images;
            times.skipped += batch.skipped.len();
        }
        times.seconds = begin.elapsed().as_secs_f64();
        times.samples_per_second = times.samples as f64 / times.seconds;
        times.peak_mib = peak_memory_mib();
        Ok(times)
    }
}
