//! The recipe's data, opened when it is first asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use fourfold_data::{Mixture, Source, SourceConfig, Tables, sample_rng};

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
    /// When there is none, or its file cannot be read as its configuration says.
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
            .open(config)
            .with_context(|| format!("in the data '{name}'"))?;
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

    /// Every prompt and answer of the source called `name`.
    ///
    /// # Errors
    /// As [`Sources::get`], and when a template fails on a row.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let source = self.get(name)?;
        let mut texts = Vec::new();
        for row in 0..source.len() {
            let sample = source.sample(row, &mut sample_rng(0, row as u64))?;
            for turn in sample.turns {
                texts.push(turn.prompt);
                texts.push(turn.answer);
            }
        }
        Ok(texts)
    }
}
