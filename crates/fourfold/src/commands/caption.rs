//! `fourfold caption`: says what images show.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use fourfold_train::recipe::Recipe;

use crate::questions::{Asking, gather};

/// Says what images show
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold caption --model runs/quickstart cat.png dog.jpg
  fourfold caption --model runs/quickstart --json --jsonl images.jsonl

A line of the JSON lines file is {\"image\": \"cat.png\"}, the path relative to the file; \"id\" and \"prompt\" are \
optional. An image that cannot be read is told on the standard error; the others are answered all the same.")]
pub struct Caption {
    /// Image files: PNG, JPEG, WebP, GIF or BMP
    #[arg(value_name = "IMAGE", required_unless_present = "jsonl")]
    images: Vec<PathBuf>,
    /// What the model is asked; that of the recipe it was trained with when absent
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Read images from a JSON lines file
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

impl Caption {
    /// Runs the command.
    ///
    /// # Errors
    /// When an image or the model cannot be read.
    pub fn run(self) -> Result<()> {
        self.asking.start()?;
        let prompt = match self.prompt {
            Some(prompt) => prompt,
            None => {
                let recipe = self.asking.model.recipe()?;
                recipe
                    .and_then(|(_, recipe)| caption_prompt(&recipe))
                    .unwrap_or_default()
            }
        };
        self.asking.answer(gather(
            &self.images,
            Some(&prompt),
            self.jsonl.as_deref(),
            &["prompt"],
        )?)
    }
}

/// The prompt that a recipe asks for captions with: that of its held-out samples, else of its first
/// evaluation, else of its last stage's data, whichever is a fixed text.
pub fn caption_prompt(recipe: &Recipe) -> Option<String> {
    let samples = recipe
        .training
        .samples
        .iter()
        .map(|samples| samples.data.as_str());
    let evaluations = recipe.evaluation.keys().map(String::as_str);
    let last = recipe.stage.last();
    let stage = last
        .into_iter()
        .flat_map(|s| s.mixture.entries())
        .map(|(name, _)| name);
    let config = |name: &str| {
        recipe
            .data
            .get(name)
            .or_else(|| recipe.evaluation.get(name).map(|e| &e.source))
            .cloned()
    };
    let fixed = |text: &String| !text.contains("{{") && !text.contains("{%");
    samples
        .chain(evaluations)
        .chain(stage)
        .filter_map(config)
        .flat_map(|config| config.prompt.templates().to_vec())
        .find(fixed)
}
