//! The recipe's data, opened when it is first asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use fourfold_data::{DataError, Mixture, Source, SourceConfig, Tables, sample_rng};

use crate::recipe::{Recipe, Weights, unknown_word};

/// Opens `[data.NAME]` and `[evaluation.NAME]`; a file is read once, whatever the number of its users.
pub struct Sources {
    configs: BTreeMap<String, SourceConfig>,
    tables: Tables,
    open: Mutex<BTreeMap<String, Arc<dyn Source>>>,
}

impl Sources {
    /// The sources of `recipe`, none of them read yet. A data name goes before an evaluation of that name.
    pub fn new(recipe: &Recipe) -> Self {
        let evaluations = recipe.evaluation.iter().map(|(name, e)| (name, &e.source));
        let configs = evaluations.chain(&recipe.data);
        Self {
            configs: configs
                .map(|(name, config)| (name.clone(), config.clone()))
                .collect(),
            tables: Tables::new(),
            open: Mutex::default(),
        }
    }

    /// The source called `name`.
    ///
    /// # Errors
    /// When there is none, or its file cannot be read as its configuration says, or not one of its samples.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Source>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = open.get(name) {
            return Ok(source.clone());
        }
        let config = self.configs.get(name).with_context(|| {
            let known: Vec<&String> = self.configs.keys().collect();
            unknown_word("data name", name, &known)
        })?;
        let source = self
            .tables
            .open_as(name, config)
            .with_context(|| format!("in the data '{name}'"))?;
        demand_sample(&*source).with_context(|| format!("in the data '{name}'"))?;
        open.insert(name.to_owned(), source.clone());
        Ok(source)
    }

    /// The mixture of a stage.
    ///
    /// # Errors
    /// As [`Sources::get`], and when a source is empty.
    pub fn mixture(&self, weights: &Weights) -> Result<Mixture> {
        let entries = weights.entries().into_iter();
        let sources = entries
            .map(|(name, weight)| Ok((self.get(name)?, weight)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Mixture::new(sources)?)
    }

    /// Every prompt and answer of the source called `name`, but those of broken samples, which training passes over too.
    ///
    /// # Errors
    /// As [`Sources::get`], and when the file cannot be read.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let source = self.get(name)?;
        let mut texts = Vec::new();
        for row in 0..source.len() {
            let sample = match source.sample(row, &mut sample_rng(0, row as u64)) {
                Ok(sample) => sample,
                Err(error) if error.concerns_sample() => continue,
                Err(error) => return Err(error.into()),
            };
            for turn in sample.turns {
                texts.push(turn.prompt);
                texts.push(turn.answer);
            }
        }
        Ok(texts)
    }
}

/// Demands that some sample of `source` can be read. A template that fails on every row is told when the source is
/// opened, not when a later stage or an evaluation comes to it.
///
/// # Errors
/// Gives what is wrong with the first sample.
pub(crate) fn demand_sample(source: &dyn Source) -> Result<()> {
    demand_one(source, "can be read", |row| {
        source.sample(row, &mut sample_rng(0, row as u64))
    })
}

/// Demands that `read` succeeds on some row of `source`; `what` says of the samples what they are read for.
///
/// # Errors
/// Gives what is wrong with the first.
pub(crate) fn demand_one<T>(
    source: &dyn Source,
    what: &str,
    read: impl Fn(usize) -> Result<T, DataError>,
) -> Result<()> {
    let mut first = None;
    for row in 0..source.len() {
        match read(row) {
            Ok(_) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) => Err(error)
            .with_context(|| format!("not one of the {} samples {what}; the first", source.len())),
        None => Ok(()),
    }
}
