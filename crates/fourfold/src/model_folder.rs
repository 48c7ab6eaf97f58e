//! Finding and loading a model that Fourfold wrote.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use fourfold_data::ImageFiles;
use fourfold_model::Model;
use fourfold_tensor::{Device, Precision};
use fourfold_train::assemble::{Reading, demand_tokenizer};
use fourfold_train::recipe::Recipe;
use fourfold_train::run_folder::RunFolder;

/// The model to use.
#[derive(Args, Debug)]
pub struct ModelFolder {
    /// A run folder, or its model/ folder
    #[arg(long = "model", value_name = "RUN")]
    path: PathBuf,
}

impl ModelFolder {
    /// The model at a path that was given another way.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The run that it belongs to, if it belongs to one.
    pub fn run(&self) -> Option<RunFolder> {
        let beside = self.path.join("..");
        let folder = [self.path.clone(), beside]
            .into_iter()
            .find(|folder| folder.join("recipe.toml").is_file());
        RunFolder::open(&folder?).ok()
    }

    /// Loads the weights, onto `device`, and how they read, in the precision and with the limits on images of the model's own run, so that
    /// it says what it was measured to say. A model without a run is computed as fast as the machine can.
    ///
    /// # Errors
    /// Says what the folder lacks.
    pub fn load(&self, device: &Device) -> Result<(Model, Reading)> {
        let folder = self.folder()?;
        let (precision, files) = match self.recipe()? {
            Some((_, recipe)) => (recipe.precision.resolve_on(device), recipe.image_files),
            None => (Precision::fastest_on(device), ImageFiles::default()),
        };
        let (model, reading) = load(&folder, precision, device)?;
        Ok((model, Reading { files, ..reading }))
    }

    /// The recipe that the model was trained with, if the folder belongs to a run. The data that it names may be
    /// gone.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn recipe(&self) -> Result<Option<(PathBuf, Recipe)>> {
        let inside = self.path.join("recipe.toml");
        let beside = self.path.join("..").join("recipe.toml");
        let file = [inside, beside].into_iter().find(|file| file.is_file());
        file.map(|file| Ok((file.clone(), Recipe::read(&file)?)))
            .transpose()
    }

    /// The folder of the model itself.
    ///
    /// # Errors
    /// Says what it lacks.
    pub fn folder(&self) -> Result<PathBuf> {
        find(&self.path)
    }
}

/// The model folder that `path` is, or that the run in `path` has.
///
/// # Errors
/// Says what the folder lacks.
pub fn find(path: &Path) -> Result<PathBuf> {
    let inner = path.join("model");
    if inner.join("config.json").is_file() {
        return Ok(inner);
    }
    if path.join("config.json").is_file() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        bail!(
            "there is no {}; expected a run folder such as runs/quickstart",
            path.display()
        );
    }
    if path.join("recipe.toml").is_file() {
        bail!(
            "the run in {} is not finished, it holds no model yet; go on with `fourfold train --resume --run {0}`",
            path.display()
        );
    }
    bail!(
        "{} is neither a run folder (with model/config.json) nor a model folder (with config.json)",
        path.display()
    )
}

/// Loads a model folder, onto `device`.
///
/// # Errors
/// Names the file that is missing or does not fit.
pub fn load(folder: &Path, precision: Precision, device: &Device) -> Result<(Model, Reading)> {
    let within = || format!("cannot load the model in {}", folder.display());
    // First: a folder of another program lacks files of Fourfold's, and that it is another's is what there is to say.
    Model::read_config(folder).with_context(within)?;
    let reading = Reading::load(folder).with_context(within)?;
    let mut model = Model::load(folder, precision).with_context(within)?;
    model.parameters.to_device(device).with_context(within)?;
    demand_tokenizer(&model.config().tokenizer_sha256, &reading.tokenizer, folder)?;
    Ok((model, reading))
}
