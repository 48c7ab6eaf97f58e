//! `fourfold data`: looks at data, goes through it before training, counts, times its loading, and writes it anew.

mod bar;
mod bench;
mod check;
mod convert;
mod held_out;
mod page;
mod rows;
mod show;
mod sight;
mod stats;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use fourfold_data::source::location::is_url;
use fourfold_data::{
    DataError, Encoder, EncoderConfig, PackBudget, Paths, Prompts, Source, SourceConfig, Tables,
};
use fourfold_model::VisibilityKind;
use fourfold_train::assemble::{model_config, reading, text};
use fourfold_train::hub::Need;
use fourfold_train::recipe::{Recipe, Stage, unknown_word};
use fourfold_train::sources::Sources;

use crate::hub::local;

/// Shows, checks, counts, times and converts data
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data show datasets/emoji/train.parquet
  fourfold data check recipes/quickstart.toml
  fourfold data stats recipes/quickstart.toml
  fourfold data convert 'shards/*.tar' train.parquet
  fourfold data bench recipes/quickstart.toml")]
pub struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand, Debug)]
enum DataCommand {
    Show(show::Show),
    Check(check::Check),
    Stats(stats::Stats),
    Convert(convert::Convert),
    Bench(bench::Bench),
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
            DataCommand::Stats(command) => command.run(),
            DataCommand::Convert(command) => command.run(),
            DataCommand::Bench(command) => command.run(),
        }
    }
}

/// What to look at.
#[derive(Args, Debug)]
pub struct Target {
    /// A recipe (.toml), or a data file (Parquet, JSON, CSV, tar) or a quoted pattern of such
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
    /// The folder that a data file's paths of images are relative to; its own when absent
    #[arg(long, value_name = "FOLDER")]
    image_folder: Option<PathBuf>,
    /// The column of a data file that names images, where nothing else tells
    #[arg(long, value_name = "NAME")]
    image_column: Option<String>,
}

impl Target {
    /// A recipe, or its data of one name.
    fn of(recipe: &Path, data: Option<&str>) -> Self {
        Self {
            path: recipe.into(),
            data: data.map(str::to_owned),
            prompt: None,
            answer: None,
            image_folder: None,
            image_column: None,
        }
    }

    /// The recipe, if the path names one.
    fn recipe(&self) -> Result<Option<Recipe>> {
        if !self.path.exists() && !is_url(&self.path) {
            let files = Paths::from(&*self.path).files()?;
            let missing = files.iter().find(|file| !file.exists());
            if let Some(missing) = missing {
                bail!(
                    "there is no {}; expected a recipe (.toml), a data file (Parquet, JSON, CSV, tar), or a pattern of such files",
                    missing.display()
                );
            }
        }
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
        if self.answer.is_some() || self.image_folder.is_some() || self.image_column.is_some() {
            bail!(
                "--prompt, --answer and --image-* are for data files; a recipe says all that itself"
            );
        }
        let recipe = Recipe::load(&self.path, &[])?;
        local(&recipe, Need::Description).map(Some)
    }

    /// A data file seen through the templates of the command line, if there are any.
    fn source(&self) -> Result<Option<Arc<dyn Source>>> {
        if self.answer.is_none() {
            return Ok(None);
        }
        Ok(Some(Tables::new().open(&self.file_config())?))
    }

    /// A data file as the command line describes it.
    fn file_config(&self) -> SourceConfig {
        SourceConfig {
            path: self.path.clone().into(),
            prompt: Prompts::One(self.prompt.clone().unwrap_or_default()),
            answer: self.answer.clone(),
            image_folder: self.image_folder.clone(),
            image_column: self.image_column.clone(),
            images: true,
            ..SourceConfig::default()
        }
    }

    /// A data file, seen through the templates of the command line or those that its layout proposes.
    ///
    /// # Errors
    /// When the file cannot be read, or nothing says what its answers are.
    fn answered_source(&self) -> Result<Arc<dyn Source>> {
        let opened = Tables::new().open_as(&file_name(&self.path), &self.file_config());
        opened.map_err(|error| match error {
            DataError::Config { key, message } => anyhow!("--{key}: {message}"),
            error => error.into(),
        })
    }

    /// The same, or its rows without turns where nothing says what the answer is.
    fn any_source(&self) -> Result<Arc<dyn Source>> {
        if let Some(source) = self.source()? {
            return Ok(source);
        }
        open_file(&file_name(&self.path), &self.file_config())
    }

    /// Refuses to write what `option` says over the file of the target, or one that it reads.
    fn demand_apart(&self, option: &str, written: &Path, recipe: Option<&Recipe>) -> Result<()> {
        let mut read = vec![self.path.clone()];
        read.extend(self.file_config().path.files().unwrap_or_default());
        if let Some(recipe) = recipe {
            read.extend(recipe.all_files(Path::new(""))?.into_values());
        }
        demand_apart(written, &read).with_context(|| option.to_owned())
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
    visibility: VisibilityKind,
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
            visibility: config.visibility,
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

    /// What rows see in the first stage that trains on `name`, or in the model where none does.
    fn visibility(&self, recipe: &Recipe, name: &str) -> VisibilityKind {
        let uses = |stage: &&Stage| stage.mixture.entries().iter().any(|entry| entry.0 == name);
        let stage = recipe.stage.iter().find(uses);
        let given = stage.and_then(|stage| stage.visibility);
        given.unwrap_or(self.visibility)
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
            .with_context(|| format!("in the data '{name}'"))?
            .decoding(recipe.image_files);
        Ok((self.sources.get(name)?, encoder, budget))
    }
}

/// Refuses to write to `path` what would go over one of the files that are read.
fn demand_apart(path: &Path, read: &[PathBuf]) -> Result<()> {
    let Ok(place) = path.canonicalize() else {
        return Ok(());
    };
    let same = |file: &PathBuf| file.canonicalize().is_ok_and(|file| file == place);
    ensure!(
        !read.iter().any(same),
        "{} is what is read: choose another destination",
        path.display()
    );
    Ok(())
}

/// A data file without a recipe: by the templates that its layout proposes, or as rows without turns.
fn open_file(name: &str, config: &SourceConfig) -> Result<Arc<dyn Source>> {
    let tables = Tables::new();
    match tables.open_as(name, config) {
        Ok(source) => Ok(source),
        Err(DataError::Config { key, .. }) if key == "answer" => Ok(Arc::new(rows::Rows::new(
            name.into(),
            tables.table(config)?,
        ))),
        Err(error) => Err(error.into()),
    }
}

/// A path's last part.
fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
