//! Writing what a run makes: the whole model, and parts of it on their own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use fourfold_model::Model;

use crate::assemble::Reading;
use crate::files;
use crate::recipe::{Recipe, Stage};
use crate::run_folder::RunFolder;

/// Writes the finished model into `model/` of the run.
pub(crate) fn model(
    run: &RunFolder,
    recipe: &Recipe,
    model: &Model,
    reading: &Reading,
) -> Result<()> {
    replace(&run.model(), |folder| {
        model.save(folder, recipe.training.model_format.into())?;
        reading.save(None, folder)
    })
}

/// Writes the parts that `stage` exports into `parts/` of the run.
pub(crate) fn parts(
    run: &RunFolder,
    recipe: &Recipe,
    stage: &Stage,
    model: &Model,
    reading: &Reading,
) -> Result<()> {
    for part in &stage.export {
        replace(&run.parts().join(part.name()), |folder| {
            model.save_part(*part, folder, recipe.training.parts_format.into())?;
            reading.save(Some(*part), folder)
        })?;
    }
    Ok(())
}

/// Fills a new folder with `write` and puts it in the place of `target`.
fn replace(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let partial = target.with_extension("partial");
    let within = || format!("cannot write {}", target.display());
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(within)?;
    }
    files::create_folder(&partial)?;
    write(&partial).with_context(within)?;
    if target.exists() {
        fs::remove_dir_all(target).with_context(within)?;
    }
    fs::rename(&partial, target).with_context(within)?;
    files::sync_folder(target.parent());
    Ok(())
}
