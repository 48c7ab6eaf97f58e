//! `skipped.jsonl`: the samples that a run passed over, and when there are too many of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fourfold_data::{Mixture, Skip};
use serde::{Deserialize, Serialize};

use crate::files;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// The step that it was passed over in first.
    step: usize,
    #[serde(flatten)]
    skip: Skip,
}

/// The open file. A sample is listed once, however often it is drawn.
pub struct Skipped {
    path: PathBuf,
    /// Opened with the first line: most runs have none.
    file: Option<File>,
    /// Of each source its samples that were passed over.
    known: BTreeMap<String, BTreeSet<usize>>,
    /// The part of a source that may be broken.
    most: f64,
}

impl Skipped {
    /// Opens the file for appending after dropping what was passed over after `last_step`: a resumed run does those steps
    /// again. Of a source no more than the part `most` may be broken.
    ///
    /// # Errors
    /// Names the file, and the line that is none of its own.
    pub fn open(path: &Path, last_step: usize, most: f64) -> Result<Self> {
        let mut known: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        if path.exists() {
            let mut text = String::new();
            for line in files::read_json_lines::<Line>(path, "a skipped sample; remove the line")? {
                if line.step <= last_step {
                    text.push_str(&files::json_line(&line)?);
                    known
                        .entry(line.skip.source)
                        .or_default()
                        .insert(line.skip.sample);
                }
            }
            files::write_atomic(path, text.as_bytes())?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: None,
            known,
            most,
        })
    }

    /// How many samples are listed, those of the time before a resume included.
    pub fn listed(&self) -> usize {
        self.known.values().map(BTreeSet::len).sum()
    }

    /// Lists those of `skips` that are new; gives them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, step: usize, skips: &[Skip]) -> Result<Vec<Skip>> {
        let mut new = Vec::new();
        for skip in skips {
            if self
                .known
                .entry(skip.source.clone())
                .or_default()
                .insert(skip.sample)
            {
                let line = Line {
                    step,
                    skip: skip.clone(),
                };
                self.write(&line)?;
                new.push(line.skip);
            }
        }
        Ok(new)
    }

    /// Demands that no more of the sources of `new`, which are of `mixture`, is broken than may be.
    ///
    /// # Errors
    /// Names the source.
    pub fn demand_few(&self, new: &[Skip], mixture: &Mixture) -> Result<()> {
        let sources: BTreeSet<&str> = new.iter().map(|skip| &*skip.source).collect();
        sources
            .into_iter()
            .try_for_each(|source| self.demand_few_of(source, mixture))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let text = files::json_line(line)?;
        let mut write = || {
            if self.file.is_none() {
                self.file = Some(
                    OpenOptions::new()
                        .create(true)
                        .append(true)
                        .open(&self.path)?,
                );
            }
            self.file
                .iter_mut()
                .try_for_each(|file| file.write_all(text.as_bytes()))
        };
        let written: std::io::Result<()> = write();
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn demand_few_of(&self, source: &str, mixture: &Mixture) -> Result<()> {
        let broken = self.known.get(source).map_or(0, BTreeSet::len);
        let sources = mixture.sources().iter().map(|(source, _)| source);
        let samples: usize = sources
            .filter(|s| s.name() == source)
            .map(|s| s.len())
            .sum();
        if broken > allowed(self.most, samples) {
            bail!(
                "{broken} of the {samples} samples of '{source}' are broken, more than the {} % that may be \
                 (training.max_skipped = {}); {} lists them: mend the data, or allow more",
                100.0 * self.most,
                self.most,
                self.path.display()
            );
        }
        Ok(())
    }
}

/// How many of `samples` may be broken where the part `most` may: one of a small source always, unless none may.
pub fn allowed(most: f64, samples: usize) -> usize {
    match most {
        0.0 => 0,
        most => ((most * samples as f64) as usize).max(1),
    }
}
