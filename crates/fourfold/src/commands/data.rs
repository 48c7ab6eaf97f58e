//! `fourfold data`: looks at data and goes through it before training.

mod check;
mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use fourfold_data::{Encoder, EncoderConfig, PackBudget, Prompts, Source, SourceConfig, Tables};
use fourfold_train::assemble::{model_config, reading, text};
use fourfold_train::hub::Need;
use fourfold_train::recipe::{Recipe, Stage, unknown_word};
use fourfold_train::sources::Sources;

use crate::hub::local;

/// Shows data, or goes through it and counts
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data show datasets/emoji/train.parquet
  fourfold data check recipes/quickstart.toml")]
pub struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand, Debug)]
enum DataCommand {
    Show(show::Show),
    Check(check::Check),
}

impl Data {
    /// Runs the command.
    ///
    /// # Errors
    /// When recipe or data cannot be read, or are broken.
    pub fn run(self) -> Result<()> {
        match self.command {
            DataCommand::Show(command) => command.run(),
            DataCommand::Check(command) => command.run(),
        }
    }
}

/// What to look at.
#[derive(Args, Debug)]
pub struct Target {
    /// A recipe (.toml) or a data file (.parquet, .jsonl)
    #[arg(value_name = "RECIPE|FILE")]
    path: PathBuf,
    /// Only this [data.NAME] or [evaluation.NAME] of the recipe
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// A template over the columns of a data file: what is asked
    #[arg(long, value_name = "TEMPLATE", requires = "answer")]
    prompt: Option<String>,
    /// A template over the columns of a data file: what is to be said
    #[arg(long, value_name = "TEMPLATE")]
    answer: Option<String>,
}

impl Target {
    /// The recipe, if the path names one.
    fn recipe(&self) -> Result<Option<Recipe>> {
        ensure!(
            self.path.exists(),
            "there is no {}; expected a recipe (.toml) or a data file (.parquet, .jsonl)",
            self.path.display()
        );
        if self
            .path
            .extension()
            .is_none_or(|extension| extension != "toml")
        {
            if self.data.is_some() {
                bail!(
                    "--data names data of a recipe; {} is a data file",
                    self.path.display()
                );
            }
            return Ok(None);
        }
        if self.answer.is_some() {
            bail!("--prompt and --answer are for data files; a recipe brings its own templates");
        }
        let recipe = Recipe::load(&self.path, &[])?;
        local(&recipe, Need::Description).map(Some)
    }

    /// A data file seen through the templates of the command line, if there are any.
    fn source(&self) -> Result<Option<Arc<dyn Source>>> {
        let Some(answer) = self.answer.clone() else {
            return Ok(None);
        };
        let config = SourceConfig {
            path: self.path.clone().into(),
            prompt: Prompts::One(self.prompt.clone().unwrap_or_default()),
            answer,
            images: true,
            ..SourceConfig::default()
        };
        Ok(Some(Tables::new().open(&config)?))
    }

    /// The chosen names of a recipe's data and evaluations.
    fn names(&self, recipe: &Recipe) -> Result<Vec<String>> {
        let mut names: Vec<String> = recipe.data.keys().cloned().collect();
        let evaluations = recipe
            .evaluation
            .keys()
            .filter(|name| !recipe.data.contains_key(*name));
        names.extend(evaluations.cloned());
        match &self.data {
            None => Ok(names),
            Some(name) if names.contains(name) => Ok(vec![name.clone()]),
            Some(name) => {
                let known: Vec<&String> = names.iter().collect();
                bail!("--data: {}", unknown_word("data name", name, &known))
            }
        }
    }
}

/// The recipe's data with the encoders that training reads it with.
struct Prepared {
    sources: Sources,
    encoder: EncoderConfig,
    tokenizer: Arc<fourfold_data::Tokenizer>,
}

impl Prepared {
    fn new(recipe: &Recipe) -> Result<Self> {
        let sources = Sources::new(recipe);
        let text = text(recipe, &sources, None)?;
        let config = model_config(recipe, &text.tokenizer)?;
        config.validate()?;
        let reading = reading(recipe, text, &config)?;
        Ok(Self {
            sources,
            encoder: EncoderConfig {
                format: reading.format,
                transform: reading.transform,
                augment: None,
                visual_tokens_per_image: config.visual_tokens(),
                max_tokens: config.max_positions(),
            },
            tokenizer: reading.tokenizer,
        })
    }

    /// The source called `name`, its encoder and what a pack holds; of several stages, documents are cut as in the one
    /// that cuts them shortest, and packs are the smallest.
    fn get(&self, recipe: &Recipe, name: &str) -> Result<(Arc<dyn Source>, Encoder, PackBudget)> {
        let mut config = self.encoder.clone();
        let mut budget = PackBudget::UNLIMITED;
        let uses = |stage: &&Stage| stage.mixture.entries().iter().any(|entry| entry.0 == name);
        for stage in recipe.stage.iter().filter(uses) {
            let longest = stage.max_tokens.unwrap_or(stage.pack_tokens);
            config.max_tokens = config.max_tokens.min(longest);
            budget.tokens = budget.tokens.min(stage.pack_tokens);
            budget.images = budget.images.min(stage.pack_images);
        }
        let encoder = Encoder::new(Arc::clone(&self.tokenizer), config)
            .with_context(|| format!("in the data '{name}'"))?;
        Ok((self.sources.get(name)?, encoder, budget))
    }
}

/// A path's last part.
fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
