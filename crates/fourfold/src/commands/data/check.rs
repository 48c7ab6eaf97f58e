//! `fourfold data check`: every sample decoded, rendered and tokenized, before training does.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args;
use fourfold_data::check::CheckReport;
use fourfold_data::{Examination, HeldOut, PerceptualHash, Skip, Source, examine};
use fourfold_train::recipe::Training;
use fourfold_train::skipped::allowed;

use super::bar::Bar;
use super::held_out::Splits;
use super::{Prepared, Target, file_name};
use crate::machine::Machine;
use crate::output::{printable, say};

/// Goes through every sample and counts; fails when any is broken or of a test split
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data check recipes/quickstart.toml
  fourfold data check my.jsonl --answer \"{{ caption }}\" --json
  fourfold data check llava_v1_5_mix665k.json --image-folder images --blocklist dataset_coco.json
  fourfold data check recipes/mine.toml --data captions --against held-out --skipped broken.jsonl

Broken are samples with an image that is missing or cannot be decoded, an empty answer, a row or a template that fails,
and those that fit no pack. Repeated samples, images that look alike, and samples without an image among others that have
one, are counted and named; they fail nothing. A sample overlaps with a test split if an id or file name is listed, or the
split has an image of the same content. One that looks like it (of the perceptual hash, imagehash.phash, at most --distance
bits of 64 differ) may be another: it is named, and fails nothing but with --no-likeness.")]
pub struct Check {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    splits: Splits,
    /// Images look alike if at most so many of 64 bits differ
    #[arg(long, value_name = "BITS", default_value_t = PerceptualHash::NEAR, value_parser = clap::value_parser!(u32).range(..=i64::from(PerceptualHash::NEAR)))]
    distance: u32,
    /// Write every broken sample to a file of JSON lines, with its place and reason
    #[arg(long, value_name = "FILE")]
    skipped: Option<PathBuf>,
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
    /// When recipe or data cannot be read, or a sample is broken or held out.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let recipe = self.target.recipe()?;
        if let Some(path) = &self.skipped {
            self.target
                .demand_apart("--skipped", path, recipe.as_ref())?;
        }
        let skipped = self.skipped.as_deref().map(SkippedFile::create);
        let skipped = skipped.transpose()?;
        let mut reports = Vec::new();
        let max_skipped = recipe.as_ref().map(|recipe| recipe.training.max_skipped);
        match recipe {
            Some(recipe) => {
                let prepared = Prepared::new(&recipe)?;
                let splits = self.splits.open(Some((&recipe, &prepared)))?;
                for name in self.target.names(&recipe)? {
                    let (source, encoder, budget) = prepared.get(&recipe, &name)?;
                    let data = recipe.data.get(&name);
                    let config = data.or_else(|| Some(&recipe.evaluation.get(&name)?.source));
                    let examination = Examination {
                        wants_images: config.is_none_or(|config| config.images),
                        // Evaluations are what is held out; they may share images among each other.
                        held_out: if data.is_some() { &splits } else { &[] },
                        ..Examination::training(&encoder, budget)
                    };
                    reports.push(self.examine(&name, &*source, examination, skipped.as_ref())?);
                }
            }
            None => {
                let source = self.target.answered_source()?;
                let splits: Vec<HeldOut> = self.splits.open(None)?;
                let examination = Examination {
                    held_out: &splits,
                    ..Examination::reading()
                };
                let name = file_name(&self.target.path);
                reports.push(self.examine(&name, &*source, examination, skipped.as_ref())?);
            }
        }
        if let Some(skipped) = skipped {
            skipped.finish()?;
        }
        if self.json {
            say(serde_json::to_string_pretty(&reports)?)?;
        } else {
            for report in &reports {
                say(printable(&report.to_string()))?;
            }
        }
        self.verdict(&reports, max_skipped)
    }

    fn examine(
        &self,
        name: &str,
        source: &dyn Source,
        examination: Examination<'_>,
        skipped: Option<&SkippedFile>,
    ) -> Result<CheckReport> {
        let bar = Bar::new(&format!("checking {name}"), source.len());
        let note = |skip: Skip| {
            if let Some(file) = skipped {
                file.write(&skip);
            }
        };
        let report = examine(
            source,
            &Examination {
                distance: self.distance,
                progress: &|more| bar.advance(more),
                skipped: &note,
                ..examination
            },
        )?;
        Ok(CheckReport {
            name: name.into(),
            ..report
        })
    }

    fn verdict(&self, reports: &[CheckReport], max_skipped: Option<f64>) -> Result<()> {
        let total = |count: fn(&CheckReport) -> usize| reports.iter().map(count).sum::<usize>();
        let broken = total(|report| report.broken.count);
        let masked = total(|report| report.masked.count);
        let certain = total(|report| report.overlapping()[0]);
        let similar = match self.splits.no_likeness {
            true => total(|report| report.overlapping()[1]),
            false => 0,
        };
        let mut faults = Vec::new();
        if masked > 0 {
            faults.push(format!(
                "{} left without a target by the limit on tokens, and training stops there",
                samples_are(masked)
            ));
        }
        if broken > 0 {
            let list = match self.skipped {
                Some(_) => "",
                None => " (--skipped FILE lists them all)",
            };
            let most = max_skipped.unwrap_or_else(|| Training::default().max_skipped);
            let past = |report: &&CheckReport| report.broken.count > allowed(most, report.samples);
            let past: Vec<&str> = reports
                .iter()
                .filter(past)
                .map(|report| &*report.name)
                .collect();
            let then = match past.is_empty() {
                true => {
                    "training skips them, or stops at the first with `train --strict`".to_owned()
                }
                false => format!(
                    "training stops when it has met them all: of {} more is broken than training.max_skipped = {most} allows",
                    past.join(", ")
                ),
            };
            faults.push(format!("{} broken; {then}{list}", samples_are(broken)));
        }
        if certain > 0 {
            faults.push(format!(
                "{} also held out for tests: leave such rows out with `where` or another file, or let an evaluation of \
                 training data be with --no-overlap",
                samples_are(certain)
            ));
        }
        if similar > 0 {
            faults.push(format!(
                "{} like images that are held out for tests: look at them; if they are others, leave --no-likeness out, or \
                 demand more likeness with --distance 0",
                match similar {
                    1 => "1 sample looks".into(),
                    count => format!("{count} samples look"),
                }
            ));
        }
        match faults.is_empty() {
            true => Ok(()),
            false => bail!("{}", faults.join("; ")),
        }
    }
}

fn samples_are(count: usize) -> String {
    match count {
        1 => "1 sample is".into(),
        count => format!("{count} samples are"),
    }
}

/// Every broken sample, one a line.
struct SkippedFile {
    path: PathBuf,
    /// The file, and the first error of writing to it.
    file: Mutex<(BufWriter<File>, Option<std::io::Error>)>,
}

impl SkippedFile {
    fn create(path: &std::path::Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.into(),
            file: Mutex::new((BufWriter::new(file), None)),
        })
    }

    fn write(&self, skip: &Skip) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.1.is_none() {
            let line = serde_json::to_string(skip).map_err(std::io::Error::from);
            let written = line.and_then(|line| writeln!(file.0, "{line}"));
            file.1 = written.err();
        }
    }

    fn finish(self) -> Result<()> {
        let (mut file, failed) = self
            .file
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let flushed = match failed {
            Some(error) => Err(error),
            None => file.flush(),
        };
        flushed.with_context(|| format!("cannot write {}", self.path.display()))
    }
}
