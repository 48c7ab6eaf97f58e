//! `fourfold data check`: every sample decoded, rendered and tokenized, before training does.

use anyhow::{Result, bail};
use clap::Args;
use fourfold_data::source::Table;
use fourfold_data::{CheckReport, DataError, RowImage, SkipReport, check, decode_rgb, sample_rng};
use rayon::prelude::*;

use super::{Prepared, Target, file_name};
use crate::machine::Machine;
use crate::output::say;

/// Goes through every sample and counts; fails when any is broken
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data check recipes/quickstart.toml
  fourfold data check my.jsonl --answer \"{{ caption }}\" --json")]
pub struct Check {
    #[command(flatten)]
    target: Target,
    /// Print the reports as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// When recipe or data cannot be read, or a sample is broken.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let reports = match self.target.recipe()? {
            Some(recipe) => {
                let prepared = Prepared::new(&recipe)?;
                let mut reports = Vec::new();
                for name in self.target.names(&recipe)? {
                    let (source, encoder, budget) = prepared.get(&recipe, &name)?;
                    reports.push(CheckReport {
                        name,
                        ..check(&*source, &encoder, budget)?
                    });
                }
                reports
            }
            None => vec![self.file()?],
        };
        if self.json {
            say(serde_json::to_string_pretty(&reports)?)?;
        } else {
            for report in &reports {
                say(report)?;
            }
        }
        let total = |count: fn(&CheckReport) -> usize| reports.iter().map(count).sum::<usize>();
        let broken = total(|report| report.broken.count);
        let masked = total(|report| report.masked.count);
        if masked > 0 {
            bail!(
                "{} left without a target by the limit on tokens, and training stops there; {broken} broken",
                samples_are(masked)
            );
        }
        if broken > 0 {
            bail!(
                "{} broken; training would skip what is broken, or stop at it with --strict",
                samples_are(broken)
            );
        }
        Ok(())
    }

    /// A file without a recipe has no tokenizer: its images are decoded and its templates rendered.
    fn file(&self) -> Result<CheckReport> {
        let name = file_name(&self.target.path);
        let results: Vec<Result<usize, DataError>> = match self.target.source()? {
            Some(source) => (0..source.len())
                .into_par_iter()
                .map(|row| {
                    let sample = source.sample(row, &mut sample_rng(0, row as u64))?;
                    decoded(&sample.origin, &sample.images)
                })
                .collect(),
            None => {
                let table = Table::open(&self.target.path)?;
                let check = |number: usize| {
                    let row = table.row(number)?;
                    decoded(&row.origin, &row.images)
                };
                (0..table.len()).into_par_iter().map(check).collect()
            }
        };
        let mut broken = SkipReport::default();
        let (mut good, mut images) = (0, 0);
        for (number, result) in results.iter().enumerate() {
            match result {
                Ok(count) => {
                    good += 1;
                    images += count;
                }
                Err(error) => broken.list(&name, number, error),
            }
        }
        Ok(CheckReport {
            name,
            samples: results.len(),
            good,
            images,
            broken,
            ..CheckReport::default()
        })
    }
}

fn samples_are(count: usize) -> String {
    match count {
        1 => "1 sample is".into(),
        count => format!("{count} samples are"),
    }
}

/// Counts images that decode; the first that does not is the error.
fn decoded(origin: &str, images: &[RowImage]) -> Result<usize, DataError> {
    for (index, image) in images.iter().enumerate() {
        let bytes = image.load(origin, index)?.bytes;
        decode_rgb(&bytes).map_err(|message| DataError::Image {
            origin: origin.to_owned(),
            image: image.name(index),
            message,
        })?;
    }
    Ok(images.len())
}
