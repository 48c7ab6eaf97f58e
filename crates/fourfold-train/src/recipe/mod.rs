//! The recipe: everything that makes a run, in one TOML file.
//!
//! [`Recipe::load`] reads a file, applies `--set` overrides, refuses unknown keys with a proposal, resolves
//! paths relative to the file, and checks what can be checked without opening data. What it returns can be
//! written back ([`Recipe::to_toml`]) and read again with the same meaning.

mod backbone;
mod difference;
mod evaluation;
mod format;
mod key;
mod limits;
mod origin;
mod paths;
mod search;
mod sections;
mod stage;
mod strict;
mod task;
mod text;
mod validate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fourfold_data::{ImageFiles, ImageTransform, SourceConfig};
use fourfold_tensor::Device;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use backbone::Backbone;
pub use difference::{Fingerprint, differing_keys};
pub use evaluation::{Baseline, CaseUnit, Evaluation, Measure, Metric};
pub use format::FormatSection;
pub use key::{KeyError, KeyPath, unknown_word};
pub use origin::Origin;
pub use search::Search;
pub use sections::{
    ModelSection, PrecisionChoice, SampleSelection, StoredFormat, TokenizerSection, TrainTokenizer,
    Training,
};
pub use stage::{LossScale, Rates, Schedule, Stage, Weights};
pub use task::{Found, Submission, Task};

use text::RecipeText;

/// A whole run as data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// What the run is called; its folder is `runs/<name>` unless the command line says otherwise.
    pub name: String,
    /// Where every random choice starts.
    pub seed: u64,
    /// The number format of matrix products.
    pub precision: PrecisionChoice,
    /// Worker threads; all cores when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// The model to start from.
    pub model: ModelSection,
    /// Where the tokenizer comes from; the language model's folder when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerSection>,
    /// How prompts, answers and images become tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<FormatSection>,
    /// How image files become pixels; the vision encoder's `preprocessor_config.json` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageTransform>,
    /// How image files are decoded, and how large they may be.
    #[serde(skip_serializing_if = "ImageFiles::is_default")]
    pub image_files: ImageFiles,
    /// Sources of samples, by the names that mixtures use.
    pub data: BTreeMap<String, SourceConfig>,
    /// The stages, in order.
    pub stage: Vec<Stage>,
    /// Checkpoints and samples along the way.
    pub training: Training,
    /// What the finished model is measured on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub evaluation: BTreeMap<String, Evaluation>,
    /// The folder that its file lies in; none for a text. No part of what it says.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
}

/// The recipe as it stands in the file; sections that read themselves are left as values.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    name: String,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    precision: PrecisionChoice,
    threads: Option<usize>,
    model: sections::RawModel,
    tokenizer: Option<TokenizerSection>,
    format: Option<FormatSection>,
    image: Option<ImageTransform>,
    #[serde(default)]
    image_files: ImageFiles,
    #[serde(default)]
    data: BTreeMap<String, SourceConfig>,
    #[serde(default)]
    stage: Vec<Stage>,
    #[serde(default)]
    training: Training,
    #[serde(default)]
    evaluation: BTreeMap<String, Table>,
}

impl Recipe {
    /// Reads and checks a recipe file; `overrides` are `key.path=value`, a stage is addressed by its name
    /// (`stage.align.lr=1e-3`).
    ///
    /// # Errors
    /// Names file, line and key (or the override), what was expected and the nearest known word.
    pub fn load(file: &Path, overrides: &[String]) -> Result<Self> {
        let (recipe, text) = Self::resolved(file, overrides)?;
        recipe
            .check_files(true)
            .map_err(|error| text.locate(&error))?;
        Ok(recipe)
    }

    /// As [`Recipe::load`], but the files of `[data]` and `[evaluation]` may be missing: a plan on given averages reads
    /// none of them.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn load_without_data(file: &Path, overrides: &[String]) -> Result<Self> {
        let (recipe, text) = Self::resolved(file, overrides)?;
        recipe
            .check_files(false)
            .map_err(|error| text.locate(&error))?;
        Ok(recipe)
    }

    /// As [`Recipe::load`], but the files that the recipe names may be gone: what a run was asked, and in which
    /// precision, is of use without them.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn read(file: &Path) -> Result<Self> {
        Ok(Self::resolved(file, &[])?.0)
    }

    fn resolved(file: &Path, overrides: &[String]) -> Result<(Self, RecipeText)> {
        let (mut recipe, text) = Self::from_text(RecipeText::load(file, overrides)?)?;
        let base = file.parent().unwrap_or(Path::new(""));
        recipe.for_each_origin(|_, origin| origin.resolve(base));
        recipe.for_each_path(|_, path| *path = paths::placed(base, path));
        recipe.folder = paths::normal(file).parent().map(Path::to_owned);
        Ok((recipe, text))
    }

    /// As [`Recipe::load`] for a text; paths, and hub ids among them, stay as written and are not looked up.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Self> {
        let text = RecipeText::parse(Path::new(name), text.to_owned(), overrides)?;
        Ok(Self::from_text(text)?.0)
    }

    fn from_text(text: RecipeText) -> Result<(Self, RecipeText)> {
        let recipe = Self::from_values(&text.root)
            .and_then(|recipe| recipe.validate().map(|()| recipe))
            .map_err(|error| text.locate(&error))?;
        Ok((recipe, text))
    }

    fn from_values(root: &Table) -> Result<Self, KeyError> {
        if root.get("stage").is_some_and(Value::is_table) {
            let message = "stages are a list, each begins with [[stage]], in two brackets";
            return Err(KeyError::at("stage".into(), message));
        }
        let raw: Raw = strict::read(&Value::Table(root.clone()), &KeyPath::root())?;
        let mut evaluation = BTreeMap::new();
        for (name, table) in raw.evaluation {
            let path = KeyPath::from("evaluation").key(&name);
            evaluation.insert(name, Evaluation::read(table, &path)?);
        }
        Ok(Self {
            name: raw.name,
            seed: raw.seed,
            precision: raw.precision,
            threads: raw.threads,
            model: raw.model.read(&KeyPath::from("model"))?,
            tokenizer: raw.tokenizer,
            format: raw.format,
            image: raw.image,
            image_files: raw.image_files,
            data: raw.data,
            stage: raw.stage,
            training: raw.training,
            evaluation,
            folder: None,
        })
    }

    /// The recipe as TOML, with its paths relative to `folder` where they can be.
    ///
    /// # Errors
    /// When a value has no TOML form, which is a defect of this crate.
    pub fn to_toml(&self, folder: &Path) -> Result<String> {
        let mut recipe = self.clone();
        recipe.for_each_path(|_, path| *path = paths::relative(path, folder));
        toml::to_string_pretty(&recipe).context("cannot write the recipe as TOML")
    }

    /// Fills in the vocabulary of a new language model that leaves it to the tokenizer.
    pub(crate) fn set_vocabulary(&mut self, tokens: usize) {
        if let Some(Backbone::New(language)) = &mut self.model.language
            && language.vocabulary() == 0
        {
            language.set_vocabulary(tokens);
        }
    }

    /// What the number format of matrix products in `stage` is to be.
    pub fn precision_of(&self, stage: &Stage) -> PrecisionChoice {
        stage.precision.unwrap_or(self.precision)
    }

    /// Replaces `auto` by what it means on `device`: a run does not change its formats where it goes on.
    pub(crate) fn settle_precision(&mut self, device: &Device) {
        let stages = self.stage.iter_mut().filter_map(|s| s.precision.as_mut());
        for precision in stages.chain([&mut self.precision]) {
            *precision = precision.settle(device);
        }
    }

    /// Multiplies the samples of every stage by `factor`, keeping at least one update each.
    pub fn scale_samples(&mut self, factor: f64) {
        for stage in &mut self.stage {
            if let Some(samples) = &mut stage.samples {
                // Whole batches, so that each update is as large.
                let batch = stage.batch.max(1);
                let updates = (*samples as f64 * factor / batch as f64).round() as usize;
                *samples = updates.max(1) * batch;
            }
            if let Some(tokens) = &mut stage.tokens {
                *tokens = ((*tokens as f64 * factor) as u64).max(1);
            }
            if let Some(epochs) = &mut stage.epochs {
                *epochs *= factor;
            }
        }
    }
}

#[cfg(test)]
mod tests;
